"""Images in, a feature matrix out."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training import features, parallel
from training.features import CPU, Features
from training.sources import ImageSource, Pixels, prefetch
from training.stack import FeatureExtractor
from training.winners import CHUNK_BYTES
from training.workers import alone, spread


def chunk_images(extractor: FeatureExtractor, height: int, width: int) -> int:
    """As many images as keep the widest layer's maps in cache between convolution and pooling."""
    shapes = extractor.shapes(height, width)
    inputs = [extractor.framing.size(height, width), *((rows, columns) for _, rows, columns in shapes)]
    widest = max(maps * rows * columns for (maps, _, _), (rows, columns) in zip(shapes, inputs, strict=False))
    return max(1, CHUNK_BYTES // (4 * widest * extractor.framing.views))


def extract(
    extractor: FeatureExtractor,
    images: ImageSource,
    ranges: Sequence[tuple[int, int]],
    spill: Path,
    name: str,
    device: torch.device = CPU,
) -> Features:
    """Features of some of the images.

    Args:
        extractor: the frozen network.
        images: samples, uint8 (N, H, W, V * C).
        ranges: of the images, first one and the one after the last; their rows follow each other in the result.
        spill: file for the matrix, should it be too large for memory.
        name: what the progress bar calls them.
        device: where the network is; features that fit stay there.

    Returns:
        (N, D) float16; 11 bits of mantissa are plenty for a linear probe, and halve what each of its passes reads.
    """
    total = sum(stop - start for start, stop in ranges)
    _, height, width, _ = images.shape
    maps, out_height, out_width = extractor.output_shape(height, width)
    out = features.room(total, maps * out_height * out_width, spill, device)
    chunk = chunk_images(extractor, height, width)
    # a source may have to decode: ask it for many at a time
    block = chunk * max(1, 512 // chunk)
    row = 0
    with alone(), tqdm(total=total, unit="img", desc=name, disable=not parallel.is_first()) as bar:
        numbers = (np.arange(i, min(i + block, stop)) for start, stop in ranges for i in range(start, stop, block))
        for pixels in prefetch(images, numbers):
            rows = torch.empty(len(pixels), out.shape[1], dtype=torch.float16, device=device)
            spread(functools.partial(_fill, rows, extractor, pixels, chunk), len(pixels), device)
            features.write(out, row, rows)
            row += len(rows)
            bar.update(len(rows))
    return out


def _fill(rows: Tensor, extractor: FeatureExtractor, pixels: Pixels, chunk: int, start: int, stop: int) -> None:
    """Write the features of images start .. stop into their rows."""
    for first in range(start, stop, chunk):
        part = slice(first, min(first + chunk, stop))
        rows[part] = extractor(torch.from_numpy(pixels[part]).to(rows.device))
