"""Filters of 3 x 3 over many channels in, their convolution with a quarter of the multiplications out, for frozen ones.

Winograd's minimal filtering, F(4 x 4, 3 x 3) of Lavin and Gray 2015 (arXiv:1509.09308, section 4.2): squares of sixteen
sums of nine products each are had from 36 products instead of 144. Filters take four times the memory in this form, and
making it costs as much as convolving some thirty images: for training, where they change with every step, it is none.

    filters   U = G g G^T      once
    images    V = B^T d B      of each square of 6 x 6 positions, four apart
    products  M = U V          36 matrix products over channels
    maps      Y = A^T M A      squares of 4 x 4
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

TILE = 4
"""Neighbouring positions that are computed together."""
TAPS = 3
"""Width of a filter."""
BLOCK_MAPS = 256
"""Maps at a time, so that their products are still in cache when they are brought back."""
LEAST_CHANNELS = 128
"""From here on the products outweigh the ways there and back."""
MOST_WASTE = 1.3
"""Positions computed, squares being whole, over positions wanted: 1 for maps of 8 x 8, 1.44 for 10 x 10."""

Floats = npt.NDArray[np.float64]

# points 0, 1, -1, 2, -2 and infinity
TO_POINTS: Floats = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float64,
)
FILTER_TO_POINTS: Floats = (
    np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float64) / 24
)
FROM_POINTS: Floats = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64
)
POINTS = len(TO_POINTS)


def pays(filters: Tensor, height: int, width: int) -> bool:
    """Whether this is the faster way for filters (M, C, k, k) that stay as they are, over H x W positions."""
    waste = _tiles(height) * _tiles(width) * TILE**2 / (height * width)
    large = filters.shape[1] >= LEAST_CHANNELS and filters.shape[0] >= BLOCK_MAPS
    return filters.device.type == "cpu" and filters.shape[3] == TAPS and large and waste <= MOST_WASTE


def _tiles(side: int) -> int:
    return -(-side // TILE)


def _both_ways(matrix: Floats) -> Tensor:
    """A transformation of rows and columns together."""
    return torch.from_numpy(np.kron(matrix, matrix)).float()


class FrozenConvolution:
    """A convolution with stride 1 and zero padding.

    Args:
        filters: (M, C, 3, 3) float32; what they are changed to later does not count.
        bias: (M,) float32.
    """

    def __init__(self, filters: Tensor, bias: Tensor) -> None:
        self.bias, self.maps = bias.detach().clone(), len(filters)
        flat = filters.detach().permute(2, 3, 1, 0).flatten(0, 1)
        points = (_both_ways(FILTER_TO_POINTS) @ flat.flatten(1)).view(-1, *flat.shape[1:])
        self._starts = range(0, self.maps, BLOCK_MAPS)
        self._blocks = [points[:, :, start : start + BLOCK_MAPS].contiguous() for start in self._starts]
        self._to_points, self._from_points = _both_ways(TO_POINTS), _both_ways(FROM_POINTS)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float32 to (N, M, H, W), channels last; equal to `conv2d` to 1e-5 of the largest value."""
        count, channels, height, width = x.shape
        down, across = _tiles(height), _tiles(width)
        pads = (0, 0, 1, across * TILE + 1 - width, 1, down * TILE + 1 - height)
        padded = functional.pad(x.permute(0, 2, 3, 1), pads)
        squares = padded.unfold(1, POINTS, TILE).unfold(2, POINTS, TILE).permute(4, 5, 0, 1, 2, 3)
        points = (self._to_points @ squares.reshape(POINTS**2, -1)).view(POINTS**2, -1, channels)
        maps = x.new_empty(count, down, TILE, across, TILE, self.maps)
        for start, block in zip(self._starts, self._blocks, strict=True):
            squares = (self._from_points @ torch.bmm(points, block).flatten(1)).view(
                TILE, TILE, count, down, across, -1
            )
            maps[..., start : start + BLOCK_MAPS] = squares.permute(2, 3, 0, 4, 1, 5)
        maps += self.bias
        whole = maps.view(count, down * TILE, across * TILE, self.maps)
        return whole[:, :height, :width].permute(0, 3, 1, 2)
