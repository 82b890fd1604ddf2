"""What onnxruntime is told about the machine: providers, threads, and how they wait."""

import functools
import logging
from typing import Any, Literal

import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


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


def providers(device: Device) -> list[str | tuple[str, dict[str, Any]]]:
    """Lists the execution providers to try.

    Raises:
        DeviceError: CUDA is asked for and this onnxruntime has none.
    """
    if device == "cpu":
        return [CPU]
    if CUDA in ort.get_available_providers():
        # The CUDA libraries come as packages of their own; found on the loader's path, they would not need this.
        ort.preload_dlls()
        # A captured graph is launched as one; runner.py keeps its tensors in place.
        return [(CUDA, {"enable_cuda_graph": "1", "arena_extend_strategy": "kSameAsRequested"}), CPU]
    if device == "cuda":
        have = ", ".join(ort.get_available_providers())
        raise DeviceError(f"SCA_DEVICE='cuda': this onnxruntime has no {CUDA} (it has {have}); install onnxruntime-gpu")
    logger.info("no CUDA in this onnxruntime: running on the CPU", extra={"wanted": device, "got": CPU})
    return [CPU]


def report_fallback(provider: str) -> None:
    """Logs if a session on the CPU may not be what the operator expects."""
    if provider == CPU and CUDA in ort.get_available_providers():
        logger.warning("CUDA did not start: running on the CPU", extra={"wanted": CUDA, "got": provider})
