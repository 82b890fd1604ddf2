"""The onnxruntime session of a Bundle: uint8 (N, H, W, C) → float32 features (N, D), logits (N, K), and what else."""

import json
import logging
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray

from service.bundle import Bundle, BundleError
from service.errors import InferenceFailed

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["exact", "fast"]
GOLDEN_TOLERANCE = 1e-3
"""Largest golden error of the exact graph that is accepted, as a share of the largest golden value."""

# The protobuf bytes of an external_data entry with the key "location".
_EXTERNAL_DATA = b"\n\x08location\x12"
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


class DeviceError(Exception):
    """The device that was asked for is not there; the message says what is missing."""


@dataclass(frozen=True)
class Golden:
    """The outcome of computing the golden images again.

    Attributes:
        max_abs_error: Largest absolute difference from what training computed.
        relative_error: Per output, that difference as a share of the largest golden value; the largest of them.
        tolerance: Largest relative error that is accepted.
    """

    max_abs_error: float
    relative_error: float
    tolerance: float = GOLDEN_TOLERANCE

    @property
    def ok(self) -> bool:
        """Whether the model computes what it was trained to compute; NaN is not ok."""
        return self.relative_error <= self.tolerance


class Session:
    """A loaded model; `run` may be called from several threads at a time.

    Attributes:
        provider: What onnxruntime runs it on.
        outputs: Shape of one row of each float32 output, by name: `features` and `logits` first, then all others.
    """

    def __init__(self, bundle: Bundle, device: Device, threads: int, precision: Precision = "exact") -> None:
        """Loads the graph and checks that it is what the manifest says.

        Args:
            bundle: The verified bundle.
            device: `auto` takes CUDA if it is there; integers are computed on the CPU in any case.
            threads: CPU threads of one run.
            precision: Which of the bundle's graphs.

        Raises:
            DeviceError: CUDA was asked for and does not work.
            BundleError: The graph does not load or differs from the manifest.
        """
        self._bundle = bundle
        self._golden_prefix, self._tolerance = "", GOLDEN_TOLERANCE
        if precision == "fast":
            device = "cpu"
            self._golden_prefix, self._tolerance = "fast_", bundle.fast.golden_tolerance
        file = bundle.path / bundle.graph_file(precision)
        try:
            graph = file.read_bytes()
            if _EXTERNAL_DATA in graph:
                raise BundleError(f"{file}: keeps weights in other files, which is not allowed")
            self._session = ort.InferenceSession(graph, _options(threads), providers=_providers(device))
        except (DeviceError, BundleError):
            raise
        # onnxruntime's exceptions share no base class of their own.
        except Exception as error:
            raise BundleError(f"{file}: does not load: {_first_line(error)}") from error
        self.provider: str = self._session.get_providers()[0]
        if device == "cuda" and self.provider != _CUDA:
            raise DeviceError(
                f"SCA_DEVICE='cuda': onnxruntime could not start {_CUDA} and fell back to {self.provider}"
            )
        if device == "auto":
            self._report_fallback()
        self._check_contract(file.as_posix())
        self.outputs = self._float_outputs()
        self._golden = bundle.arrays("golden.npz")
        self._check_golden_file(f"{bundle.path}/golden.npz")

    def run(self, images: NDArray[np.uint8], wants: frozenset[str]) -> dict[str, NDArray[np.float32]]:
        """Computes a batch.

        Args:
            images: uint8 (N, H, W, C), C-contiguous.
            wants: Names among `outputs`.

        Returns:
            float32 (N, …) by name, as far as wanted.

        Raises:
            InferenceFailed: The runtime failed.
        """
        names = sorted(wants)
        try:
            return dict(zip(names, self._session.run(names, {"images": images}), strict=True))
        # onnxruntime's exceptions share no base class of their own.
        except Exception as error:
            raise InferenceFailed("The model's runtime failed on this batch; try again later.") from error

    def warm_up(self, max_batch: int) -> None:
        """Runs the batch sizes at the ends, so that no request pays for first-time allocation; on CUDA, the ladder."""
        sizes = {1, max_batch}
        if self.provider != _CPU:
            sizes |= {1 << power for power in range(max_batch.bit_length())}
        for size in sorted(sizes):
            self.run(np.zeros((size, *self._bundle.shape), np.uint8), frozenset(("features", "logits")))

    def check_golden(self) -> Golden:
        """Computes the golden images again and compares with what training computed."""
        prefix = self._golden_prefix
        known = frozenset(name for name in self.outputs if prefix + name in self._golden)
        rows = self.run(np.ascontiguousarray(self._golden["images"]), known)
        absolute, relative = [0.0], [0.0]
        for name, actual in rows.items():
            expected = self._golden[prefix + name].astype(np.float32)
            if actual.shape != expected.shape:
                raise BundleError(
                    f"{self._bundle.path}/golden.npz: {prefix}{name} has shape {expected.shape}, not {actual.shape}"
                )
            error = float(np.max(np.abs(actual - expected)))
            absolute.append(error)
            relative.append(error / max(float(np.max(np.abs(expected))), 1e-12))
        # max() drops NaN depending on its place, np.max never does.
        return Golden(float(np.max(absolute)), float(np.max(relative)), self._tolerance)

    def _float_outputs(self) -> dict[str, tuple[int, ...]]:
        """Lists the outputs that clients can ask for: float32, one row an image, of a fixed shape."""
        shapes = {
            node.name: tuple(node.shape[1:])
            for node in self._session.get_outputs()
            if node.type == "tensor(float)" and len(node.shape) > 1 and not isinstance(node.shape[0], int)
        }
        fixed = {name: shape for name, shape in shapes.items() if all(isinstance(size, int) for size in shape)}
        return {"features": fixed["features"], "logits": fixed["logits"]} | fixed

    def _report_fallback(self) -> None:
        """Logs if a run on the CPU may not be what the operator expects."""
        if self.provider == _CPU and _CUDA in ort.get_available_providers():
            logger.warning("CUDA did not start: running on the CPU", extra={"wanted": _CUDA, "got": self.provider})

    def _check_golden_file(self, file: str) -> None:
        """Checks that there is something to compare with."""
        for name in ("images", f"{self._golden_prefix}features", f"{self._golden_prefix}logits"):
            if name not in self._golden:
                raise BundleError(f"{file}: holds no {name}")
        images = self._golden["images"]
        if images.dtype != np.uint8 or images.shape[1:] != self._bundle.shape or not len(images):
            raise BundleError(
                f"{file}: images are {images.dtype} {images.shape}, not uint8 (N, {_listed(self._bundle.shape)})"
            )

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


def _expected_metadata(document: dict[str, Any]) -> dict[str, Any]:
    keys = ("schema_version", "name", "version", "dataset", "input", "labels", "feature_dim", "layers")
    return {f"sca.{key}": document[key] for key in keys}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between runs take the cores from decoding and from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _providers(device: Device) -> list[str]:
    if device == "cpu":
        return [_CPU]
    if _CUDA in ort.get_available_providers():
        # The CUDA libraries come as packages of their own; found on the loader's path, they would not need this.
        ort.preload_dlls()
        return [_CUDA, _CPU]
    if device == "cuda":
        have = ", ".join(ort.get_available_providers())
        raise DeviceError(
            f"SCA_DEVICE='cuda': this onnxruntime has no {_CUDA} (it has {have}); install onnxruntime-gpu"
        )
    logger.info("no CUDA in this onnxruntime: running on the CPU", extra={"wanted": device, "got": _CPU})
    return [_CPU]


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
