"""The losses' derivatives against autograd in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.losses import LOSSES


def mean_loss(loss: str, scores: Tensor, labels: Tensor) -> Tensor:
    """The mean loss (S,) of scores (N, S, K), by its definition."""
    if loss == "logistic":
        flat = functional.cross_entropy(
            scores.permute(0, 2, 1), labels[:, None].expand(scores.shape[:2]), reduction="none"
        )
        return flat.mean(0)
    signs = functional.one_hot(labels, scores.shape[2])[:, None].double() * 2 - 1
    return (1 - signs * scores).clamp(min=0).square().sum(2).mean(0)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_slopes_and_curvatures_are_autograds(loss: str) -> None:
    draw = torch.Generator().manual_seed(0)
    scores, direction = (torch.randn(50, 3, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, 4, (50,), generator=draw)
    made = LOSSES[loss](labels, 4)
    scores.requires_grad_()
    (slope,) = torch.autograd.grad(mean_loss(loss, scores, labels).sum(), scores)
    torch.testing.assert_close(made.slope(scores.detach().float()).double(), slope, rtol=1e-5, atol=1e-7)

    length = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    value = mean_loss(loss, scores.detach() + length[:, None] * direction, labels).sum()
    (first,) = torch.autograd.grad(value, length, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), length)
    got = made.along(scores.detach().float(), direction.float())
    torch.testing.assert_close(got[0].double(), first.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got[1].double(), second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_huge_scores_stay_finite(loss: str) -> None:
    labels = torch.tensor([0, 1])
    made = LOSSES[loss](labels, 2)
    scores = torch.tensor([[[1e4, -1e4]], [[1e4, -1e4]]])
    assert torch.isfinite(made.slope(scores)).all()
    assert all(torch.isfinite(value).all() for value in made.along(scores, scores))
