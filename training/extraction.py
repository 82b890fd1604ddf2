"""Images in, a feature matrix out: float16, in memory where it fits, else mapped to disk."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from training.stack import FeatureExtractor
from training.winners import CHUNK_BYTES

MEMORY_SHARE = 0.5
"""Of the free memory, at most, that features may take before they go to disk."""


def free_memory_bytes() -> int:
    """Physical memory that is free or can be freed at once."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _room(count: int, size: int, spill: Path) -> Tensor:
    """An uninitialised float16 (count, size) matrix."""
    if 2 * count * size <= MEMORY_SHARE * free_memory_bytes():
        return torch.empty(count, size, dtype=torch.float16)
    return torch.from_numpy(np.memmap(spill, np.float16, "w+", shape=(count, size)))


def extract(extractor: FeatureExtractor, images: npt.NDArray[np.uint8], spill: Path, name: str) -> Tensor:
    """Features of all images.

    Args:
        extractor: the frozen network.
        images: uint8 (N, H, W, C).
        spill: file for the matrix, should it not fit in memory.
        name: what the progress bar calls them.

    Returns:
        (N, D) float16; 11 bits of mantissa are plenty for a linear probe, and halve what each of its passes reads.
    """
    count, height, width, _ = images.shape
    shapes = extractor.shapes(height, width)
    maps, rows, columns = shapes[-1]
    out = _room(count, maps * rows * columns, spill)
    # as many images at a time as keep the widest layer's maps in cache between convolution and pooling
    inputs = [(height, width), *((h, w) for _, h, w in shapes)]
    widest = max(m * h * w for (m, _, _), (h, w) in zip(shapes, inputs, strict=False))
    chunk = max(1, CHUNK_BYTES // (4 * widest))
    with tqdm(total=count, unit="img", desc=name) as bar:
        for start in range(0, count, chunk):
            part = torch.from_numpy(images[start : start + chunk])
            out[start : start + len(part)] = extractor(part)
            bar.update(len(part))
    return out
