"""Feature vectors in, float32 blocks of them out, as often as a solver asks: float16 in memory or in a file."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BLOCK_ROWS = 128
"""Rows that a thread converts to float32 at a time, so that the block is still in cache when it is multiplied."""
MEMORY_BYTES = 2 << 30
"""Features above this size go to a file: a run's memory does not grow with the number of its images."""
GPU_BLOCK_BYTES = 1 << 30
"""Of a float32 block on a GPU, which is busy for a microsecond with what is a core's cacheful."""
GPU_SHARE = 0.5
"""Of a GPU's free memory, what features may take; the solver's blocks and scores need room beside them."""
CPU = torch.device("cpu")


class FeatureFile:
    """A float16 (N, D) matrix in a file, read and written by blocks.

    Not a memory map: pages of a map count as the process's memory, and the whole matrix is read at every pass.

    Args:
        path: the file.
        rows: N.
        columns: D.
        first: the first row of this view.
    """

    def __init__(self, path: Path, rows: int, columns: int, first: int = 0) -> None:
        self.path, self.shape, self.first = path, (rows, columns), first
        self._kept = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def __len__(self) -> int:
        """N."""
        return self.shape[0]

    def __del__(self) -> None:
        """Close this view's descriptor, if it came to one."""
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def view(self, start: int, stop: int) -> "FeatureFile":
        """Rows start .. stop, without reading them."""
        return FeatureFile(self.path, stop - start, self.shape[1], self.first + start)

    def write(self, start: int, rows: Tensor) -> None:
        """Store rows of any float type from row `start` on."""
        self._all(os.pwrite, rows.half().cpu().numpy(), start)

    def read(self, start: int, stop: int, out: Tensor) -> None:
        """Copy rows start .. stop into float32 `out`."""
        half = self._buffer(stop - start)
        self._all(lambda fd, view, at: os.preadv(fd, [view], at), half, start)
        out.copy_(torch.from_numpy(half))

    def _buffer(self, rows: int) -> npt.NDArray[np.float16]:
        """Room for rows, kept for the next block of this thread."""
        kept: npt.NDArray[np.float16] | None = getattr(self._kept, "rows", None)
        if kept is None or len(kept) < rows:
            kept = self._kept.rows = np.empty((rows, self.shape[1]), np.float16)
        return kept[:rows]

    def _all(self, move: Callable[[int, memoryview, int], int], array: npt.NDArray[np.float16], row: int) -> None:
        """Repeat a system call until every byte has been moved."""
        left = np.ascontiguousarray(array).data.cast("B")
        at = (self.first + row) * self.shape[1] * 2
        while left:
            moved = move(self._descriptor, left, at)
            if moved <= 0:
                raise OSError(f"{self.path} ends at byte {at}")
            left, at = left[moved:], at + moved


Features = Tensor | FeatureFile
"""(N, D): a float16 or float32 tensor, or a float16 file."""


def room(rows: int, columns: int, path: Path, device: torch.device = CPU) -> Features:
    """An uninitialised float16 (rows, columns) matrix: in memory up to `MEMORY_BYTES`, else in a file.

    On a GPU: in its memory, up to `GPU_SHARE` of what is free there.
    """
    limit = MEMORY_BYTES
    if device.type == "cuda":
        limit = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
    if 2 * rows * columns <= limit:
        return torch.empty(rows, columns, dtype=torch.float16, device=device)
    return FeatureFile(path, rows, columns)


def write(features: Features, start: int, rows: Tensor) -> None:
    """Store rows from row `start` on."""
    if isinstance(features, FeatureFile):
        features.write(start, rows)
    else:
        features[start : start + len(rows)] = rows


def part(features: Features, start: int, stop: int) -> Features:
    """Rows start .. stop, not copied."""
    return features.view(start, stop) if isinstance(features, FeatureFile) else features[start:stop]


def blocks(features: Features, first: int = 0, last: int | None = None) -> Iterator[tuple[int, int, Tensor]]:
    """Consecutive float32 blocks of the rows first .. last: start, stop, (stop - start, D).

    A block's memory is used again for the next one.
    """
    last = len(features) if last is None else last
    device = CPU if isinstance(features, FeatureFile) else features.device
    rows = BLOCK_ROWS if device.type == "cpu" else max(BLOCK_ROWS, GPU_BLOCK_BYTES // (4 * features.shape[1]))
    buffer = torch.empty(min(rows, last - first), features.shape[1], device=device)
    for start in range(first, last, rows):
        stop = min(start + rows, last)
        block = buffer[: stop - start]
        if isinstance(features, FeatureFile):
            features.read(start, stop, block)
        else:
            block.copy_(features[start:stop])
        yield start, stop, block
