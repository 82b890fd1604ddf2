"""The patches of a list of places: their products with filters, their weighted sums, and filters painted there.

Every kernel goes over a list sorted by map, which may hold any number of places for an image and a map: the winners, or
the candidates among which the winner is sought. No two threads write the same number, and every sum has a fixed order,
whatever the number of threads.
"""

import numpy as np
import torch
from torch import Tensor

from training.compiled import compiled
from training.tiles import LANES, Floats, Places, Tiles
from training.workers import spread

PARTIAL_SUMS = 4096
"""Places whose partial sums are kept while the tiles go by."""
PARTS = 16
"""Of a sum: one register's numbers (256 kB in all, beside the images in the second cache)."""


@compiled()
def _cut_filter(filters: Floats, m: int, t: int, part: Floats) -> None:
    _, kernel, _, channels = filters.shape
    lanes = min(LANES, channels - t * LANES)
    for u in range(kernel):
        for v in range(kernel):
            for j in range(lanes):
                part[np.uintp((u * kernel + v) * LANES + j)] = filters[m, u, v, np.uintp(t * LANES + j)]


@compiled()
def _dot(
    tiles: Floats,
    row: int,
    width: tuple[int, ...],
    places: Places,
    filters: Floats,
    results: Floats,
    start: int,
    stop: int,
    part: Floats,
    sums: Floats,
) -> None:
    starts = places.starts
    kernel = len(width)  # known to the compiler, which writes the loop over a row of the patch out
    begin = start
    while begin < stop:
        end = begin + 1
        while end < stop and starts[end + 1] - starts[begin] <= PARTIAL_SUMS:
            end += 1
        for first in range(starts[begin], starts[end], PARTIAL_SUMS):  # more than one: a map with very many places
            last = min(starts[end], first + PARTIAL_SUMS)
            sums[:] = 0
            for t in range(len(tiles)):
                tile = tiles[t]
                for m in range(begin, end):
                    _cut_filter(filters, m, t, part)
                    for i in range(max(starts[m], first), min(starts[m + 1], last)):
                        slot, place = np.uintp((i - first) * PARTS), np.uintp(places.begins[i])
                        weight = np.uintp(places.tops[i] * kernel * LANES)
                        for _ in range(places.rows[i]):
                            for j in range(PARTS):
                                total = sums[slot + np.uintp(j)]
                                for v in range(kernel * LANES // PARTS):
                                    q = np.uintp(v * PARTS + j)
                                    total += part[weight + q] * tile[place + q]
                                sums[slot + np.uintp(j)] = total
                            place += np.uintp(row)
                            weight += np.uintp(kernel * LANES)
            for i in range(first, last):
                results[i] = sums[(i - first) * PARTS : (i - first + 1) * PARTS].sum()
        begin = end


@compiled()
def _add_up(
    tiles: Floats,
    row: int,
    width: tuple[int, ...],
    places: Places,
    weights: Floats,
    result: Floats,
    start: int,
    stop: int,
    part: Floats,
) -> None:
    kernel = len(width)
    for t in range(len(tiles)):
        tile = tiles[t]
        lanes = min(LANES, result.shape[3] - t * LANES)
        for m in range(start, stop):
            part[:] = 0
            for i in range(places.starts[m], places.starts[m + 1]):
                weight, place = weights[i], np.uintp(places.begins[i])
                first = np.uintp(places.tops[i] * kernel * LANES)
                for _ in range(places.rows[i]):
                    for q in range(kernel * LANES):
                        part[first + np.uintp(q)] += weight * tile[place + np.uintp(q)]
                    place += np.uintp(row)
                    first += np.uintp(kernel * LANES)
            for u in range(kernel):
                for v in range(kernel):
                    for j in range(lanes):
                        result[m, u, v, np.uintp(t * LANES + j)] = part[np.uintp((u * kernel + v) * LANES + j)]


@compiled()
def _paint(
    tile: Floats,
    row: int,
    width: tuple[int, ...],
    places: Places,
    weights: Floats,
    filters: Floats,
    t: int,
    low: int,
    high: int,
    part: Floats,
) -> None:
    kernel = len(width)
    for m in range(len(filters)):
        _cut_filter(filters, m, t, part)
        for i in range(places.starts[m], places.starts[m + 1]):
            if low <= places.begins[i] < high:
                weight, place = weights[i], np.uintp(places.begins[i])
                first = np.uintp(places.tops[i] * kernel * LANES)
                for _ in range(places.rows[i]):
                    for q in range(kernel * LANES):
                        tile[place + np.uintp(q)] += weight * part[first + np.uintp(q)]
                    place += np.uintp(row)
                    first += np.uintp(kernel * LANES)


def _patch(kernel: int) -> Floats:
    """Room for a filter's part, aligned as torch aligns: a register's worth never lies across two cache lines."""
    array: Floats = torch.zeros(kernel * kernel * LANES).numpy()
    return array


def dot(tiles: Tiles, places: Places, filters: Tensor, start: int, stop: int, results: Floats) -> None:
    """Write <filters[m], patch> for the places (L,) of the maps start .. stop; filters (M, k, k, C) float32."""
    kernel = filters.shape[1]
    sums = torch.empty(PARTIAL_SUMS * PARTS).numpy()
    numbers, weights = tiles.numbers.numpy(), filters.numpy()
    _dot(numbers, tiles.row, (0,) * kernel, places, weights, results, start, stop, _patch(kernel), sums)


def add_up(tiles: Tiles, places: Places, weights: Floats, result: Tensor) -> None:
    """Write each map's sum of weights[i] * patch[i] into `result` (M, k, k, C) float32."""
    kernel = result.shape[1]

    def work(start: int, stop: int) -> None:
        numbers, sums = tiles.numbers.numpy(), result.numpy()
        _add_up(numbers, tiles.row, (0,) * kernel, places, weights, sums, start, stop, _patch(kernel))

    spread(work, len(result), pieces=4)


def paint(tiles: Tiles, places: Places, weights: Floats, filters: Tensor) -> None:
    """Add weights[i] * filters[m] at each place; filters (M, k, k, C) float32."""
    kernel = filters.shape[1]
    count, length = tiles.numbers.shape
    images = tiles.shape[0]
    parts = 1 if count > 4 else 4  # few tiles: the images are shared out too

    def work(start: int, stop: int) -> None:
        numbers, weighed = tiles.numbers.numpy(), filters.numpy()
        for unit in range(start, stop):
            t, part = divmod(unit, parts)
            low, high = (images * edge // parts * (length // images) for edge in (part, part + 1))
            _paint(numbers[t], tiles.row, (0,) * kernel, places, weights, weighed, t, low, high, _patch(kernel))

    spread(work, count * parts, pieces=4)
