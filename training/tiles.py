"""Images with many channels in, tiles of 32 channels out, and where patches lie in them.

A patch of layer 2 is large (5 x 5 x 512 numbers, 51 kB) and so are the images it lies in: taken as they are, every
patch comes from memory. Tile by tile, 32 channels of all images of a batch fit a core's second cache, the filters' part
fits the first, and memory is read once.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.workers import spread

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]

LANES = 32
"""Channels a tile: two registers of sixteen numbers."""


@dataclass(frozen=True)
class Tiles:
    """Images with zeros left and right of them, channels in tiles.

    Attributes:
        numbers: (T, N * H * (W + 2h) * 32) float32, T = ceil(C / 32); missing channels are 0.
        margin: h.
        shape: (N, H, W, C).
    """

    numbers: Tensor
    margin: int
    shape: tuple[int, int, int, int]

    @property
    def row(self) -> int:
        """Numbers a row of a tile."""
        return (self.shape[2] + 2 * self.margin) * LANES

    @classmethod
    def cut(cls, pixels: Tensor, kernel: int) -> "Tiles":
        """Images (N, H, W, C) float32 as tiles for filters of a width."""
        count, height, width, channels = pixels.shape
        parts, margin = -(-channels // LANES), kernel // 2
        numbers = torch.zeros(parts, count * height * (width + 2 * margin) * LANES)
        tiles = cls(numbers, margin, (count, height, width, channels))
        tiles._exchange(pixels, into=True)
        return tiles

    def join_(self, pixels: Tensor) -> None:
        """Write the tiles back into images (N, H, W, C)."""
        self._exchange(pixels, into=False)

    def _exchange(self, pixels: Tensor, *, into: bool) -> None:
        count, height, width, _ = self.shape
        margin = self.margin

        def work(start: int, stop: int) -> None:
            for t in range(start, stop):
                outside = pixels[..., t * LANES : (t + 1) * LANES]
                padded = self.numbers[t].view(count, height, width + 2 * margin, LANES)
                inside = padded[:, :, margin : margin + width, : outside.shape[3]]
                if into:
                    inside.copy_(outside)
                else:
                    outside.copy_(inside)

        spread(work, len(self.numbers))


class Places(NamedTuple):
    """L patches in tiles, sorted by map; rows of a patch that lie outside the image are left out.

    Attributes:
        starts: (M + 1,) int64, where each map's places begin in the list, and its length L.
        begins: (L,) int64, where in a tile each patch's first row begins.
        tops: (L,) int64, which row of the filter that is.
        rows: (L,) int64, how many there are.
    """

    starts: Longs
    begins: Longs
    tops: Longs
    rows: Longs

    @classmethod
    def of(cls, starts: Longs, images: Longs, positions: npt.NDArray[np.integer], tiles: Tiles) -> "Places":
        """From images (L,) and positions row * W + column (L,) in them."""
        _, height, width, _ = tiles.shape
        margin = tiles.margin
        rows, columns = np.divmod(positions.astype(np.int64), width)
        tops = np.maximum(0, margin - rows)
        begins = (images * height + rows - margin + tops) * tiles.row + columns * LANES
        return cls(starts, begins, tops, np.minimum(2 * margin + 1, height - rows + margin) - tops)
