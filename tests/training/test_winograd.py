"""Frozen convolutions by minimal filtering give what convolutions give, and are used where they pay."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training import untrained
from tests.training.drawn import config, dataset, layer, photos
from training import winograd
from training.extraction import BatchExtractor
from training.sca import SparseConvAutoencoder
from training.winners import channels_last

TOLERANCE = 2e-5
"""Largest difference, relative to the largest value: a sixtieth of a float16's step, which features are kept in."""


def filters(maps: int, channels: int, kernel: int = 3, seed: int = 0) -> torch.Tensor:
    return channels_last(torch.randn(maps, channels, kernel, kernel, generator=torch.Generator().manual_seed(seed)))


def assert_close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    assert got.shape == wanted.shape
    assert float((got - wanted).abs().max()) <= TOLERANCE * float(wanted.abs().max())


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (12, 11), (4, 16), (1, 1), (9, 2)])
@pytest.mark.parametrize(("maps", "channels"), [(256, 128), (300, 130), (5, 3)])
@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "channels-first"])
def test_it_is_a_convolution(size: tuple[int, int], maps: int, channels: int, last: bool) -> None:
    x = torch.rand(3, channels, *size, generator=torch.Generator().manual_seed(1))
    weights, bias = filters(maps, channels), torch.linspace(-30, 30, maps)
    got = winograd.FrozenConvolution(weights, bias)(channels_last(x) if last else x)
    assert_close(got, functional.conv2d(x, weights, bias, padding=1))
    assert got.is_contiguous(memory_format=torch.channels_last) or size not in ((8, 8), (4, 16))


def test_what_becomes_of_the_filters_later_does_not_count() -> None:
    weights, bias, x = filters(256, 128), torch.zeros(256), torch.rand(1, 128, 8, 8)
    frozen = winograd.FrozenConvolution(weights, bias)
    before = frozen(x)
    weights *= 2
    bias += 1
    torch.testing.assert_close(frozen(x), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("weights", "size", "expected"),
    [
        (filters(512, 128), (8, 8), True),
        (filters(512, 128), (7, 8), True),
        (filters(512, 128), (10, 10), False),
        (filters(512, 64), (8, 8), False),
        (filters(64, 128), (8, 8), False),
        (filters(256, 128, kernel=5), (8, 8), False),
    ],
    ids=["paper", "uneven", "wasteful", "few-channels", "few-maps", "wide"],
)
def test_it_is_used_where_it_pays(weights: torch.Tensor, size: tuple[int, int], expected: bool) -> None:
    assert winograd.pays(weights, *size) is expected


def test_a_frozen_layer_computes_what_the_layer_does() -> None:
    small = SparseConvAutoencoder(layer(maps=8), channels=3, seed=0)
    assert small.frozen(12, 12) is small
    large = SparseConvAutoencoder(layer(maps=256, kernel=3), channels=128, seed=0)
    frozen = large.frozen(8, 8)
    assert frozen is not large
    x = torch.rand(4, 128, 8, 8)
    with torch.no_grad():
        assert_close(frozen(x), large(x))


@pytest.mark.parametrize("mirrored", [False, True])
def test_extraction_goes_this_way(mirrored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = (layer(maps=128, pool_width=3, pool_stride=2), layer(maps=256, kernel=3))
    model = untrained.model(config("separable", layers=layers, mirrored=mirrored), dataset(16, 16, 3, train=60, test=1))
    images = torch.from_numpy(photos(21, 16, 16, 3, seed=5).images)
    calls: list[int] = []
    convolution = winograd.FrozenConvolution.__call__

    def counted(self: winograd.FrozenConvolution, x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return convolution(self, x)

    monkeypatch.setattr(winograd.FrozenConvolution, "__call__", counted)
    got = BatchExtractor(model.extractor, 16, 16)(images)
    assert sum(calls) == (42 if mirrored else 21)
    assert_close(got, model.extractor.maps(images))
    assert np.isfinite(got.numpy()).all()
