"""Selected units: the right ones, and gradients as of dense autograd through the mask."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.training.rivals.real import photographs
from training.rivals.reconstruction import Weights, reconstruct_from_all, reconstruct_from_selected
from training.rivals.selection import LargestOverall, Selection, TopPerMap
from training.whitening import normalise_contrast, to_planes

MAPS, KERNEL = 7, 5
RULES: list[Selection] = [TopPerMap(1), TopPerMap(3), LargestOverall(4), LargestOverall(60)]


def images(count: int = 3) -> Tensor:
    return normalise_contrast(to_planes(torch.from_numpy(photographs()[:count, 4:24, 8:26])), 10.0)


def weights(dtype: torch.dtype = torch.float32) -> Weights:
    draw = torch.Generator().manual_seed(0)
    shape = (MAPS, 3, KERNEL, KERNEL)
    drawn = (torch.randn(size, generator=draw).to(dtype) * 0.2 for size in (shape, (MAPS,), shape, (3,)))
    return Weights(*(tensor.requires_grad_() for tensor in drawn))


def survivors(activations: Tensor, rule: Selection) -> Tensor:
    """The mask (N, M, H, W) that the rule describes, by sorting."""
    flat = activations.flatten(2) if isinstance(rule, TopPerMap) else activations.flatten(1)
    assert isinstance(rule, TopPerMap | LargestOverall)
    threshold = flat.sort(-1, descending=True).values[..., rule.count - 1 : rule.count]
    return (flat >= threshold).view_as(activations)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_largest_survive(rule: Selection) -> None:
    activations = torch.randn(4, MAPS, 6, 5, generator=torch.Generator().manual_seed(1))
    maps, positions = rule.select(activations.permute(0, 2, 3, 1).flatten(1, 2))
    mask = torch.zeros(4, MAPS, 30, dtype=torch.bool)
    mask[torch.arange(4)[:, None], maps, positions] = True
    assert torch.equal(mask.view_as(activations), survivors(activations, rule))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_reconstruction_and_gradients_are_dense_autograds(rule: Selection) -> None:
    x, sparse, dense = images(), weights(), weights(torch.float64)
    made = reconstruct_from_selected(x, sparse, rule)
    activations = dense.activations(x.double())
    units = (activations * survivors(activations.detach(), rule)).relu()
    expected = functional.conv_transpose2d(units, dense.decoder, dense.decoder_bias, padding=KERNEL // 2)
    torch.testing.assert_close(made.images.double(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(made.active, units.amax((2, 3)) > 0)
    found = torch.autograd.grad((made.images - x).square().sum(), list(vars(sparse).values()))
    wanted = torch.autograd.grad((expected - x.double()).square().sum(), list(vars(dense).values()))
    for gradient, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient.double(), right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))


def test_all_units_are_what_all_selected_give() -> None:
    x, parameters = images(), weights()
    every = reconstruct_from_all(x, parameters)
    selected = reconstruct_from_selected(x, parameters, TopPerMap(20 * 18))
    torch.testing.assert_close(every.images, selected.images, rtol=1e-4, atol=1e-4)
    assert torch.equal(every.active, selected.active)


def test_a_map_without_a_unit_above_zero_is_not_active() -> None:
    parameters = weights()
    with torch.no_grad():
        parameters.encoder_bias[2] = -1000
    for made in (reconstruct_from_all(images(), parameters), reconstruct_from_selected(images(), parameters, RULES[0])):
        assert made.active.any(0).tolist() == [True, True, False, True, True, True, True]
