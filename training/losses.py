"""Scores and labels in; the mean loss's slope, and its derivatives along a line, out. For several strengths at once.

Scores are (N, S, K): N images (this process's), S regularisation strengths, K classes. Means are over the images of all
processes.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from training import parallel


class Loss(ABC):
    """A mean loss over images.

    Args:
        labels: (N,) int64.
        classes: K.
    """

    curvature: float
    """A rough mean second derivative, to scale a preconditioner by."""

    def __init__(self, labels: Tensor, classes: int) -> None:
        self.labels = labels
        self.classes = classes
        self.rows = torch.arange(len(labels), device=labels.device)
        self.count = parallel.total(len(labels))

    @abstractmethod
    def slope(self, scores: Tensor) -> Tensor:
        """Derivative of the loss by the scores, (N, S, K)."""

    @abstractmethod
    def sums_along(self, scores: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over this process's images of the first and second derivative (S,) at `scores` along `direction`."""

    def along(self, scores: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivative (S,) of the mean loss at `scores` along `direction`, both (N, S, K)."""
        first, second = parallel.sum_(torch.stack(self.sums_along(scores, direction))) / self.count
        return first, second


class SquaredHinge(Loss):
    """One class against all: sum over classes of max(0, 1 - t s)^2, t = +-1 (the L2-SVM)."""

    curvature = 1.0

    def __init__(self, labels: Tensor, classes: int) -> None:
        super().__init__(labels, classes)
        self.signs = torch.full((len(labels), 1, classes), -1.0, device=labels.device)
        self.signs[self.rows, 0, labels] = 1.0

    def slope(self, scores: Tensor) -> Tensor:
        """See `Loss`."""
        return (1 - self.signs * scores).clamp_(min=0) * self.signs * (-2 / self.count)

    def sums_along(self, scores: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`."""
        short = (1 - self.signs * scores).clamp_(min=0)
        first = (short * self.signs * direction).sum((0, 2)) * -2
        return first, (direction.square() * (short > 0)).sum((0, 2)) * 2


class Logistic(Loss):
    """Multinomial logistic regression: -log softmax(s)[label]."""

    curvature = 0.1

    def slope(self, scores: Tensor) -> Tensor:
        """See `Loss`."""
        chance = scores.softmax(2)
        chance[self.rows, :, self.labels] -= 1
        return chance / self.count

    def sums_along(self, scores: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`."""
        chance = scores.softmax(2)
        mean = (chance * direction).sum(2)
        first = (mean - direction[self.rows, :, self.labels]).sum(0)
        return first, ((chance * direction.square()).sum(2) - mean.square()).sum(0)


LOSSES: dict[str, type[Loss]] = {"svm": SquaredHinge, "logistic": Logistic}
