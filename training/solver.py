"""Linear classifiers for several L2 strengths at once: every pass over the features serves all of them.

L-BFGS, with two things that fit this problem. The scores are linear in the weights, so the line search along a
direction needs the direction's scores once and then no further pass: it is solved exactly. And pooled activations share
a few strong directions, which make the problem ill-conditioned: a randomised Nystrom sketch of their covariance, one
pass, preconditions them away.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.losses import Loss
from training.scaling import DesignMatrix

HISTORY = 10
SKETCH = 256
LINE_SEARCH_STEPS = 10


@dataclass(frozen=True)
class Sketch:
    """Leading eigenpairs of the standardised features' covariance: vectors (D, r), values (r,), the next value."""

    vectors: Tensor
    values: Tensor
    rest: float

    @classmethod
    def of(cls, matrix: DesignMatrix, rank: int = SKETCH, seed: int = 0) -> "Sketch":
        """Nystrom approximation from one random test matrix (Tropp et al. 2017, algorithm 3)."""
        size = matrix.columns - 1
        rank = min(rank, size, matrix.total_rows)
        generator = torch.Generator().manual_seed(seed)
        test = torch.linalg.qr(torch.randn(size, rank, generator=generator).to(matrix.device))[0]
        padded = torch.cat([test, test.new_zeros(1, rank)])
        product = matrix.transposed_times(matrix.times(padded))[:-1] / matrix.total_rows
        shift = float(product.norm()) * 1e-6  # keeps the small matrix positive definite in float32
        product += shift * test
        core = (test.T @ product).double()
        inverse = torch.linalg.cholesky((core + core.T) / 2)
        root = torch.linalg.solve_triangular(inverse, product.double().T, upper=False).T.float()
        vectors, singular, _ = torch.linalg.svd(root, full_matrices=False)
        values = (singular.square() - shift).clamp(min=0)
        keep = max(1, rank * 3 // 4)  # the sketch's last directions are the least certain
        return cls(vectors[:, :keep].contiguous(), values[:keep], float(values[keep - 1]))

    def shrink(self, gradient: Tensor, strengths: Tensor, curvature: float) -> Tensor:
        """Divide gradient (D + 1, S, K) by the approximate Hessian, up to a factor."""
        flat = gradient[:-1].flatten(1)
        inside = curvature * self.values[:, None] + strengths
        shares = 1 - (curvature * self.rest + strengths) / inside  # (r, S)
        coefficients = (self.vectors.T @ flat).view(-1, *gradient.shape[1:]) * shares[:, :, None]
        out = gradient.clone()
        out[:-1] -= (self.vectors @ coefficients.flatten(1)).view_as(out[:-1])
        return out


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of (D + 1, S, K) tensors for each strength: (1, S, 1)."""
    return (a * b).sum((0, 2), keepdim=True)


def _safe(value: Tensor) -> Tensor:
    return value.clamp(min=1e-30)


def minimise(
    matrix: DesignMatrix,
    loss: Loss,
    strengths: Sequence[float],
    sketch: Sketch,
    iterations: int,
    tolerance: float,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Minimise mean loss + strength * |w|^2 / 2 (the bias free of it) for each strength.

    Args:
        matrix: the standardised features.
        loss: the loss with its labels.
        strengths: S of them.
        sketch: preconditioner of `matrix`, or of similar features.
        iterations: at most; two passes over the features each.
        tolerance: stop when every gradient norm is below this share of its first one.
        watch: called after each iteration with its number, the scores (N, S, K) and the gradients' shares (S,).

    Returns:
        Weights (D + 1, S, K) float32 on standardised features, the bias last.
    """
    shape = (matrix.columns, len(strengths), loss.classes)
    penalty = torch.tensor(strengths, dtype=torch.float32, device=matrix.device)
    decay = penalty.view(1, -1, 1)

    def scores_of(weights: Tensor) -> Tensor:
        return matrix.times(weights.flatten(1)).view(-1, *shape[1:])

    def gradient_at(scores: Tensor, weights: Tensor) -> Tensor:
        out = matrix.transposed_times(loss.slope(scores).flatten(1)).view(shape)
        out[:-1] += decay * weights[:-1]
        return out

    weights = torch.zeros(shape, device=matrix.device)
    scores = torch.zeros(matrix.rows, *shape[1:], device=matrix.device)
    gradient = gradient_at(scores, weights)
    first_norm = _safe(_inner(gradient, gradient).sqrt())
    memory: deque[tuple[Tensor, Tensor]] = deque(maxlen=HISTORY)
    for iteration in range(1, iterations + 1):
        direction = -_two_loops(gradient, memory, lambda g: sketch.shrink(g, penalty, loss.curvature))
        along = scores_of(direction)
        length = _line_search(loss, scores, along, weights, direction, penalty)
        scores += length[:, None] * along
        moved = length[:, None] * direction
        weights = weights + moved
        after = gradient_at(scores, weights)
        memory.append((moved, after - gradient))
        gradient = after
        share = (_inner(gradient, gradient).sqrt() / first_norm).flatten()
        if watch:
            watch(iteration, scores, share)
        if bool((share < tolerance).all()):
            break
    return weights


def _over(value: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """Value / s.y; 0 for a strength that has arrived: its s and y are rounding errors, and s.y may even be negative."""
    curvature = _inner(s, y)
    real = curvature > 1e-7 * (_inner(s, s) * _inner(y, y)).sqrt()
    return torch.where(real, value / _safe(curvature), 0.0)


def _two_loops(
    gradient: Tensor, memory: Sequence[tuple[Tensor, Tensor]], precondition: Callable[[Tensor], Tensor]
) -> Tensor:
    """L-BFGS's product of the inverse Hessian with the gradient (Nocedal and Wright, algorithm 7.4)."""
    q = gradient.clone()
    alphas = []
    for s, y in reversed(memory):
        alpha = _over(_inner(s, q), s, y)
        q -= alpha * y
        alphas.append(alpha)
    q = precondition(q)
    if memory:
        s, y = memory[-1]
        q *= _inner(s, y) / _safe(_inner(y, precondition(y)))
    for (s, y), alpha in zip(memory, reversed(alphas), strict=True):
        q += s * (alpha - _over(_inner(y, q), s, y))
    return q


def _line_search(
    loss: Loss, scores: Tensor, along: Tensor, weights: Tensor, direction: Tensor, penalty: Tensor
) -> Tensor:
    """Newton's method for the best step (S,) along a direction: a convex function of one number a strength."""
    linear = (weights[:-1] * direction[:-1]).sum((0, 2)) * penalty
    square = direction[:-1].square().sum((0, 2)) * penalty
    length = torch.zeros_like(penalty)
    for _ in range(LINE_SEARCH_STEPS):
        first, second = loss.along(scores + length[:, None] * along, along)
        change = (first + linear + length * square) / _safe(second + square)
        length = length - change
        if bool((change.abs() <= 1e-4 * length.abs()).all()):
            break
    return length
