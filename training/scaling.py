"""Stored float16 features in; the probe's view of them, standardised, as two matrix products out."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 256
"""Images converted to float32 at a time, so that the block is still in cache when it is multiplied."""


@dataclass(frozen=True)
class Scaling:
    """What standardises features: x' = (x - mean) * scale.

    The scale is one number a map, the root mean variance of its positions: dividing each feature by its own deviation
    would blow up those that are almost always the same.

    Attributes:
        mean: (D,) float32.
        scale: (D,) float32.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, features: Tensor, maps: int) -> "Scaling":
        """Measure features (N, D) of which each map owns D / maps consecutive ones."""
        total = torch.zeros(features.shape[1], dtype=torch.float64)
        squares = torch.zeros(features.shape[1], dtype=torch.float64)
        for _, _, block in blocks(features):
            total += block.sum(0)
            squares += block.square().sum(0)
        mean = total / len(features)
        variance = (squares / len(features) - mean.square()).clamp(min=0).view(maps, -1).mean(1)
        # a map that never changes carries nothing: leave it at zero instead of dividing by zero
        scale = torch.where(variance > 1e-12, variance.clamp(min=1e-12).rsqrt(), 0.0)
        return cls(mean.float(), scale.repeat_interleave(features.shape[1] // maps).float())


def blocks(features: Tensor, rows: int = ROWS) -> Iterator[tuple[int, int, Tensor]]:
    """Features (N, D) of any float type as float32 blocks (start, stop, (stop - start, D)); the block is reused."""
    buffer = torch.empty(min(rows, len(features)), features.shape[1])
    for start in range(0, len(features), rows):
        part = features[start : start + rows]
        block = buffer[: len(part)]
        block.copy_(part)
        yield start, start + len(part), block


class DesignMatrix:
    """The standardised features with a column of ones, never stored: N rows of D + 1 numbers.

    Args:
        features: (N, D) float16 or float32.
        scaling: what standardises them.
    """

    def __init__(self, features: Tensor, scaling: Scaling) -> None:
        self.features = features
        self.scaling = scaling
        self.rows = len(features)
        self.columns = features.shape[1] + 1

    def times(self, weights: Tensor) -> Tensor:
        """Product with weights (D + 1, J), the last row for the ones: (N, J) float32."""
        raw, offset = self.fold(weights)
        out = torch.empty(self.rows, weights.shape[1])
        for start, stop, block in blocks(self.features):
            torch.mm(block, raw, out=out[start:stop])
        return out.add_(offset)

    def transposed_times(self, values: Tensor) -> Tensor:
        """Product of the transpose with values (N, J): (D + 1, J) float32."""
        out = torch.zeros(self.columns - 1, values.shape[1])
        for start, stop, block in blocks(self.features):
            out.addmm_(block.T, values[start:stop])
        total = values.sum(0)
        out.addr_(self.scaling.mean, total, alpha=-1.0).mul_(self.scaling.scale[:, None])
        return torch.cat([out, total[None]])

    def fold(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (D + 1, J) on standardised features as weights (D, J) and offset (J,) on raw ones."""
        raw = weights[:-1] * self.scaling.scale[:, None]
        return raw, weights[-1] - self.scaling.mean @ raw
