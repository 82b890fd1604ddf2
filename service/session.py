"""The onnxruntime session of a Bundle: uint8 (N, H, W, C) → float32 features (N, D), logits (N, K), and what else."""

import json
import math
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray

from service.bundle import Bundle, BundleError, Precision
from service.devices import CPU, CUDA, Device, DeviceError, device_of, multiplies_fast, open_session, report_fallback
from service.errors import InferenceFailed
from service.golden import Golden, GoldenImages
from service.runner import CpuRunner, CudaRunner, Runner

# The protobuf bytes of an external_data entry with the key "location".
_EXTERNAL_DATA = b"\n\x08location\x12"
_MOST_RUNS = 4
_MAX_BATCH = 32
_RUN_BYTES = {"exact": 384 * 1024, "direct": 640 * 1024, "fast": 1024 * 1024}
"""Features of a run on the CPU, at most, unless told otherwise. A convolution is computed image by image and gains
nothing from company, but around each run threads wait for the interpreter: with 256 KiB a busy server did 10 % less.
Memory grows with a run: by 11 MB an image with minimal filtering, by 6 MB in the direct form."""

_CALM_S = 0.02
"""A run takes all threads only if no two have overlapped for so long; it is the time of some runs. Without this rule a
server at 70 % of its throughput had a median 1.2 to 1.7 times as long, and at full load it did 5 % less."""


class Session:
    """A loaded model; `run` may be called from several threads at a time.

    On the CPU, several runs of few threads do more together than one run of all threads, and one run alone is faster
    with all of them; so there are two onnxruntime sessions, and a run that finds itself alone takes the wide one. But
    not if runs have overlapped just now: the next one would come to a processor without a free core, and both be late.

    Attributes:
        file: Name of the graph's file.
        provider: What onnxruntime runs it on.
        outputs: Shape of one row of each float32 output, by name: `features` and `logits` first, then all others.
        runs: How many at a time it is made for.
        max_batch: Images in a run, at most.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        threads: int,
        runs: int = 0,
        precision: Precision = "exact",
        max_batch: int | None = None,
    ) -> None:
        """Loads the graph and checks that it is what the manifest says.

        Args:
            bundle: The verified bundle.
            device: `auto` takes CUDA if it is there; integers are the CPU's in any case.
            threads: CPU threads of all runs together.
            runs: How many there are at a time; 0 takes one on CUDA, and on the CPU one a thread, up to four.
            precision: Which of the bundle's graphs.
            max_batch: Images in a run, at most; None takes what suits the device.

        Raises:
            DeviceError: CUDA was asked for and does not work.
            BundleError: The graph does not load or differs from the manifest.
        """
        self._bundle = bundle
        device = device_of(precision, device)
        self.runs = runs or min(threads, _MOST_RUNS)
        self.file, graph, self._session = _opened(bundle, precision, device, max(1, threads // self.runs))
        self.provider: str = self._session.get_providers()[0]
        if device == "cuda" and self.provider != CUDA:
            raise DeviceError(f"SCA_DEVICE='cuda': onnxruntime could not start {CUDA} and fell back to {self.provider}")
        if device == "auto":
            report_fallback(self.provider)
        self._check_contract((bundle.path / self.file).as_posix())
        self.outputs = self._float_outputs()
        self._values: dict[frozenset[str], int] = {}
        self.max_batch = max_batch or self._best_batch(precision)
        if self.provider != CPU:
            self.runs = runs or 1
        self._runner, self._alone = self._runners(graph, threads)
        self._running, self._overlapped, self._lock = 0, -math.inf, threading.Lock()
        self._golden_batch = self.max_batch
        self._golden = GoldenImages(bundle, self.outputs, precision)

    def run(self, images: NDArray[np.uint8], wants: frozenset[str]) -> dict[str, NDArray[np.float32]]:
        """Computes a batch.

        Args:
            images: uint8 (N, H, W, C), C-contiguous.
            wants: Names among `outputs`.

        Returns:
            float32 (N, …) by name, as far as wanted; the next run in the same thread may write over those that are
            not read-only.

        Raises:
            InferenceFailed: The runtime failed.
        """
        with self._lock:
            now = time.monotonic()
            if self._running:
                self._overlapped = now
            runner = self._runner if now - self._overlapped < _CALM_S else self._alone
            self._running += 1
        try:
            return runner.run(images, wants)
        # onnxruntime's exceptions share no base class of their own.
        except Exception as error:
            raise InferenceFailed("The model's runtime failed on this batch; try again later.") from error
        finally:
            with self._lock:
                self._running -= 1
                if self._running:
                    self._overlapped = time.monotonic()

    def values(self, wants: frozenset[str]) -> int:
        """Returns how many numbers these outputs have an image."""
        if wants not in self._values:
            self._values[wants] = sum(math.prod(self.outputs[name]) for name in wants)
        return self._values[wants]

    def _best_batch(self, precision: Precision) -> int:
        """Returns how many images a run has at most if nobody says so."""
        if self.provider != CPU:
            return _MAX_BATCH
        form = "direct" if precision == "exact" and multiplies_fast("cpu") else precision
        return min(_MAX_BATCH, max(1, _RUN_BYTES[form] // (4 * self._bundle.manifest.feature_dim)))

    def warm_up(self) -> None:
        """Runs one image and the largest batch, so that no request pays for first times; on CUDA, the whole ladder."""
        images = np.zeros((self.max_batch, *self._bundle.shape), np.uint8)
        wants = frozenset(("features", "logits"))
        sizes = {1, self.max_batch}
        if self.provider != CPU:
            sizes |= {1 << power for power in range(self.max_batch.bit_length())}
        for size in sorted(sizes):
            for runner in {self._alone, self._runner} if size == 1 else {self._runner}:
                runner.run(images[:size], wants)

    def _runners(self, graph: bytes, threads: int) -> tuple[Runner, Runner]:
        """Makes the runner for several runs at a time, and the one for a run alone."""
        if self.provider != CPU:
            both = CudaRunner(self._session, self.outputs)
            return both, both
        runner = CpuRunner(self._session, self.outputs)
        if threads == 1 or self.runs == 1:
            return runner, runner
        return runner, CpuRunner(open_session(graph, "cpu", threads, alone=True), self.outputs)

    def check_golden(self) -> Golden:
        """Computes the golden images again and compares with what training computed.

        The first time in the largest batches; later one by one, since other runs may be under way, and the memory of
        one more large batch would be kept.
        """
        batch, self._golden_batch = self._golden_batch, 1
        return self._golden.check(self.run, batch)

    def _float_outputs(self) -> dict[str, tuple[int, ...]]:
        """Lists the outputs that clients can ask for: float32, one row an image, of a fixed shape."""
        shapes = {
            node.name: tuple(node.shape[1:])
            for node in self._session.get_outputs()
            if node.type == "tensor(float)" and len(node.shape) > 1 and not isinstance(node.shape[0], int)
        }
        fixed = {name: shape for name, shape in shapes.items() if all(isinstance(size, int) for size in shape)}
        return {"features": fixed["features"], "logits": fixed["logits"]} | fixed

    def _check_contract(self, file: str) -> None:
        """Compares names, types, shapes and metadata of the graph with the manifest."""
        manifest = self._bundle.manifest
        expected = {
            "images": ("tensor(uint8)", self._bundle.shape),
            "features": ("tensor(float)", (manifest.feature_dim,)),
            "logits": ("tensor(float)", (len(manifest.labels),)),
        }
        nodes = {node.name: node for node in (*self._session.get_inputs(), *self._session.get_outputs())}
        for name, (dtype, shape) in expected.items():
            node = nodes.get(name)
            if node is None:
                raise BundleError(f"{file}: has no {name}")
            if node.type != dtype or tuple(node.shape[1:]) != tuple(shape) or isinstance(node.shape[0], int):
                raise BundleError(
                    f"{file}: {name} is {node.type} {node.shape}, expected {dtype} ['N', {_listed(shape)}]"
                )
        metadata = self._session.get_modelmeta().custom_metadata_map
        for key, value in _expected_metadata(self._bundle.document).items():
            if key not in metadata:
                raise BundleError(f"{file}: metadata {key} is missing")
            if _parsed(metadata[key]) != value:
                raise BundleError(f"{file}: metadata {key} differs from the manifest")


def _opened(
    bundle: Bundle, precision: Precision, device: Device, threads: int
) -> tuple[str, bytes, ort.InferenceSession]:
    """Loads the form of a graph that suits the device, and names its file; see `_loaded`."""
    file = bundle.graph_file(precision, direct=multiplies_fast(device))
    graph, session = _loaded(bundle.path / file, device, threads)
    here = bundle.graph_file(precision, direct=multiplies_fast("cpu"))
    if file != here and session.get_providers()[0] == CPU:  # CUDA was there, but did not start
        file = here
        graph, session = _loaded(bundle.path / file, "cpu", threads)
    return file, graph, session


def _loaded(file: Path, device: Device, threads: int) -> tuple[bytes, ort.InferenceSession]:
    """Reads a graph and makes a session of it.

    Raises:
        DeviceError: The device is not there.
        BundleError: The graph does not load.
    """
    try:
        graph = file.read_bytes()
        if _EXTERNAL_DATA in graph:
            raise BundleError(f"{file}: keeps weights in other files, which is not allowed")
        return graph, open_session(graph, device, threads)
    except (DeviceError, BundleError):
        raise
    # onnxruntime's exceptions share no base class of their own.
    except Exception as error:
        raise BundleError(f"{file}: does not load: {_first_line(error)}") from error


def _expected_metadata(document: dict[str, Any]) -> dict[str, Any]:
    keys = ("schema_version", "name", "dataset", "input", "labels", "feature_dim", "layers")
    return {f"sca.{key}": document[key] for key in keys}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
