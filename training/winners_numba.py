"""The winner-take-all kernels as compiled loops for the processor.

Work is shared out so that no two threads write the same number, and every sum has a fixed order: a run's weights do
not depend on how the threads were scheduled, nor on how many they are. Loops are blocked over maps, so that filters
stay in the second cache while the images stream by; with one filter of 51 kB (layer 2 of the paper's CIFAR-10 network)
that decides the speed. Shapes as in `training.winners_torch`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from training.workers import spread

try:
    import numba
except ImportError:  # the torch kernels do the same, slower
    AVAILABLE = False
else:
    AVAILABLE = True

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

CACHE_BYTES = 512 << 10
"""What a block of maps may take of a core's second cache."""


def _compiled(function: Any) -> Any:
    """Compile a kernel on its first call; kept on disk, so that a machine pays for it once."""
    if not AVAILABLE:
        return function
    return numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz"}, cache=True)(function)


@_compiled
def _find(activations: Floats, values: Floats, positions: Ints) -> None:
    count, places, maps = activations.shape
    for image in range(count):
        for m in range(maps):
            values[image, m] = activations[image, 0, m]
            positions[image, m] = 0
        for place in range(1, places):
            for m in range(maps):  # written as a choice, not a branch: sixteen maps at a time
                value = activations[image, place, m]
                better = value > values[image, m]
                values[image, m] = value if better else values[image, m]
                positions[image, m] = place if better else positions[image, m]


@_compiled
def _paint(canvas: Floats, values: Floats, positions: Ints, decoder: Floats, width: int, block: int) -> None:
    maps, kernel, run = decoder.shape
    channels = run // kernel
    for begin in range(0, maps, block):
        for image in range(canvas.shape[0]):
            for m in range(begin, min(begin + block, maps)):
                value = values[image, m]
                if value != 0:  # a NaN goes on to the loss, which is watched
                    top = positions[image, m] // width
                    left = positions[image, m] % width * channels
                    for u in range(kernel):
                        for t in range(run):
                            canvas[image, top + u, left + t] += value * decoder[m, u, t]


@_compiled
def _backward(
    padded: Floats,
    error: Floats,
    values: Floats,
    positions: Ints,
    decoder: Floats,
    width: int,
    block: int,
    start: int,
    stop: int,
    encoder_gradient: Floats,
    bias_gradient: Floats,
    decoder_gradient: Floats,
) -> None:
    _, kernel, run = decoder.shape
    channels = run // kernel
    for begin in range(start, stop, block):
        end = min(begin + block, stop)
        for m in range(begin, end):
            bias_gradient[m] = 0
            for u in range(kernel):
                for t in range(run):
                    encoder_gradient[m, u, t] = 0
                    decoder_gradient[m, u, t] = 0
        for image in range(padded.shape[0]):
            for m in range(begin, end):
                value = values[image, m]
                if value != 0:  # a NaN goes on to the loss, which is watched
                    top = positions[image, m] // width
                    left = positions[image, m] % width * channels
                    slope = np.float32(0)
                    for u in range(kernel):
                        for t in range(run):
                            e = error[image, top + u, left + t]
                            decoder_gradient[m, u, t] += value * e
                            slope += decoder[m, u, t] * e
                    bias_gradient[m] += slope
                    for u in range(kernel):
                        for t in range(run):
                            encoder_gradient[m, u, t] += slope * padded[image, top + u, left + t]


def _runs(tensor: Tensor) -> Floats:
    """(N, H, W, C) as (N, H, W * C): neighbouring places are neighbouring numbers."""
    array: Floats = tensor.detach().flatten(2).numpy()
    return array


def _block(filters: Tensor, arrays: int) -> int:
    """Maps a block: as many filters as fit the cache, of this many arrays."""
    return max(1, CACHE_BYTES // (arrays * filters[0].numel() * 4))


def find(activations: Tensor, values: Tensor, positions: Tensor) -> None:
    """Write the largest of activations (N, H * W, M) over places, (N, M), and its first place, (N, M) int32."""
    _find(activations.numpy(), values.numpy(), positions.numpy())


def paint(canvas: Tensor, values: Tensor, positions: Tensor, decoder: Tensor, width: int) -> None:
    """Add values[n, m] * decoder[m], (M, k, k, C), into canvas[n], (N, H + 2h, W + 2h, C), at each winner's place."""
    images, filters, numbers, places = _runs(canvas), _runs(decoder), values.numpy(), positions.numpy()
    block = _block(decoder, arrays=1)

    def work(start: int, stop: int) -> None:
        _paint(images[start:stop], numbers[start:stop], places[start:stop], filters, width, block)

    spread(work, len(images))


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
    """Gradients of P (M, k, k, C), b (M,) and W (M, k, k, C) from dE/dx^ `error` (N, H + 2h, W + 2h, C)."""
    images = _runs(padded), _runs(error), values.numpy(), positions.numpy(), _runs(decoder)
    gradients = _runs(encoder_gradient), bias_gradient.numpy(), _runs(decoder_gradient)
    block = _block(decoder, arrays=3)

    def work(start: int, stop: int) -> None:
        _backward(*images, width, block, start, stop, *gradients)

    spread(work, len(decoder), pieces=4)
