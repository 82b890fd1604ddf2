"""Images in, themselves and changed copies of them out: what a probe may learn from besides the training images."""

import functools

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from training.config import AugmentationConfig
from training.sources import ImageSource, Indices, Pixels

Numbers = npt.NDArray[np.int64]
KNOTS = 5
"""Rows and columns of the grid whose knots an elastic change moves."""


def warp(pixels: Pixels, matrices: Tensor, bends: Tensor | None = None) -> Pixels:
    """Look at images through affine maps; what would come from outside is the nearest pixel of the edge.

    Args:
        pixels: uint8 (N, H, W, C).
        matrices: (N, 2, 3) float32, from places of the result to places of the image, both from -1 to 1 across.
        bends: (N, 2, K, K) float32, how much further right and down the image is looked at, in the same unit: at the
            knots of a grid from corner to corner; smooth (bicubic) between them.

    Returns:
        uint8 (N, H, W, C), interpolated bilinearly.
    """
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(matrices, list(planes.shape), align_corners=False)
    if bends is not None:
        size = (planes.shape[2], planes.shape[3])
        grid += functional.interpolate(bends, size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    seen = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
    out: Pixels = seen.round_().byte().permute(0, 2, 3, 1).numpy()
    return out


class AugmentedSource:
    """N images, then `copies` times N changed ones: image i of copy c has the number c * N + i; copy 0 is as it was.

    An image's copies depend on the seed and its number alone, not on when they are asked for.

    Args:
        images: uint8 (N, H, W, C).
        config: what is changed.
        seed: seeds the changes.
    """

    def __init__(self, images: ImageSource, config: AugmentationConfig, seed: int) -> None:
        self.images, self.config, self.seed = images, config, seed

    @property
    def shape(self) -> tuple[int, ...]:
        """((1 + copies) * N, H, W, C)."""
        return len(self), *self.images.shape[1:]

    def __len__(self) -> int:
        """(1 + copies) * N."""
        return (1 + self.config.copies) * len(self.images)

    def __getitem__(self, indices: Indices, /) -> Pixels:
        """Some of them, uint8 (B, H, W, C)."""
        numbers = np.arange(len(self))[indices] if isinstance(indices, slice) else indices
        copies, originals = np.divmod(numbers, len(self.images))
        pixels = np.array(self.images[originals])
        for copy in np.unique(copies[copies > 0]):
            rows = np.flatnonzero(copies == copy)
            pixels[rows] = self._changed(pixels[rows], int(copy), originals[rows])
        return pixels

    def _changed(self, pixels: Pixels, copy: int, originals: Numbers) -> Pixels:
        if self.config.mirror and copy % 2:
            pixels = pixels[:, :, ::-1]
        if not self.config.warps:
            return pixels
        drawn = self.config, self.seed, copy, self.images.shape[:3]
        bends = _bends(*drawn)[originals] if self.config.elastic else None
        return warp(pixels, _matrices(*drawn)[originals], bends)


@functools.lru_cache(maxsize=32)
def _matrices(config: AugmentationConfig, seed: int, copy: int, shape: tuple[int, int, int]) -> Tensor:
    """One copy's affine maps of all images, (N, 2, 3): turned, enlarged, then moved."""
    count, height, width = shape
    drawn = np.random.default_rng((seed, copy)).uniform(-1, 1, (count, 4))
    angle, size = np.radians(config.rotation) * drawn[:, 0], 1 + config.zoom * drawn[:, 1]
    sine, cosine = size * np.sin(angle), size * np.cos(angle)
    moved = 2 * config.shift * drawn[:, 2:] / (width, height)
    rows = [[cosine, -sine * height / width, moved[:, 0]], [sine * width / height, cosine, moved[:, 1]]]
    return torch.from_numpy(np.moveaxis(np.array(rows, np.float32), 2, 0).copy())


@functools.lru_cache(maxsize=32)
def _bends(config: AugmentationConfig, seed: int, copy: int, shape: tuple[int, int, int]) -> Tensor:
    """One copy's moved knots of all images, (N, 2, KNOTS, KNOTS)."""
    count, height, width = shape
    # a stream of its own: with and without it, copies are turned, enlarged and moved alike
    drawn = np.random.default_rng((seed, copy, KNOTS)).uniform(-1, 1, (count, 2, KNOTS, KNOTS))
    drawn *= 2 * config.elastic / np.array([width, height])[:, None, None]
    return torch.from_numpy(drawn.astype(np.float32))
