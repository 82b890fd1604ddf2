"""Patches in, k-means centroids out (Lloyd's algorithm), at little more than the products with the centroids.

Letters: n patches of C channels and p x p positions, K centroids.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from training.compiled import compiled
from training.winners import channels_last
from training.workers import alone, spread

CHUNK_BYTES = 3 << 20
"""Products that a thread makes at a time: their maxima are read back from cache."""
MOST_ROWS = 2048
"""Patches that a thread takes at a time."""
LANES = 64
"""Maxima kept side by side: four vector registers of the widest kind."""
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clusters:
    """What k-means ends with.

    Attributes:
        centroids: (K, C, p, p) float32.
        sizes: (K,) int64, patches of each in the last assignment.
        errors: mean squared distance of a patch to its centroid, at each assignment.
    """

    centroids: Tensor
    sizes: Tensor
    errors: tuple[float, ...]


@compiled()
def _compare(row: Floats, tops: Floats, places: npt.NDArray[np.int32]) -> None:
    lanes = len(tops)
    for start in range(0, len(row) - lanes + 1, lanes):
        part = row[start : start + lanes]
        for lane in range(lanes):  # written as choices, not branches: vector instructions
            value = part[lane]
            better = value > tops[lane]
            tops[lane] = value if better else tops[lane]
            places[lane] = np.int32(start + lane) if better else places[lane]


@compiled()
def _largest(scores: Floats, best: Floats, labels: Ints) -> None:
    count = scores.shape[1]
    lanes = min(LANES, count)
    tops, places = np.empty(lanes, np.float32), np.empty(lanes, np.int32)
    for row in range(scores.shape[0]):
        tops[:] = -np.inf
        places[:] = 0
        _compare(scores[row], tops, places)
        top, place = tops[0], places[0]
        for lane in range(1, lanes):
            if tops[lane] > top or (tops[lane] == top and places[lane] < place):
                top, place = tops[lane], places[lane]
        for k in range(count // lanes * lanes, count):
            if scores[row, k] > top:
                top, place = scores[row, k], np.int32(k)
        best[row] = top
        labels[row] = place


@compiled()
def _sum_members(patches: Floats, labels: Ints, sums: npt.NDArray[np.float64], sizes: Ints) -> None:
    for row in range(patches.shape[0]):
        label = labels[row]
        sizes[label] += 1
        for j in range(patches.shape[1]):
            sums[label, j] += patches[row, j]


def _products(patches: Tensor, centroids: Tensor, bias: Tensor) -> Tensor:
    """x.c_k + bias_k, (n, K): as a convolution of all patches side by side, one filter width apart.

    On processors that torch's matrix product is not made for, its convolutions are twice as fast (104 against 45
    billion multiplications a second and core, AMD EPYC of 2024).
    """
    count, channels, size, _ = patches.shape
    strip = patches.permute(2, 0, 3, 1).reshape(1, size, count * size, channels).permute(0, 3, 1, 2)
    return functional.conv2d(channels_last(strip), centroids, bias, stride=size)[0, :, 0].T.contiguous()


def assign(patches: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centroid of each patch.

    Args:
        patches: float32 (n, C, p, p).
        centroids: float32 (K, C, p, p).

    Returns:
        Its number, int64 (n,), the first of equals; and x.c - |c|^2 / 2 with it, float32 (n,).
    """
    filters, halves = channels_last(centroids), centroids.square().sum((1, 2, 3)) / -2
    best, labels = torch.empty(len(patches)), torch.empty(len(patches), dtype=torch.int64)
    rows = min(MOST_ROWS, max(1, CHUNK_BYTES // (4 * len(centroids))))

    def work(start: int, stop: int) -> None:
        for first in range(start, stop, rows):
            part = slice(first, min(first + rows, stop))
            # nearest by |x - c|^2 is largest by x.c - |c|^2 / 2
            scores = _products(patches[part], filters, halves)
            _largest(scores.numpy(), best[part].numpy(), labels[part].numpy())

    spread(work, len(patches))
    return labels, best


def cluster(patches: Tensor, count: int, iterations: int, seed: int, tolerance: float = 1e-3) -> Clusters:
    """K-means.

    A centroid that nothing is nearest to is put on a random patch: it cannot stay dead.

    Args:
        patches: float32 (n, C, p, p).
        count: K.
        iterations: assignments at most.
        seed: seeds the first centroids, which are patches, and those that replace empty ones.
        tolerance: stop when fewer than this share of the patches change their centroid.

    Raises:
        ValueError: fewer patches than centroids.
    """
    if len(patches) < count:
        raise ValueError(f"{count} centroids need as many patches: {len(patches)}")
    rng = np.random.default_rng(seed)
    patches = channels_last(patches)
    centroids = patches[torch.from_numpy(rng.choice(len(patches), count, replace=False))]
    energy = float(patches.square().sum(dtype=torch.float64)) / len(patches)
    errors: list[float] = []
    before = torch.full((len(patches),), -1)
    with alone():
        for _ in range(iterations):
            labels, best = assign(patches, centroids)
            errors.append(energy - 2 * float(best.mean(dtype=torch.float64)))
            changed = int((labels != before).sum())
            before = labels
            centroids, sizes = _means(patches, labels, count, rng)
            if changed < tolerance * len(patches):
                break
    return Clusters(centroids.contiguous(), sizes, tuple(errors))


def _means(patches: Tensor, labels: Tensor, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Each centroid's members' mean (K, C, p, p), channels last, and their number (K,)."""
    rows = patches.permute(0, 2, 3, 1)  # as they are in memory
    flat = rows.flatten(1)
    sums, sizes = torch.zeros(count, flat.shape[1], dtype=torch.float64), torch.zeros(count, dtype=torch.int64)
    _sum_members(flat.numpy(), labels.numpy(), sums.numpy(), sizes.numpy())
    means = (sums / sizes.clamp(min=1)[:, None]).float()
    empty = torch.nonzero(sizes == 0).flatten()
    means[empty] = flat[torch.from_numpy(rng.integers(0, len(flat), len(empty)))]
    return means.view(count, *rows.shape[1:]).permute(0, 3, 1, 2), sizes
