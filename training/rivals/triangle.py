"""Images and centroids in, pooled triangle activations out: one convolution, and one pass over what it gives.

For a patch p of d numbers, its mean m and s = sqrt(variance + epsilon), Coates et al. 2011 compute::

    x   = ((p - m) / s - mean) W          contrast normalisation and whitening
    z_k = |x - c_k|                       distance to each centroid
    f_k = max(0, mean(z) - z_k)           the triangle activation

and pool f over regions of the image. All of |x|^2 and x.c_k are products of p with fixed filters, scaled by 1 / s, so
that one convolution of the raw pixels with d + K filters (those of W, then those of the centroids) serves every patch,
overlapping or not. The rest reads each product once and keeps a patch's K distances in the first cache.

Letters: N images, C channels, H W positions, p patch width, R = H - p + 1 and S = W - p + 1 places of a patch, K
centroids, G pooling windows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from training.compiled import compiled
from training.rivals.sampling import PatchWhitening
from training.sources import Pixels
from training.whitening import to_planes
from training.winners import channels_last
from training.workers import alone, spread

CHUNK_BYTES = 4 << 20
"""Products that a thread makes at a time, to be read back from cache."""
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Which pooling windows each position of one axis is in: from `first` to `last`, both (positions,) int64.

    A position that is in none has a `last` below its `first`.
    """

    first: Ints
    last: Ints
    count: int


@dataclass(frozen=True)
class Quadrants:
    """Sums over the four quarters of the image (Coates et al. 2011, section 3.3)."""

    maximum = False

    def windows(self, places: int) -> Windows:
        """Two halves of an axis; the first is the larger one."""
        half = (np.arange(places) >= (places + 1) // 2).astype(np.int64)
        return Windows(half, half, 2)


@dataclass(frozen=True)
class MaxPooling:
    """Overlapping maxima, the pooling of the sparse convolutional autoencoder.

    Attributes:
        width: of a window, in positions.
        stride: from one window to the next, in positions.
    """

    width: int
    stride: int
    maximum = True

    def windows(self, places: int) -> Windows:
        """As torch's `max_pool` with a padding of width // 2."""
        margin = self.width // 2
        count = (places + 2 * margin - self.width) // self.stride + 1
        at = np.arange(places) + margin
        first = -((self.width - 1 - at) // self.stride)  # the least g with g * stride + width > at
        return Windows(np.maximum(first, 0), np.minimum(at // self.stride, count - 1), count)


Pooling = Quadrants | MaxPooling


# The three loops over a patch's numbers are functions of whole rows, and choose with `if` in an expression: so they are
# compiled to vector instructions, which loops over an index into a larger array, or the built-in `max`, are not.


@compiled()
def _square(row: Floats, scale: np.float32, shift: Floats) -> np.float32:
    square = np.float32(0)
    for j in range(len(shift)):
        value = row[j] * scale - shift[j]
        square += value * value
    return square


@compiled()
def _measure(row: Floats, offsets: Floats, square: np.float32, twice: np.float32, distances: Floats) -> np.float32:
    total = np.float32(0)
    for k in range(len(offsets)):
        value = square + offsets[k] - twice * row[k]
        value = np.sqrt(value if value > 0 else np.float32(0))  # rounding may take it below
        distances[k] = value
        total += value
    return total


@compiled()
def _add(distances: Floats, mean: np.float32, pooled: Floats) -> None:
    for k in range(len(pooled)):
        value = mean - distances[k]
        pooled[k] += value if value > 0 else np.float32(0)


@compiled()
def _raise(distances: Floats, mean: np.float32, pooled: Floats) -> None:
    for k in range(len(pooled)):
        value = mean - distances[k]
        pooled[k] = value if value > pooled[k] else pooled[k]


@compiled()
def _pool_triangles(
    products: Floats,
    scales: Floats,
    shift: Floats,
    offsets: Floats,
    row_first: Ints,
    row_last: Ints,
    column_first: Ints,
    column_last: Ints,
    columns: int,
    maximum: bool,
    pooled: Floats,
) -> None:
    size, maps = len(shift), len(offsets)
    distances = np.empty(maps, np.float32)
    pooled[:] = 0
    for image in range(products.shape[0]):
        for row in range(products.shape[1]):
            for column in range(products.shape[2]):
                line, scale = products[image, row, column], scales[image, row, column]
                square = _square(line[:size], scale, shift)
                mean = _measure(line[size:], offsets, square, scale + scale, distances) / np.float32(maps)
                for cell_row in range(row_first[row], row_last[row] + 1):
                    for cell_column in range(column_first[column], column_last[column] + 1):
                        cell = pooled[image, cell_row * columns + cell_column]
                        if maximum:
                            _raise(distances, mean, cell)
                        else:
                            _add(distances, mean, cell)


class TriangleEncoder:
    """Pooled triangle activations of images.

    Args:
        centroids: (K, C, p, p) float32, of whitened patches.
        whitening: what whitened them.
        contrast_epsilon: see `normalise_patches`.
        pooling: how maps become features.
    """

    def __init__(
        self,
        centroids: Tensor,
        whitening: PatchWhitening,
        contrast_epsilon: float,
        pooling: Pooling,
    ) -> None:
        self.pooling, self.epsilon, self.maps = pooling, contrast_epsilon, len(centroids)
        self.shape = centroids.shape[1:]
        wide, matrix, mean = centroids.flatten(1).double(), whitening.matrix.double(), whitening.mean.double()
        filters = torch.cat([matrix, wide @ matrix])
        # a filter without a mean takes the patch's mean off by itself
        level = filters - filters.mean(1, keepdim=True)
        self.filters = channels_last(level.float().view(-1, *self.shape))
        self.shift = (matrix @ mean).float().numpy()
        self.offsets = (wide.square().sum(1) + 2 * (wide @ matrix) @ mean).float().numpy()

    def columns(self, height: int, width: int) -> int:
        """D = K * G of images of this size."""
        patch = self.shape[1]
        rows, columns = (self.pooling.windows(size - patch + 1).count for size in (height, width))
        return self.maps * rows * columns

    def features(self, images: Pixels, out: Tensor | None = None) -> Tensor:
        """Features, each map's windows next to each other.

        Args:
            images: uint8 (N, H, W, C).
            out: where to write them, (N, K * G) of any float type; by default a new float32 tensor.
        """
        count, height, width, _ = images.shape
        out = torch.empty(count, self.columns(height, width)) if out is None else out
        places = (height - self.shape[1] + 1) * (width - self.shape[2] + 1)
        chunk = max(1, CHUNK_BYTES // (4 * places * len(self.filters)))

        def work(start: int, stop: int) -> None:
            for first in range(start, stop, chunk):
                part = slice(first, min(first + chunk, stop))
                out[part] = self._encode(torch.from_numpy(images[part])).flatten(1)

        with alone():
            spread(work, count)
        return out

    def _encode(self, images: Tensor) -> Tensor:
        """Features (n, K, G) of a few uint8 images (n, H, W, C)."""
        planes = to_planes(images)
        products = functional.conv2d(channels_last(planes), self.filters).permute(0, 2, 3, 1)
        scales = self._scales(planes)
        rows, columns = (self.pooling.windows(size) for size in scales.shape[1:])
        pooled = torch.empty(len(images), rows.count * columns.count, self.maps)
        _pool_triangles(
            products.numpy(),
            scales.numpy(),
            self.shift,
            self.offsets,
            rows.first,
            rows.last,
            columns.first,
            columns.last,
            columns.count,
            self.pooling.maximum,
            pooled.numpy(),
        )
        return pooled.transpose(1, 2)

    def _scales(self, planes: Tensor) -> Tensor:
        """1 / s of every patch, (n, R, S) float32, from planes (n, C, H, W)."""
        channels, patch, _ = self.shape
        moments = torch.stack([planes.sum(1), planes.square().sum(1)], 1).double()
        total, square = functional.avg_pool2d(moments, patch, stride=1, divisor_override=1).unbind(1)
        size = channels * patch * patch
        variance = (square - total.square() / size) / (size - 1)
        return (variance + self.epsilon).rsqrt().float()
