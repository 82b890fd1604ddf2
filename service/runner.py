"""An onnxruntime session and memory that is there already → runs that allocate nothing; on the CPU, or on CUDA."""

import threading
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray

from service.devices import gpu
from service.loans import Loans

Outputs = dict[str, NDArray[np.float32]]
RowShapes = Mapping[str, tuple[int, ...]]
"""Shape of one row of each float32 output, by name."""


class Runner(Protocol):
    """Computes batches on one device."""

    def run(self, images: NDArray[np.uint8], wants: frozenset[str]) -> Outputs:
        """Computes a batch.

        Args:
            images: uint8 (N, H, W, C), C-contiguous.
            wants: Names of outputs.

        Returns:
            float32 (N, …) by name. Nobody writes over those that are read-only, as long as anything refers to them;
            the next run in the same thread may write over the others.
        """


class CpuRunner:
    """Runs where the arrays are: the session reads the batch and writes its rows in place.

    Any number of threads may run at a time; each has its own memory, as large as its largest batch was.
    """

    def __init__(self, session: ort.InferenceSession, rows: RowShapes) -> None:
        """Takes a session on the CPU, and what its outputs look like."""
        self._session = session
        self._rows = rows
        self._local = threading.local()

    def run(self, images: NDArray[np.uint8], wants: frozenset[str]) -> Outputs:
        """Computes a batch; see `Runner.run`."""
        binding = self._session.io_binding()
        binding.bind_cpu_input("images", images)
        loans: dict[str, Loans] = self._local.__dict__
        outputs = {}
        for name in wants:
            if name not in loans:
                loans[name] = Loans(self._rows[name])
            outputs[name] = loans[name].lend(len(images))
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
        return outputs


class CudaRunner:
    """Runs on a device with memory of its own, in batches of a power of two.

    A batch is filled up to the next such size. Each size has its tensors on the device for good, so that a CUDA graph,
    captured when the size runs for the first time, finds them where they were. One run at a time, of all models.
    """

    def __init__(self, session: ort.InferenceSession, rows: RowShapes, device: str = "cuda") -> None:
        """Takes a session, what its outputs look like, and onnxruntime's name of its device."""
        self._session = session
        self._rows = rows
        self._device = device
        self._rungs: dict[int, _Rung] = {}

    def run(self, images: NDArray[np.uint8], wants: frozenset[str]) -> Outputs:
        """Computes a batch; see `Runner.run`."""
        size = 1 << (len(images) - 1).bit_length()
        with gpu:
            if size not in self._rungs:
                self._rungs[size] = _Rung(self._session, self._rows, (size, *images.shape[1:]), self._device)
            return self._rungs[size].run(images, wants)


class _Rung:
    """The tensors of one batch size."""

    def __init__(self, session: ort.InferenceSession, rows: RowShapes, shape: tuple[int, ...], device: str) -> None:
        self._session = session
        self._host = np.zeros(shape, np.uint8)
        self._images = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, device)
        self._outputs: dict[str, Any] = {
            name: ort.OrtValue.ortvalue_from_shape_and_type((shape[0], *row), np.float32, device)
            for name, row in rows.items()
        }
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("images", self._images)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._options = ort.RunOptions()
        # A graph is captured for each id, and an id stands for one set of tensors.
        self._options.add_run_config_entry("gpu_graph_id", str(shape[0]))

    def run(self, images: NDArray[np.uint8], wants: frozenset[str]) -> Outputs:
        """Brings a batch to the device, runs it, and brings the wanted rows back."""
        self._host[: len(images)] = images
        self._images.update_inplace(self._host)
        self._session.run_with_iobinding(self._binding, self._options)
        return {name: self._outputs[name].numpy()[: len(images)] for name in wants}
