"""Images in, the filters of a sparse autoencoder of patches out: what Figure 1 (a) shows beside the convolutional ones.

Makhzani and Frey: k-Sparse Autoencoders, ICLR 2014; [8] of the paper.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.rivals.descent import Descent, Schedule
from training.rivals.errors import NotFittedError
from training.rivals.sampling import PatchWhitening, normalise_patches, sample_patches
from training.sources import Pixels
from training.workers import alone

PIECE = 64
"""Patches of which one thread takes the gradient at a time."""


@dataclass(frozen=True)
class PatchFilters:
    """What the training ended with.

    Attributes:
        filters: rows of W as pictures of whitened patches, (U, C, p, p).
        loss_share: sum over the last epoch of |x^ - x|^2, as a share of |x|^2.
        dead_units: units that no patch of the last epoch used.
    """

    filters: Tensor
    loss_share: float
    dead_units: int


class PatchAutoencoder:
    """A k-sparse autoencoder: linear, tied, and of its hidden units only the k largest survive.

    In training, and for a patch x normalised in contrast and whitened::

        z  = W x + b
        z_i := 0 for all but the k largest
        x^ = W^T z + b'
        E  = |x^ - x|^2

    k falls linearly from U to its value over the first half of the epochs, so that all units find something to do
    before few of them may.

    Args:
        units: U, hidden units.
        patch: p, width and height of a patch, in pixels.
        k: units that survive.
        whiten: whether patches are whitened (ZCA) after their contrast was normalised.
        seed: seeds the patches, their order and the initial filters.
        patches: how many to learn from.
        epochs: passes over them.
        batch: patches a gradient step.
        learning_rate: Adam's, at its peak.
        contrast_epsilon: added to a patch's variance, in squared grey levels.
        whitening_epsilon: added to each eigenvalue of the normalised patches' covariance.
    """

    def __init__(
        self,
        units: int = 1000,
        patch: int = 9,
        k: int = 50,
        whiten: bool = True,
        seed: int = 0,
        patches: int = 200_000,
        epochs: int = 10,
        batch: int = 128,
        learning_rate: float = 2e-3,
        contrast_epsilon: float = 10.0,
        whitening_epsilon: float = 0.1,
    ) -> None:
        if not 0 < k <= units:
            raise ValueError(f"k must be between 1 and {units} units: {k}")
        self.units, self.patch, self.k, self.whiten, self.seed = units, patch, k, whiten, seed
        self.patches, self.epochs, self.batch, self.learning_rate = patches, epochs, batch, learning_rate
        self.contrast_epsilon, self.whitening_epsilon = contrast_epsilon, whitening_epsilon
        self._fitted: PatchFilters | None = None

    def fit(self, images: Pixels) -> Self:
        """Learn from patches of uint8 (N, H, W, C)."""
        points = normalise_patches(sample_patches(images, self.patches, self.patch, self.seed), self.contrast_epsilon)
        if self.whiten:
            points = PatchWhitening.fit(points, self.whitening_epsilon)(points)
        generator = torch.Generator().manual_seed(self.seed)
        filters = nn.Parameter(torch.randn(self.units, points.shape[1], generator=generator) * 0.01)
        biases = nn.Parameter(torch.zeros(self.units)), nn.Parameter(torch.zeros(points.shape[1]))
        schedule = Schedule(len(points), min(self.batch, len(points)), self.epochs, self.learning_rate)
        run = _Epochs(filters, *biases, Descent((filters, *biases), schedule, PIECE))
        with (
            alone(),
            tqdm(total=schedule.steps, unit="step", desc="patches", disable=None) as bar,
        ):
            for epoch in range(self.epochs):
                run.begin()
                for numbers in schedule.batches(epoch, self.seed):
                    run.step(points[torch.from_numpy(numbers)], self.k_at(run.descent.steps / schedule.steps))
                    bar.update()
        pictures = filters.detach().view(self.units, images.shape[3], self.patch, self.patch)
        self._fitted = PatchFilters(pictures, run.loss / run.energy, int((~run.used).sum()))
        return self

    def k_at(self, share: float) -> int:
        """Units that survive after this share of the training."""
        return round(self.units + (self.k - self.units) * min(1.0, 2 * share))

    @property
    def result(self) -> PatchFilters:
        """The filters and how training ended.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if self._fitted is None:
            raise NotFittedError
        return self._fitted

    @property
    def filters(self) -> Tensor:
        """The filters as pictures of whitened patches, (U, C, p, p)."""
        return self.result.filters


class _Epochs:
    """Steps, and what they add up to in an epoch."""

    def __init__(self, filters: Tensor, hidden_bias: Tensor, visible_bias: Tensor, descent: Descent) -> None:
        self.filters, self.hidden_bias, self.visible_bias, self.descent = filters, hidden_bias, visible_bias, descent
        self.begin()

    def begin(self) -> None:
        self.loss = self.energy = 0.0
        self.used = torch.zeros(len(self.filters), dtype=torch.bool)

    def step(self, x: Tensor, k: int) -> None:
        """One gradient step on patches (n, d)."""

        def loss_of(part: slice) -> Tensor:
            hidden = torch.addmm(self.hidden_bias, x[part], self.filters.T)
            survivors = hidden.detach().topk(k, dim=1, sorted=False).indices
            self.used[survivors.flatten()] = True
            sparse = hidden * torch.zeros_like(hidden).scatter_(1, survivors, 1.0)
            return (torch.addmm(self.visible_bias, sparse, self.filters) - x[part]).square().sum()

        self.loss += self.descent.step(loss_of, len(x)) * len(x)
        self.energy += float(x.square().sum(dtype=torch.float64))
