"""Images in, pooled maps out: a batch at a time for the next layer, or all of them as one matrix for the probe."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training import features, parallel, winograd
from training.features import CPU, Features
from training.sca import SparseConvAutoencoder
from training.sources import ImageSource, prefetch
from training.stack import FeatureExtractor
from training.winners import CHUNK_BYTES, GPU_CHUNK_BYTES
from training.workers import alone, spread

BLOCK_IMAGES = 512
"""Images asked of a source at a time: it may have to decode them."""


def chunk_images(
    layer: SparseConvAutoencoder, size: tuple[int, int], views: int = 1, device: torch.device = CPU
) -> int:
    """Samples, each with H x W positions a map in all its views, that a thread takes through a layer at a time.

    Few enough that pooling finds the maps in cache, enough that large filters are seldom read: a convolution with
    4096 filters of 5x5x512 takes four times as long for each of two images as for each of sixteen. Minimal filtering,
    whose filters are larger still, takes more.
    """
    seldom = layer.encoder.nbytes // (1 if winograd.pays(layer.encoder, *size) else 4)
    limit = GPU_CHUNK_BYTES if device.type == "cuda" else max(CHUNK_BYTES, seldom)
    return max(1, limit // (4 * layer.config.maps * size[0] * size[1] * views))


class BatchExtractor:
    """The top layer's pooled maps of a batch, made by all threads, each layer in chunks of its own size.

    Args:
        extractor: the frozen network.
        height: H of the samples, in pixels.
        width: W of the samples, in pixels.
        device: where the network is.
    """

    def __init__(self, extractor: FeatureExtractor, height: int, width: int, device: torch.device = CPU) -> None:
        self.extractor, self.device = extractor, device
        shapes = extractor.shapes(height, width)
        inputs = [extractor.framing.size(height, width), *((rows, columns) for _, rows, columns in shapes)]
        self.stages = [
            (layer.frozen(*size), chunk_images(layer, size, extractor.framing.views, device))
            for layer, size in zip(extractor.stack(), inputs, strict=False)
        ]
        self.shape = extractor.output_shape(height, width) if shapes else None
        self.columns = extractor.feature_count(height, width) if shapes else 0

    def __call__(self, samples: Tensor) -> Tensor:
        """uint8 (N, H, W, V * C) to float32 (N, V * M, H', W'), channels last; without layers, their input."""
        if self.shape is None:
            return self._through(samples, 0)
        out = torch.empty((len(samples), *self.shape), device=self.device, memory_format=torch.channels_last)
        self._write(samples, out, self._top)
        return out

    def features(self, samples: Tensor) -> Tensor:
        """uint8 (N, H, W, V * C) to float16 (N, D), map by map."""
        assert self.shape is not None, "features come from a layer"
        out = torch.empty((len(samples), self.columns), dtype=torch.float16, device=self.device)
        if self.extractor.all_layers:
            self._write(samples, out, self._side_by_side)
        else:
            self._write(samples, out.view(len(samples), *self.shape), self._top)
        return out

    def _write(self, samples: Tensor, out: Tensor, through: Callable[[Tensor], Tensor]) -> None:
        def work(start: int, stop: int) -> None:
            with torch.no_grad():  # set for each thread
                maps = self.extractor.averaged(through, samples[start:stop])
                out[start:stop] = maps.reshape(stop - start, *out.shape[1:])

        spread(work, len(samples), self.device)

    def _top(self, samples: Tensor) -> Tensor:
        return self._through(samples, len(self.stages))

    def _side_by_side(self, samples: Tensor) -> Tensor:
        """The pooled maps of all layers, (N, D). Those of a layer are whole before the next one begins."""
        maps, rows = self._through(samples, 0), []
        for layer, chunk in self.stages:
            step = chunk * self.extractor.framing.views
            maps = torch.cat([layer(maps[i : i + step]) for i in range(0, len(maps), step)])
            rows.append(maps.reshape(len(samples), -1))
        return torch.cat(rows, 1)

    def _through(self, samples: Tensor, stage: int) -> Tensor:
        """The views of samples through the first `stage` layers."""
        if stage == 0:
            planes: Tensor = self.extractor.preprocessing(self.extractor.framing(samples))
            return planes
        layer, chunk = self.stages[stage - 1]
        parts = [layer(self._through(samples[i : i + chunk], stage - 1)) for i in range(0, len(samples), chunk)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


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
    pooled = BatchExtractor(extractor, height, width, device)
    out = features.room(total, pooled.columns, spill, device)
    row = 0
    with alone(), tqdm(total=total, unit="img", desc=name, disable=not parallel.is_first()) as bar:
        numbers = (
            np.arange(i, min(i + BLOCK_IMAGES, stop))
            for start, stop in ranges
            for i in range(start, stop, BLOCK_IMAGES)
        )
        for pixels in prefetch(images, numbers):
            rows = pooled.features(torch.from_numpy(pixels).to(device))
            features.write(out, row, rows)
            row += len(rows)
            bar.update(len(rows))
    return out
