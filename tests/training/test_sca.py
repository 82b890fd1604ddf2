"""One layer: its initial filters, its features, its sizes."""

import pytest
import torch
from torch.nn import functional

from tests.training.drawn import layer
from training.config import LayerConfig
from training.sca import SparseConvAutoencoder


def noisy(config: LayerConfig, channels: int) -> SparseConvAutoencoder:
    """A layer whose biases are not zero either."""
    made = SparseConvAutoencoder(config, channels, seed=1)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return made


@pytest.mark.parametrize(
    ("pool", "stride", "size", "expected"),
    [
        (5, 3, 28, (128, 10, 10)),
        (5, 4, 32, (512, 8, 8)),
        (3, 2, 8, (4096, 4, 4)),
        (3, 2, 10, (2048, 5, 5)),
    ],
    ids=["mnist", "cifar10", "cifar10-deep", "mnist-deep"],
)
def test_features_have_the_papers_sizes(pool: int, stride: int, size: int, expected: tuple[int, int, int]) -> None:
    config = LayerConfig(maps=expected[0], kernel=5, pool_width=pool, pool_stride=stride)
    made = SparseConvAutoencoder(config, 1, seed=0)
    assert made.output_shape(size, size) == expected
    assert made(torch.zeros(1, 1, size, size)).shape == (1, *expected)


@pytest.mark.parametrize(("pool", "stride"), [(5, 4), (3, 2), (1, 1), (2, 2), (4, 3), (6, 4)])
@pytest.mark.parametrize("size", [(11, 8), (12, 12), (7, 6)])
def test_output_shape_is_that_of_the_features(pool: int, stride: int, size: tuple[int, int]) -> None:
    made = noisy(layer(pool_width=pool, pool_stride=stride), 2)
    assert made(torch.zeros(1, 2, *size)).shape[1:] == made.output_shape(*size)


def test_features_are_the_rectified_convolution_pooled() -> None:
    made = noisy(layer(maps=9, kernel=5, pool_width=5, pool_stride=3), 3)
    with torch.no_grad():
        made.encoder_bias.sub_(15)
    x = torch.randn(4, 3, 13, 10, generator=torch.Generator().manual_seed(3))
    maps = functional.conv2d(x, made.encoder, made.encoder_bias, padding=2).relu()
    expected = functional.max_pool2d(maps, 5, 3, padding=2)
    assert (expected == 0).any(), "the rectifier does nothing here"
    torch.testing.assert_close(made(x), expected, rtol=1e-5, atol=1e-5)


def test_the_seed_decides_the_initial_filters() -> None:
    one, same, other = (SparseConvAutoencoder(layer(maps=64), 3, seed) for seed in (5, 5, 6))
    assert torch.equal(one.encoder, same.encoder) and torch.equal(one.decoder, same.decoder)
    assert not torch.equal(one.encoder, other.encoder)
    assert torch.equal(one.encoder, one.decoder), "some maps would start with a decoder against their encoder"
    assert one.encoder.data_ptr() != one.decoder.data_ptr(), "the weights are tied"
    assert float(one.encoder.detach().std()) == pytest.approx(one.config.init_std, rel=0.05)
    assert not one.encoder_bias.any() and not one.decoder_bias.any()


def test_filters_and_gradients_are_the_parameters_own_memory() -> None:
    made = noisy(layer(), 3)
    views, gradients = made.filters().tensors(), made.gradients().tensors()
    parameters = (made.encoder, made.encoder_bias, made.decoder, made.decoder_bias)
    for view, gradient, parameter in zip(views, gradients, parameters, strict=True):
        assert view.data_ptr() == parameter.data_ptr() and not view.requires_grad
        assert parameter.grad is not None and gradient.data_ptr() == parameter.grad.data_ptr()
        assert gradient.shape == parameter.shape
    assert made.gradients().encoder.data_ptr() == gradients[0].data_ptr(), "each call makes new gradients"
