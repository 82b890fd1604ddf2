"""Layers on layers: features, shapes, and filters as pictures."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training import untrained
from tests.training.drawn import config, dataset, layer
from training import stack
from training.stack import FeatureExtractor

DATA = dataset(13, 11, 3, train=40, test=4)
DEEP = config("none", layers=(layer(maps=6), layer(maps=9, kernel=3)))


def test_features_go_through_every_layer_in_turn() -> None:
    network = untrained.extractor(DEEP, DATA)
    pixels = torch.from_numpy(DATA.train.images[:5])
    x = pixels.permute(0, 3, 1, 2) / 255
    for one in network.stack():
        maps = functional.conv2d(x, one.encoder, one.encoder_bias, padding=one.config.kernel // 2).relu()
        x = functional.max_pool2d(maps, 3, 2, padding=1)
    torch.testing.assert_close(network(pixels), x.flatten(1).detach(), rtol=1e-5, atol=1e-5)
    assert network.shapes(13, 11) == [(6, 7, 6), (9, 4, 3)]
    assert not network(pixels).requires_grad


def test_a_first_layers_filters_without_whitening_are_their_own_pictures() -> None:
    network = untrained.extractor(config("none"), DATA)
    (pictures,) = network.pixel_filters(13, 11)
    assert torch.equal(pictures, network.stack()[0].decoder.detach())


@pytest.mark.parametrize("kind", ["separable", "zca"])
def test_whitened_filters_are_carried_back_to_pixels(kind: str) -> None:
    network = untrained.extractor(config("separable" if kind == "separable" else "zca"), DATA)
    (pictures,) = network.pixel_filters(13, 11)
    filters = network.stack()[0].decoder.detach()
    assert pictures.shape == filters.shape
    canvas = torch.zeros(len(filters), 3, 13, 11)
    canvas[:, :, 4:9, 3:8] = filters
    expected = network.preprocessing.to_pixels(canvas)[:, :, 4:9, 3:8]
    torch.testing.assert_close(pictures, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(pictures, filters, atol=0.1)


def test_a_deep_filter_is_what_one_unit_adds_to_the_image() -> None:
    network = untrained.extractor(DEEP, DATA)
    below, above = network.stack()
    picture = network.pixel_filters(13, 11)[1]
    # 3 x 3 units, stride 2 apart, each a 5 x 5 filter: 9 x 9 pixels
    assert picture.shape == (9, 3, 9, 9)
    expected = torch.zeros(9, 3, 9, 9)
    decoder, patch = below.decoder.detach(), above.decoder.detach()
    for row, column in np.ndindex(3, 3):
        painted = torch.einsum("mc,cdhw->mdhw", patch[:, :, row, column], decoder)
        expected[:, :, 2 * row : 2 * row + 5, 2 * column : 2 * column + 5] += painted
    torch.testing.assert_close(picture, expected, rtol=1e-4, atol=1e-5)


def test_pictures_of_many_filters_are_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    network = untrained.extractor(DEEP, DATA)
    whole = network.pixel_filters(13, 11)
    monkeypatch.setattr(stack, "PAINTED_FILTERS", 4)
    for one, other in zip(whole, network.pixel_filters(13, 11), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_pictures_larger_than_the_image_are_cut_to_it() -> None:
    small = dataset(6, 7, 3, train=20, test=2)
    network: FeatureExtractor = untrained.extractor(DEEP, small)
    assert network.pixel_filters(6, 7)[1].shape == (9, 3, 6, 7)


def test_of_a_filter_larger_than_the_image_the_middle_is_painted() -> None:
    small = dataset(5, 4, 1, train=20, test=2)
    network = untrained.extractor(config("none", layers=(layer(maps=1, kernel=9),)), small)
    (first,) = network.stack()
    with torch.no_grad():
        first.decoder[:] = 0
        first.decoder[0, 0, 4, 4] = 1
    (picture,) = network.pixel_filters(5, 4)
    assert np.argwhere(picture[0, 0].numpy()).tolist() == [[2, 2]]
