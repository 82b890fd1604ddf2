"""Stored features in; the probe's view of them, standardised, as two matrix products out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training import parallel
from training.features import CPU, FeatureFile, Features, blocks
from training.workers import spread

NARROW = 32
"""Columns up to which the transposed product is faster as (J, N) x (N, D) than as (D, N) x (N, J), by measurement."""

Maps = int | Sequence[tuple[int, int]]
"""Maps that own equally many features each; or some, and features of each, then some more."""


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
    def fit(cls, features: Features, maps: Maps) -> "Scaling":
        """Measure features (N, D), of which each map owns consecutive ones; N over all processes.

        Args:
            features: (N, D), this process's rows.
            maps: how many own D / maps features each, or as `FeatureExtractor.feature_maps` says.
        """
        device = CPU if isinstance(features, FeatureFile) else features.device
        sums = torch.zeros(2, features.shape[1], dtype=torch.float64, device=device)
        for _, _, block in blocks(features):
            sums[0] += block.sum(0)
            sums[1] += block.square().sum(0)
        mean, square = parallel.sum_(sums) / parallel.total(len(features))
        owners = [(maps, features.shape[1] // maps)] if isinstance(maps, int) else maps
        variance = _of_maps((square - mean.square()).clamp(min=0), owners)
        # a map that never changes carries nothing: leave it at zero instead of dividing by zero, or by rounding errors
        least = 1e-12 + 1e-6 * _of_maps(square, owners)
        scale = torch.where(variance > least, variance.clamp(min=1e-12).rsqrt(), 0.0)
        owned = torch.tensor([size for count, size in owners for _ in range(count)], device=device)
        return cls(mean.float(), scale.repeat_interleave(owned).float())


def _of_maps(numbers: Tensor, owners: Sequence[tuple[int, int]]) -> Tensor:
    """The mean of each map's numbers; (D,) to as many as there are maps."""
    parts = torch.split(numbers, [count * size for count, size in owners])
    return torch.cat([part.view(count, size).mean(1) for part, (count, size) in zip(parts, owners, strict=True)])


class DesignMatrix:
    """The standardised features with a column of ones, never stored: N rows of D + 1 numbers.

    Its rows may be spread over the processes of a job: each holds some, and products over rows are sums over all.

    Args:
        features: (N, D), this process's rows.
        scaling: what standardises them.
    """

    def __init__(self, features: Features, scaling: Scaling) -> None:
        self.features = features
        self.scaling = scaling
        self.rows = len(features)
        self.total_rows = parallel.total(self.rows)
        self.columns = features.shape[1] + 1
        self.device = scaling.mean.device

    def times(self, weights: Tensor) -> Tensor:
        """Product with weights (D + 1, J), the last row for the ones: this process's (N, J) float32."""
        raw, offset = self.fold(weights)
        out = torch.empty(self.rows, weights.shape[1], device=self.device)

        def work(first: int, last: int) -> None:
            for start, stop, block in blocks(self.features, first, last):
                torch.mm(block, raw, out=out[start:stop])

        spread(work, self.rows, self.device)
        return out.add_(offset)

    def transposed_times(self, values: Tensor) -> Tensor:
        """Product of the transpose with this process's values (N, J): (D + 1, J) float32, summed over all processes."""
        columns = values.shape[1]
        partial: dict[int, Tensor] = {}

        def work(first: int, last: int) -> None:
            narrow = columns <= NARROW
            shape = (columns, self.columns - 1) if narrow else (self.columns - 1, columns)
            sums = torch.zeros(shape, device=self.device)
            for start, stop, block in blocks(self.features, first, last):
                if narrow:
                    sums.addmm_(values[start:stop].T, block)
                else:
                    sums.addmm_(block.T, values[start:stop])
            partial[first] = sums.T if narrow else sums

        spread(work, self.rows, self.device)
        # in the order of the rows, not in that in which the threads were done: the same sum every time
        empty = torch.zeros(self.columns - 1, columns, device=self.device)
        total = sum((partial[first] for first in sorted(partial)), empty)
        out = parallel.sum_(torch.cat([total, values.sum(0, keepdim=True)]))
        out[:-1].addr_(self.scaling.mean, out[-1].clone(), alpha=-1.0).mul_(self.scaling.scale[:, None])
        return out

    def fold(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (D + 1, J) on standardised features as weights (D, J) and offset (J,) on raw ones."""
        raw = weights[:-1] * self.scaling.scale[:, None]
        return raw, weights[-1] - self.scaling.mean @ raw
