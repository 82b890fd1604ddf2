"""The baseline of a training step: dense autograd in several ways, all of which have the gradients of our step."""

import pytest
import torch

from benchmarks.training_step import dense_steps, largest_error
from training import winners
from training.config import LayerConfig
from training.sca import SparseConvAutoencoder


@pytest.mark.parametrize("channels", [1, 3])
def test_every_dense_way_has_our_gradients(channels: int) -> None:
    torch.manual_seed(0)
    layer = SparseConvAutoencoder(LayerConfig(12, 5, 3, 2), channels, seed=0)
    filters, gradients, images = layer.filters(), layer.gradients(), torch.rand(6, channels, 10, 11)
    winners.step(images, filters, gradients)
    ways = dense_steps(images, filters)
    assert len(ways) == 4
    for way, step in ways.items():
        assert largest_error(gradients.tensors(), step()) < 1e-5, way


@pytest.mark.parametrize("channels", [1, 3])
def test_both_layouts_are_timed(channels: int) -> None:
    layer = SparseConvAutoencoder(LayerConfig(12, 5, 3, 2), channels, seed=0)
    seen: list[tuple[int, int]] = []

    def loss(x: torch.Tensor, parameters: list[torch.Tensor], _: object) -> torch.Tensor:
        seen.append((x.stride(1), parameters[0].stride(1)))
        return sum((parameter.sum() for parameter in parameters), x.sum())

    for step in dense_steps(torch.rand(2, channels, 10, 11), layer.filters(), loss).values():
        step()
    assert seen == [(110, 25)] * 2 + [(1, 1)] * 2, "a single channel's stride says it too"
