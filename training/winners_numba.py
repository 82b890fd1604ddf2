"""The winner-take-all kernels as compiled loops for the processor.

Work is shared out so that no two threads write the same number and every sum has a fixed order: a run's weights do not
depend on how the threads were scheduled. Shapes as in `training.winners_torch`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

try:
    import numba
except ImportError:  # the torch kernels do the same, slower
    AVAILABLE = False
else:
    AVAILABLE = True

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def _compiled(function: Any) -> Any:
    """Compile a kernel on its first call; kept on disk, so that a run pays for it once."""
    if not AVAILABLE:
        return function
    return numba.njit(parallel=True, fastmath={"reassoc", "contract", "nsz"}, cache=True)(function)


prange = numba.prange if AVAILABLE else range


@_compiled
def _row_maxima(rows: Floats, values: Floats, positions: Ints) -> None:
    for row in prange(rows.shape[0]):
        best = rows[row, 0]
        for place in range(1, rows.shape[1]):
            best = max(best, rows[row, place])
        # a second pass over a row that is still in the first cache; carrying the index along would not vectorise
        first = 0
        while rows[row, first] != best and first < rows.shape[1] - 1:  # bounded: nothing equals a NaN
            first += 1
        values[row] = best
        positions[row] = first


@_compiled
def _paint(canvas: Floats, values: Floats, positions: Ints, decoder: Floats, width: int) -> None:
    maps, channels, kernel, _ = decoder.shape
    for image in prange(canvas.shape[0]):
        for m in range(maps):
            value = values[image, m]
            if value > 0:
                top = positions[image, m] // width
                left = positions[image, m] % width
                for c in range(channels):
                    for u in range(kernel):
                        for v in range(kernel):
                            canvas[image, c, top + u, left + v] += value * decoder[m, c, u, v]


@_compiled
def _backward(
    padded: Floats,
    error: Floats,
    values: Floats,
    positions: Ints,
    decoder: Floats,
    width: int,
    encoder_gradient: Floats,
    bias_gradient: Floats,
    decoder_gradient: Floats,
) -> None:
    maps, channels, kernel, _ = decoder.shape
    for m in prange(maps):
        encoder_gradient[m] = 0
        decoder_gradient[m] = 0
        bias = np.float32(0)
        for image in range(padded.shape[0]):
            value = values[image, m]
            if value > 0:
                top = positions[image, m] // width
                left = positions[image, m] % width
                slope = np.float32(0)
                for c in range(channels):
                    for u in range(kernel):
                        for v in range(kernel):
                            e = error[image, c, top + u, left + v]
                            decoder_gradient[m, c, u, v] += value * e
                            slope += decoder[m, c, u, v] * e
                bias += slope
                for c in range(channels):
                    for u in range(kernel):
                        for v in range(kernel):
                            encoder_gradient[m, c, u, v] += slope * padded[image, c, top + u, left + v]
        bias_gradient[m] = bias


def row_maxima(rows: Tensor, values: Tensor, positions: Tensor) -> None:
    """Write each row's maximum, (R,), and the first place of it, (R,) int32."""
    _row_maxima(rows.numpy(), values.numpy(), positions.numpy())


def paint(canvas: Tensor, values: Tensor, positions: Tensor, decoder: Tensor, width: int) -> None:
    """Add values[n, m] * decoder[m] into canvas[n], (N, C, H + 2h, W + 2h), at each winner's place."""
    _paint(canvas.numpy(), values.numpy(), positions.numpy(), decoder.detach().numpy(), width)


def backward(
    padded: Tensor,
    error: Tensor,
    values: Tensor,
    positions: Tensor,
    decoder: Tensor,
    width: int,
    encoder_gradient: Tensor,
    bias_gradient: Tensor,
    decoder_gradient: Tensor,
) -> None:
    """Gradients of P (M, C, k, k), b (M,) and W (M, C, k, k) from dE/dx^ `error` (N, C, H + 2h, W + 2h)."""
    tensors = (padded, error, values, positions, decoder.detach())
    gradients = (encoder_gradient, bias_gradient, decoder_gradient)
    _backward(*(t.numpy() for t in tensors), width, *(g.numpy() for g in gradients))
