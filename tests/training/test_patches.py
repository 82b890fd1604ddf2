"""Products, sums and painting at a list of places, against the same in plain slices of float64."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.test_winners import random_images
from training import patches
from training.compiled import AVAILABLE
from training.tiles import LANES, Places, Tiles

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="numba is not installed")

MAPS, KERNEL = 6, 5


class Example:
    """Images (N, H, W, C), filters (M, k, k, C) and places sorted by map; map 2 has none."""

    def __init__(self, channels: int, places: int) -> None:
        draw = np.random.default_rng(0)
        self.pixels = random_images(3, 4, 7, channels)
        self.filters = random_images(MAPS, KERNEL, KERNEL, channels, seed=2)
        self.maps = np.sort(draw.choice([0, 1, 3, 4, 5], places))
        self.images = draw.integers(0, 3, places)
        self.positions = draw.integers(0, 4 * 7, places)
        self.weights = draw.standard_normal(places).astype(np.float32)
        self.tiles = Tiles.cut(self.pixels, KERNEL)
        starts = np.searchsorted(self.maps, np.arange(MAPS + 1))
        self.places = Places.of(starts, self.images, self.positions, self.tiles)
        self.padded = torch.nn.functional.pad(self.pixels.double(), (0, 0, 2, 2, 2, 2))

    def windows(self, padded: Tensor) -> Iterator[Tensor]:
        """Each place's patch, (k, k, C)."""
        for image, position in zip(self.images, self.positions, strict=True):
            row, column = divmod(int(position), 7)
            yield padded[image, row : row + KERNEL, column : column + KERNEL]


sizes = pytest.mark.parametrize(
    ("channels", "places"), [(LANES, 50), (3 * LANES, 40), (70, 40), (5, 30), (LANES, 6 * patches.PARTIAL_SUMS)]
)


@sizes
def test_products(channels: int, places: int) -> None:
    example = Example(channels, places)
    results = np.full(places, np.nan, np.float32)
    patches.dot(example.tiles, example.places, example.filters, 0, MAPS, results)
    pairs = zip(example.maps, example.windows(example.padded), strict=True)
    expected = torch.stack([(example.filters[m].double() * window).sum() for m, window in pairs])
    torch.testing.assert_close(torch.from_numpy(results).double(), expected, rtol=1e-5, atol=1e-4)


def test_products_of_some_maps_only() -> None:
    example = Example(LANES, 50)
    whole, part = np.zeros(50, np.float32), np.zeros(50, np.float32)
    patches.dot(example.tiles, example.places, example.filters, 0, MAPS, whole)
    patches.dot(example.tiles, example.places, example.filters, 3, 5, part)
    inside = (example.maps >= 3) & (example.maps < 5)
    assert np.array_equal(part, np.where(inside, whole, 0))


@sizes
def test_weighted_sums(channels: int, places: int) -> None:
    example = Example(channels, places)
    result = torch.full(example.filters.shape, float("nan"))
    patches.add_up(example.tiles, example.places, example.weights, result)
    expected = torch.zeros(example.filters.shape, dtype=torch.float64)
    for m, weight, window in zip(example.maps, example.weights, example.windows(example.padded), strict=True):
        expected[m] += float(weight) * window
    assert not result[2].any()
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=2e-6 * places**0.5)


@sizes
def test_painting(channels: int, places: int) -> None:
    example = Example(channels, places)
    patches.paint(example.tiles, example.places, example.weights, example.filters)
    painted = torch.empty_like(example.pixels)
    example.tiles.join_(painted)
    padded = example.padded.clone()
    for m, weight, window in zip(example.maps, example.weights, example.windows(padded), strict=True):
        window += float(weight) * example.filters[m].double()
    torch.testing.assert_close(painted.double(), padded[:, 2:-2, 2:-2], rtol=1e-5, atol=2e-6 * places**0.5)
