"""The probe's solver against scipy's, in float64, on the same objective."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from training.config import ProbeConfig
from training.losses import LOSSES
from training.scaling import DesignMatrix, Scaling
from training.solver import Sketch, minimise

Floats = npt.NDArray[np.float64]

MAPS = 8


def problem(
    rows: int = 300, size: int = 40, classes: int = 4, noise: float = 1.0, seed: int = 0, factors: int = 3
) -> tuple[DesignMatrix, Tensor]:
    """Rectified features (N, D) of a few strong common factors, as pooled activations are, and their classes."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (rows,), generator=draw)
    hidden = torch.randn(rows, factors, generator=draw) * 3
    centres = torch.randn(classes, size, generator=draw)
    mixed = hidden @ torch.randn(factors, size, generator=draw) + centres[labels] + 1
    stored = (mixed + noise * torch.randn(rows, size, generator=draw)).relu().half()
    return DesignMatrix(stored, Scaling.fit(stored, MAPS)), labels


def as_floats(matrix: DesignMatrix) -> Tensor:
    """The explicit design matrix (N, D + 1), float64."""
    scaling = matrix.scaling
    assert isinstance(matrix.features, Tensor)
    standard = (matrix.features.double() - scaling.mean.double()) * scaling.scale.double()
    return torch.cat([standard, torch.ones(matrix.rows, 1, dtype=torch.float64)], 1)


def objective(loss: str, rows: Tensor, labels: Tensor, strength: float, weights: Tensor) -> tuple[float, Tensor]:
    """Mean loss + strength * |w|^2 / 2 without the bias, and its gradient (D + 1, K)."""
    scores, count = rows @ weights, torch.arange(len(labels))
    if loss == "svm":
        signs = -torch.ones_like(scores)
        signs[count, labels] = 1
        short = (1 - signs * scores).clamp(min=0)
        value, slope = short.square().sum(), -2 * short * signs
    else:
        value = -scores.log_softmax(1)[count, labels].sum()
        slope = scores.softmax(1)
        slope[count, labels] -= 1
    gradient = rows.T @ slope / len(labels)
    gradient[:-1] += strength * weights[:-1]
    return float(value) / len(labels) + strength * float(weights[:-1].square().sum()) / 2, gradient


def best(loss: str, matrix: DesignMatrix, labels: Tensor, classes: int, strength: float) -> tuple[float, Tensor]:
    """The optimum by scipy's L-BFGS: its value and weights."""
    rows, shape = as_floats(matrix), (matrix.columns, classes)

    def flat(weights: Floats) -> tuple[float, Floats]:
        value, gradient = objective(loss, rows, labels, strength, torch.from_numpy(weights).view(shape))
        return value, gradient.flatten().numpy()

    options: Any = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-14, "gtol": 1e-8}
    result = minimize(flat, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options)
    return float(result.fun), torch.from_numpy(result.x).view(shape)


def solve(
    loss: str, matrix: DesignMatrix, labels: Tensor, classes: int, strengths: Sequence[float], **limits: Any
) -> list[Tensor]:
    """Weights (D + 1, K) for each strength."""
    config = ProbeConfig()
    plain = {"iterations": config.max_iterations, "tolerance": config.tolerance} | limits
    found = minimise(matrix, LOSSES[loss](labels, classes), strengths, Sketch.of(matrix), **plain)
    assert found.shape == (matrix.columns, len(strengths), classes)
    return [found[:, index].double() for index in range(len(strengths))]


@pytest.mark.parametrize("loss", ["svm", "logistic"])
def test_every_strength_reaches_its_optimum_in_one_run(loss: str) -> None:
    matrix, labels = problem()
    strengths = (0.003, 0.03, 0.3, 3.0)
    found = solve(loss, matrix, labels, 4, strengths, iterations=200, tolerance=1e-5)
    for strength, weights in zip(strengths, found, strict=True):
        value, _ = objective(loss, as_floats(matrix), labels, strength, weights)
        least, expected = best(loss, matrix, labels, 4, strength)
        assert value <= least * (1 + 1e-4), f"strength {strength}"
        difference = float((weights - expected)[:-1].norm() / expected[:-1].norm())
        assert difference < 5e-3, f"strength {strength}: weights are {difference:.1e} off"


@settings(max_examples=40, deadline=None)
@given(
    loss=st.sampled_from(("svm", "logistic")),
    classes=st.integers(2, 6),
    size=st.sampled_from((8, 40, 120)),
    noise=st.floats(0.1, 10),
    strength=st.floats(-3, 2).map(lambda power: 10**power),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_default_limits_come_within_half_a_percent(
    loss: str, classes: int, size: int, noise: float, strength: float, seed: int
) -> None:
    matrix, labels = problem(150, size, classes, noise, seed)
    strengths = (strength, 300.0)  # the second has arrived long before the first
    for one, weights in zip(strengths, solve(loss, matrix, labels, classes, strengths), strict=True):
        value, _ = objective(loss, as_floats(matrix), labels, one, weights)
        nothing, _ = objective(loss, as_floats(matrix), labels, one, torch.zeros_like(weights))
        least, _ = best(loss, matrix, labels, classes, one)
        assert value - least <= 5e-3 * nothing


@pytest.mark.parametrize("loss", ["svm", "logistic"])
def test_constant_and_rare_features_get_no_great_weight(loss: str) -> None:
    matrix, labels = problem()
    stored = matrix.features
    assert isinstance(stored, Tensor)
    stored[:, :5] = 0.1  # a whole map that never changes
    stored[:, 5] = 0
    stored[3, 5] = 0.5  # a feature that one image has
    harder = DesignMatrix(stored, Scaling.fit(stored, MAPS))
    (weights,) = solve(loss, harder, labels, 4, (0.03,))
    assert torch.isfinite(weights).all()
    raw, _ = harder.fold(weights.float())
    assert not raw[:5].any()
    assert float(raw[5].abs().max()) <= 3 * float(raw[6:].abs().max())


@pytest.mark.parametrize("loss", ["svm", "logistic"])
def test_a_class_without_images_is_never_chosen(loss: str) -> None:
    matrix, labels = problem(classes=3)
    (weights,) = solve(loss, matrix, labels, 5, (0.1,))
    assert torch.isfinite(weights).all()
    assert set((as_floats(matrix) @ weights).argmax(1).tolist()) <= {0, 1, 2}


def test_it_says_how_far_it_is_and_stops_when_it_is_there() -> None:
    matrix, labels = problem()
    seen: list[tuple[int, float]] = []

    def watch(iteration: int, scores: Tensor, shares: Tensor) -> None:
        assert scores.shape == (300, 2, 4) and shares.shape == (2,)
        seen.append((iteration, float(shares.max())))

    minimise(matrix, LOSSES["svm"](labels, 4), (0.3, 1.0), Sketch.of(matrix), 500, 1e-3, watch)
    assert [iteration for iteration, _ in seen] == list(range(1, len(seen) + 1))
    assert len(seen) < 100
    assert seen[-1][1] < 1e-3 <= min(share for _, share in seen[:-1])


def test_the_sketch_finds_the_strong_directions() -> None:
    matrix, _ = problem(size=120)
    rows = as_floats(matrix)[:, :-1].numpy()
    expected = np.linalg.eigvalsh(rows.T @ rows / len(rows))[::-1]
    sketch = Sketch.of(matrix)
    np.testing.assert_allclose(sketch.values[:5].numpy(), expected[:5], rtol=1e-3)
    gram = (sketch.vectors.T @ sketch.vectors).numpy()
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-4)
