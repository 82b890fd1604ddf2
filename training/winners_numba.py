"""The winner-take-all kernels as compiled loops for the processor.

Work is shared out so that no two threads write the same number, and every sum has a fixed order: a run's weights do
not depend on how the threads were scheduled, nor on how many they are. With few channels, loops are blocked over maps:
filters stay in the second cache while the images stream by. With many, images are cut into tiles (`training.tiles`).
Shapes as in `training.winners_torch`.
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from training import patches
from training.compiled import AVAILABLE as AVAILABLE
from training.compiled import compiled
from training.tiles import Places, Tiles
from training.workers import spread

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

TILED_CHANNELS = 17
"""From here on a tile, padded if need be, is faster."""

CACHE_BYTES = 512 << 10
"""What a block of maps may take of a core's second cache."""


@compiled()
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


@compiled()
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


@compiled()
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


def _inside(padded: Tensor, filters: Tensor) -> Tensor:
    margin = filters.shape[1] // 2
    return padded[:, margin:-margin, margin:-margin] if margin else padded


def _winners(values: Tensor, positions: Tensor, cut: Tiles) -> tuple[Places, Floats, Ints]:
    """The winners above zero, sorted by map; their values and their maps."""
    numbers = values.numpy().T
    where = np.flatnonzero(numbers)  # a NaN goes on to the loss, which is watched
    maps, images = np.divmod(where, numbers.shape[1])
    starts = np.searchsorted(maps, np.arange(len(numbers) + 1))
    places = Places.of(starts, images, positions.numpy()[images, maps], cut)
    return places, numbers.ravel()[where], maps


def paint(canvas: Tensor, values: Tensor, positions: Tensor, decoder: Tensor, width: int) -> None:
    """Add values[n, m] * decoder[m], (M, k, k, C), into canvas[n], (N, H + 2h, W + 2h, C), at each winner's place."""
    if canvas.shape[3] >= TILED_CHANNELS:
        inside = _inside(canvas, decoder)
        painted = Tiles.cut(inside, decoder.shape[1])
        places, weights, _ = _winners(values, positions, painted)
        patches.paint(painted, places, weights, decoder)
        painted.join_(inside)
        return
    images, filters, numbers, places_ = _runs(canvas), _runs(decoder), values.numpy(), positions.numpy()
    block = _block(decoder, arrays=1)

    def work(start: int, stop: int) -> None:
        _paint(images[start:stop], numbers[start:stop], places_[start:stop], filters, width, block)

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
    if padded.shape[3] >= TILED_CHANNELS:
        _backward_tiled(
            padded, error, values, positions, decoder, width, encoder_gradient, bias_gradient, decoder_gradient
        )
        return
    images = _runs(padded), _runs(error), values.numpy(), positions.numpy(), _runs(decoder)
    gradients = _runs(encoder_gradient), bias_gradient.numpy(), _runs(decoder_gradient)
    block = _block(decoder, arrays=3)

    def work(start: int, stop: int) -> None:
        _backward(*images, width, block, start, stop, *gradients)

    spread(work, len(decoder), pieces=4)


def _backward_tiled(
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
    kernel = decoder.shape[1]
    cut = Tiles.cut(_inside(error, decoder), kernel)
    places, weights, maps = _winners(values, positions, cut)
    slopes = np.empty(len(weights), np.float32)
    spread(lambda start, stop: patches.dot(cut, places, decoder, start, stop, slopes), len(decoder), pieces=4)
    patches.add_up(cut, places, weights, decoder_gradient)
    bias_gradient.numpy()[:] = np.bincount(maps, slopes, len(decoder))
    patches.add_up(Tiles.cut(_inside(padded, decoder), kernel), places, slopes, encoder_gradient)
