"""Large filters and images in, the few places where each map can be largest out, found in half the bits.

A bfloat16 product runs at two to four times the speed of a float32 one, and is wrong by little: for a filter w and a
patch x of K numbers, rounded to w' and x', Cauchy and Schwarz bound the error of <w', x'> by
B = |w - w'| |x| + |w'| |x - x'|; were the rounding errors independent of the patch, its deviation would be B / sqrt(K).
A place that is below the largest by more than both errors, taken as ten deviations each, is dropped; the rest, one or
two places a map, is computed in float32 (`training.patches`). Each of them also tests the assumption: a map with an
error of more than half of what was allowed is searched again with B itself. So the winner, its value and its gradient
are float32's own.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training import patches, rounded
from training.compiled import AVAILABLE, compiled
from training.rounded import RoundedImages, Words
from training.tiles import LANES, Floats, Longs, Places
from training.workers import spread

Ints = npt.NDArray[np.int32]

FILTER_NUMBERS = 1024
"""Filters from this size on gain more by half the bits than the second look costs."""
COLUMN_BYTES = 64 << 20
"""Of images laid out for the product, at a time."""
SCORE_BYTES = 16 << 20
"""Of bfloat16 maps, a thread at a time."""
BLOCK_MAPS = 1024
"""Maps a thread at a time, at most: their filters in bfloat16 stay in the third cache for all rows of the images."""
LEAST_BLOCKS = 4
"""Into which the maps are cut, for the threads to share."""
DEVIATIONS = 10.0
"""Of a score's error that are allowed for; beyond half of it the map is searched again."""
ROUNDING = 2.0**-8
"""Of the product itself, when it is written as bfloat16, as a share of its size."""


def pays(filters: Tensor) -> bool:
    """Whether this way is the faster one, here and for filters (M, C, k, k)."""
    device, numbers = filters.device.type, filters[0].numel()
    large = numbers >= FILTER_NUMBERS and filters.shape[1] >= LANES
    return AVAILABLE and device == "cpu" and large and rounded.fast()


@compiled(frozenset())
def _bound(
    score: np.float32, lost: np.float32, norm: np.float32, patch_norm: np.float32, patch_lost: np.float32
) -> Any:
    return lost * patch_norm + norm * patch_lost + abs(score) * np.float32(ROUNDING)


# No reordering: two passes must come to the same numbers, whatever the compiler makes of each.
@compiled(frozenset())
def _count(words: Words, patch_norms: Floats, norms: Floats, floors: Floats, counts: Longs) -> None:
    """The largest score that each map is sure to reach, and how many places may reach it."""
    height, width, images, maps = words.shape
    bits = np.empty(maps, np.uint32)
    scores = bits.view(np.float32)
    for n in range(images):
        for m in range(maps):
            floors[n, m] = -np.inf
            counts[n, m] = 0
        for find in (True, False):
            for place in range(height * width):
                y, x = place // width, place % width
                whole, lost = patch_norms[0, n, y, x], patch_norms[1, n, y, x]
                for m in range(maps):
                    bits[m] = np.uint32(words[y, x, n, m]) << np.uint32(16)
                if find:
                    for m in range(maps):
                        low = scores[m] - _bound(scores[m], norms[1, m], norms[0, m], whole, lost)
                        floors[n, m] = max(floors[n, m], low)
                else:
                    for m in range(maps):
                        high = scores[m] + _bound(scores[m], norms[1, m], norms[0, m], whole, lost)
                        counts[n, m] += high >= floors[n, m]


@compiled(frozenset())
def _list(
    words: Words, patch_norms: Floats, norms: Floats, floors: Floats, slots: Longs, images: Longs, positions: Longs
) -> None:
    """Write each place that may be the largest into its map's and image's slots."""
    height, width, count, maps = words.shape
    bits = np.empty(maps, np.uint32)
    scores = bits.view(np.float32)
    for n in range(count):
        for place in range(height * width):
            y, x = place // width, place % width
            whole, lost = patch_norms[0, n, y, x], patch_norms[1, n, y, x]
            for m in range(maps):
                bits[m] = np.uint32(words[y, x, n, m]) << np.uint32(16)
            for m in range(maps):
                if scores[m] + _bound(scores[m], norms[1, m], norms[0, m], whole, lost) >= floors[n, m]:
                    images[slots[n, m]], positions[slots[n, m]] = n, place
                    slots[n, m] += 1


@compiled(frozenset())
def _choose(
    words: Words,
    patch_norms: Floats,
    norms: Floats,
    listed: tuple[Longs, Longs, Longs],
    results: Floats,
    values: Floats,
    winners: Ints,
    doubtful: npt.NDArray[np.bool_],
) -> None:
    """Each map's largest result for each image, its place, and the maps in which a score was off by half its bound."""
    starts, images, positions = listed
    width = words.shape[1]
    bits = np.empty(1, np.uint32)
    score = bits.view(np.float32)
    for m in range(len(starts) - 1):
        before = -1
        for i in range(starts[m], starts[m + 1]):
            n, y, x = images[i], positions[i] // width, positions[i] % width
            if n != before or results[i] > values[n, m]:  # in the order of places: the first of equals stays
                values[n, m], winners[n, m] = results[i], positions[i]
            before = n
            bits[0] = np.uint32(words[y, x, n, m]) << np.uint32(16)
            expected = norms[1, m] * patch_norms[0, n, y, x] + norms[0, m] * patch_norms[1, n, y, x]
            if abs(results[i] - score[0]) > expected / 2 + abs(score[0]) * np.float32(ROUNDING):
                doubtful[m] = True


def _find(images: RoundedImages, encoder: Tensor, values: Floats, positions: Ints) -> None:
    """The winners of some maps: encoder (M, k, k, C), values (before the bias) and positions (N, M)."""
    weights, norms = rounded.round_filters(encoder.flatten(1))
    words = rounded.scores(images, weights, encoder.shape[1]).view(torch.uint16).numpy()
    share = min(1.0, DEVIATIONS / encoder[0].numel() ** 0.5)
    doubtful = _search(images, words, encoder, norms * share, values, positions)
    if share < 1 and doubtful.any():
        again = np.flatnonzero(doubtful)
        numbers, winners = values[:, again], positions[:, again]
        _search(images, words[..., again], encoder[again], norms[:, again], numbers, winners)
        values[:, again], positions[:, again] = numbers, winners


def _search(
    images: RoundedImages, words: Words, encoder: Tensor, filter_norms: Tensor, values: Floats, positions: Ints
) -> npt.NDArray[np.bool_]:
    """List the places, look again at each, choose; returns the maps (M,) with a score further off than thought."""
    maps = len(encoder)
    norms, patch_norms = filter_norms.numpy(), images.norms.numpy()
    floors, counts = np.empty(values.shape, np.float32), np.empty(values.shape, np.int64)
    _count(words, patch_norms, norms, floors, counts)
    ends = np.cumsum(counts.T.ravel())
    slots = np.ascontiguousarray((ends.reshape(maps, -1) - counts.T).T)
    starts = np.concatenate([slots[0], ends[-1:]])
    listed, where = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.int64)
    _list(words, patch_norms, norms, floors, slots, listed, where)
    results = np.empty(len(listed), np.float32)
    patches.dot(images.tiles, Places.of(starts, listed, where, images.tiles), encoder, 0, maps, results)
    values[:], positions[:] = np.nan, 0  # no place compares with a NaN: it goes on to the loss, which is watched
    doubtful = np.zeros(maps, np.bool_)
    _choose(words, patch_norms, norms, (starts, listed, where), results, values, positions, doubtful)
    return doubtful


def encode(pixels: Tensor, encoder: Tensor, bias: Tensor, values: Tensor, positions: Tensor) -> None:
    """Write each map's largest activation, (N, M) float32, and its first place, (N, M) int32.

    Args:
        pixels: (N, H, W, C) float32.
        encoder: (M, k, k, C) float32.
        bias: (M,) float32.
        values: overwritten.
        positions: overwritten, row * W + column.
    """
    maps, kernel = encoder.shape[:2]
    height, width = pixels.shape[1:3]
    step = max(1, COLUMN_BYTES // (2 * kernel * pixels[0].numel()))
    for first in range(0, len(pixels), step):
        rows = slice(first, first + step)
        images = RoundedImages.of(pixels[rows], kernel)
        score_bytes = 2 * height * width * len(pixels[rows])
        block = max(1, min(BLOCK_MAPS, SCORE_BYTES // score_bytes, -(-maps // LEAST_BLOCKS)))

        def work(start: int, stop: int, images: RoundedImages = images, rows: slice = rows, block: int = block) -> None:
            for low in range(start * block, min(stop * block, maps), block):
                part = slice(low, low + block)
                numbers, winners = values[rows, part].numpy(), positions[rows, part].numpy()
                _find(images, encoder[part], numbers, winners)
                numbers += bias[part].numpy()

        spread(work, -(-maps // block), pieces=maps)
