"""A convolution's width, filters and scales in, the same convolution over unfolded columns out.

onnxruntime's fastest integer convolution (x86-64, indirect, with the factor applied in registers) takes inputs whose
channels are a multiple of four. Pictures have one or three. Laid out so that each position holds the k columns around
it, an input of C channels has k C, rounded up to four (9 x 3 to 28), and filters of k x k become k x 1. A product with
a matrix of zeros and scales does it, while the input is still float32; where another product came before, as in
whitening, both are one.
"""

import numpy as np
import numpy.typing as npt

PACK = 4
"""Channels are a multiple of this."""
MAX_ROW = 128
"""Numbers in a row of the input, W C, up to which unfolding pays: its cost grows with them."""

Floats = npt.NDArray[np.float64]


def pays(channels: int, width: int) -> bool:
    """Whether to unfold an input of this many channels and columns."""
    return channels % PACK != 0 and width * channels <= MAX_ROW


def depth(channels: int, kernel: int) -> int:
    """Channels of the unfolded input."""
    return -(-channels * kernel // PACK) * PACK


def matrix(width: int, kernel: int, begin: int, end: int, scales: Floats) -> Floats:
    """What rows (W * C) are multiplied with from the right.

    Args:
        width: W.
        kernel: width of the filters, k.
        begin: columns of zeros before the first one, as the convolution pads.
        end: columns of zeros after the last one.
        scales: of each channel, (C,); the result is in units of them.

    Returns:
        (W * C, W' * depth), W' the columns of the maps; at each position first the leftmost column's channels.
    """
    columns, channels = width + begin + end - kernel + 1, len(scales)
    out = np.zeros((width, channels, columns, depth(channels, kernel)))
    for position in range(columns):
        for tap in range(kernel):
            column = position + tap - begin
            if 0 <= column < width:
                for channel in range(channels):
                    out[column, channel, position, tap * channels + channel] = 1 / scales[channel]
    return out.reshape(width * channels, -1)


def filters(square: Floats) -> Floats:
    """Filters (M, C, k, k) as (M, depth, k, 1)."""
    maps, channels, rows, columns = square.shape
    out = np.zeros((maps, depth(channels, columns), rows, 1))
    out[:, : columns * channels, :, 0] = square.transpose(0, 3, 1, 2).reshape(maps, columns * channels, rows)
    return out
