"""A layer's settings and weights in, what ONNX says of it out: padding, windows, its three nodes written plainly."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from training.config import LayerConfig
from training.graph_writer import GraphWriter

Pads = tuple[int, int, int, int]
"""Padding at the top, left, bottom, right, in positions."""
Floats = npt.NDArray[np.float32]


class Layer(NamedTuple):
    """A convolution of stride 1, a rectifier and a max-pooling, with square filters and windows.

    Attributes:
        filters: (M, C, k, k).
        bias: (M,).
        pads: of the convolution.
        pool_width: width and height of the pooling windows.
        pool_stride: their stride.
        pool_pads: of the pooling.
    """

    filters: Floats
    bias: Floats
    pads: Pads
    pool_width: int
    pool_stride: int
    pool_pads: Pads

    @property
    def kernel(self) -> int:
        """Filter width and height, k."""
        return int(self.filters.shape[3])

    def rows(self, height: int) -> int:
        """Rows of the maps that are computed, of an input of so many rows."""
        return height + self.pads[0] + self.pads[2] - self.kernel + 1

    def columns(self, width: int) -> int:
        """Columns of the maps that are computed, of an input of so many columns."""
        return width + self.pads[1] + self.pads[3] - self.kernel + 1

    def windows(self, size: tuple[int, int]) -> tuple[int, int]:
        """Pooling windows below and beside each other, of an input of H x W."""
        high = self.rows(size[0]) + self.pool_pads[0] + self.pool_pads[2] - self.pool_width
        wide = self.columns(size[1]) + self.pool_pads[1] + self.pool_pads[3] - self.pool_width
        return high // self.pool_stride + 1, wide // self.pool_stride + 1

    def part(self, start: int, maps: int) -> "Layer":
        """Some of the maps."""
        end = start + maps
        return self._replace(filters=self.filters[start:end], bias=self.bias[start:end])


def layer_of(config: LayerConfig, filters: Tensor, bias: Tensor, size: tuple[int, int]) -> Layer:
    """The layer of these settings over an input of H x W.

    Maps end where no pooling window reaches further: of the paper's 32 positions, windows of 5 at every fourth reach
    31, and a sixteenth of the maps is not computed at all.
    """
    before, pool_before = config.kernel // 2, config.pool_width // 2
    (bottom, pool_bottom), (right, pool_right) = (_ends(side, config) for side in size)
    return Layer(
        filters=filters.detach().numpy(),
        bias=bias.detach().numpy(),
        pads=(before, before, bottom, right),
        pool_width=config.pool_width,
        pool_stride=config.pool_stride,
        pool_pads=(pool_before, pool_before, pool_bottom, pool_right),
    )


def _ends(side: int, config: LayerConfig) -> tuple[int, int]:
    """Padding after the last position of a side, for convolution and pooling."""
    pad, pool_pad = config.kernel // 2, config.pool_width // 2
    windows = (side + 2 * pool_pad - config.pool_width) // config.pool_stride + 1
    reached = (windows - 1) * config.pool_stride + config.pool_width - pool_pad
    kept = max(min(side, reached), side - pad)
    return pad - (side - kept), max(0, reached - kept)


def write_plain(writer: GraphWriter, layer: Layer, name: str, x: str, suffix: str = "") -> str:
    """Convolution, rectifier and pooling of an input (N, C, H, W); returns the name of the pooled maps (N, M, h, w).

    Runtimes fuse the first two.
    """
    weights = [
        writer.constant(f"{name}.encoder{suffix}", layer.filters),
        writer.constant(f"{name}.encoder_bias{suffix}", layer.bias),
    ]
    shape = {"kernel_shape": [layer.kernel] * 2, "pads": list(layer.pads)}
    maps = writer.add("Conv", [x, *weights], f"{name}.maps{suffix}", **shape)
    active = writer.add("Relu", [maps], f"{name}.active{suffix}")
    window = {"kernel_shape": [layer.pool_width] * 2, "strides": [layer.pool_stride] * 2}
    return writer.add("MaxPool", [active], f"{name}.pooled{suffix}", **window, pads=list(layer.pool_pads))
