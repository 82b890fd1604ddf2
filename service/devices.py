"""What onnxruntime is told about the machine: providers, threads, and how they wait."""

import functools
import logging
import threading
from typing import Any, Literal

import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types

from service.bundle import Precision
from service.cpus import has_avx512

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
Providers = list[str | tuple[str, dict[str, Any]]]
"""Execution providers of a session, best first, each alone or with its options."""

gpu = threading.Lock()
"""Held by whoever asks something of CUDA: while one thread captures a graph, no other may allocate, copy or launch, or
both fail. Models load at the same time, and one may load while others answer."""


class DeviceError(Exception):
    """The device that was asked for is not there; the message says what is missing."""


def session_options(threads: int, alone: bool = False) -> ort.SessionOptions:
    """Makes the options of a session.

    Args:
        threads: How many each of its runs uses, the caller's included.
        alone: A run may take its cores for itself: threads with nothing to do wait for the next operation awake. Woken
            for each of thirty, they make a run of one thumbnail take a third longer.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between runs take the cores from decoding and from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if alone else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


def share_memory(options: ort.SessionOptions) -> None:
    """Lets a session of the CPU take its intermediate values from memory that all sessions share.

    By itself each session keeps what its largest batch once took. A process has two sessions a model, and few runs at a
    time: of four models they held 200 MB together, and hold 130 this way.
    """
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")


@functools.cache
def _register_arena() -> None:
    """Makes the shared memory, once a process."""
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(place, ort.OrtArenaCfg({"arena_extend_strategy": 0, "max_mem": 0}))


def open_session(graph: bytes, device: Device, threads: int, alone: bool = False) -> ort.InferenceSession:
    """Makes a session of a graph.

    onnxruntime's own fallback stays off: it prints a line, goes to the CPU, and says so to nobody.

    Args:
        graph: An ONNX file's bytes.
        device: Where it runs; `auto` takes the CPU, and logs it, where CUDA does not work.
        threads: See `session_options`.
        alone: See `session_options`.

    Raises:
        DeviceError: CUDA is asked for and this onnxruntime has none.
        Exception: The graph does not load; onnxruntime's exceptions share no base class of their own.
    """
    *better, last = providers(device)
    for found in better:
        try:
            return _session(graph, found, threads, alone)
        # onnxruntime's exceptions share no base class of their own.
        except Exception as error:
            logger.warning(
                "a session did not start: trying the next kind",
                extra={"providers": [str(provider) for provider in found], "error": str(error)},
            )
    return _session(graph, last, threads, alone)


def _session(graph: bytes, found: Providers, threads: int, alone: bool) -> ort.InferenceSession:
    """Makes a session with these providers or none."""
    options = session_options(threads, alone)
    if found == [CPU]:
        share_memory(options)
        return ort.InferenceSession(graph, options, providers=found)
    with gpu:
        return ort.InferenceSession(graph, options, providers=found, enable_fallback=0)


def providers(device: Device) -> list[Providers]:
    """Lists the execution providers to make a session with, and others for when that fails, best first.

    Raises:
        DeviceError: CUDA is asked for and this onnxruntime has none.
    """
    if device == "cpu":
        return [[CPU]]
    if CUDA in ort.get_available_providers():
        # The CUDA libraries come as packages of their own; found on the loader's path, they would not need this.
        ort.preload_dlls()
        # Float32, as on the CPU: TF32, the provider's default, keeps 10 bits of each factor.
        cuda = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
        # A captured graph is launched as one; runner.py keeps its tensors in place.
        kinds: list[Providers] = [
            [(CUDA, cuda | {"enable_cuda_graph": "1"}), CPU],
            [(CUDA, cuda), CPU],
        ]
        return kinds if device == "cuda" else [*kinds, [CPU]]
    if device == "cuda":
        have = ", ".join(ort.get_available_providers())
        raise DeviceError(f"SCA_DEVICE='cuda': this onnxruntime has no {CUDA} (it has {have}); install onnxruntime-gpu")
    _tell_of_no_cuda()
    return [[CPU]]


def device_of(precision: Precision, device: Device) -> Device:
    """Returns where a graph is computed; one in 8-bit integers on the CPU in any case.

    Raises:
        DeviceError: CUDA is asked for and this onnxruntime has none. That the graph has no use for it is no reason to
            start: then nobody would see that it is missing.
    """
    if precision == "exact":
        return device
    if device == "cuda":
        providers(device)
        _tell_of_integers()
    return "cpu"


@functools.cache
def _tell_of_integers() -> None:
    """Logs, once a process, that the device which was asked for does not compute everything."""
    logger.warning("8-bit graphs are computed on the CPU", extra={"wanted": "cuda", "got": CPU})


@functools.cache
def _tell_of_no_cuda() -> None:
    """Logs, once a process, that there is but the CPU."""
    logger.info("no CUDA in this onnxruntime: running on the CPU", extra={"wanted": "auto", "got": CPU})


def multiplies_fast(device: Device) -> bool:
    """Tells whether convolutions are faster than fewer multiplications and more memory: on GPUs, and with AVX-512."""
    return has_avx512() or (device != "cpu" and CUDA in ort.get_available_providers())


def report_fallback(provider: str) -> None:
    """Logs if a session on the CPU may not be what the operator expects."""
    if provider == CPU and CUDA in ort.get_available_providers():
        logger.warning("CUDA did not start: running on the CPU", extra={"wanted": CUDA, "got": provider})
