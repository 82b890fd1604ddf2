"""The gradient by winners is the one of ordinary autograd."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.training.rivals.real import photographs
from training.compiled import AVAILABLE
from training.rivals import pooled
from training.rivals.pooled import pooled_maps

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="numba is not installed")


def gradients(x: Tensor, filters: Tensor, bias: Tensor, width: int, stride: int, dense: bool) -> list[Tensor]:
    """Features, and gradients by a loss whose slope differs from feature to feature."""
    filters, bias = filters.clone().requires_grad_(), bias.clone().requires_grad_()
    if dense:
        maps = functional.conv2d(x, filters, bias, padding=filters.shape[2] // 2).relu()
        features = functional.max_pool2d(maps, width, stride, padding=width // 2).flatten(1)
    else:
        features = pooled_maps(x, filters, bias, width, stride)
    slopes = torch.randn(features.shape, generator=torch.Generator().manual_seed(3)).to(x.dtype)
    return [features.detach(), *torch.autograd.grad((features * slopes).sum(), (filters, bias))]


@pytest.mark.parametrize(("kernel", "width", "stride"), [(9, 5, 4), (5, 3, 2), (3, 2, 2), (1, 6, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_autograds(kernel: int, width: int, stride: int, channels: int) -> None:
    x = torch.from_numpy(photographs()).permute(0, 3, 1, 2)[:, :channels].float() / 255 - 0.4
    generator = torch.Generator().manual_seed(1)
    filters = torch.randn(12, channels, kernel, kernel, generator=generator) / kernel
    bias = torch.randn(12, generator=generator) / 4
    found = gradients(x, filters, bias, width, stride, dense=False)
    exact = gradients(x.double(), filters.double(), bias.double(), width, stride, dense=True)
    assert 0.2 < (exact[0] > 0).double().mean() < 1
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_a_map_that_is_off_learns_nothing() -> None:
    x = torch.from_numpy(photographs()).permute(0, 3, 1, 2).float() / 255
    features, of_filters, of_bias = gradients(x, torch.full((2, 3, 3, 3), -1.0), torch.zeros(2), 3, 2, dense=False)
    assert not features.any()
    assert not of_filters.any()
    assert not of_bias.any()


def test_without_compiler_it_is_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.from_numpy(photographs()).permute(0, 3, 1, 2).float() / 255 - 0.4
    filters, bias = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(2)), torch.zeros(6)
    by_winners = gradients(x, filters, bias, 3, 2, dense=False)
    monkeypatch.setattr(pooled, "AVAILABLE", False)
    for ours, theirs in zip(gradients(x, filters, bias, 3, 2, dense=False), by_winners, strict=True):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()
