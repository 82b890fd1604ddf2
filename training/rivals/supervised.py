"""Images and labels in, a classifier out: the paper's layer trained with labels from end to end (Figure 1 (c))."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from training import checkpoints
from training.config import LayerConfig
from training.datasets import Labels
from training.rivals.descent import Descent, Schedule
from training.rivals.errors import NotFittedError
from training.rivals.network import Network
from training.sca import SparseConvAutoencoder
from training.sources import ImageSource, prefetch
from training.whitening import PixelScaling, Preprocessing
from training.workers import alone, spread

PIECE = 8
"""Images that one thread takes at a time: few enough for their maps to stay in cache."""
BLOCK = 512
"""Images asked of a source at a time."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images.

    Attributes:
        loss: mean cross entropy in training.
        accuracy: share of right answers on the validation images, after it; NaN without such images.
    """

    loss: float
    accuracy: float


class SupervisedNet:
    """One convolution, rectifier, overlapping max-pooling and a linear softmax classifier, trained end to end.

    Args:
        maps: M.
        kernel: filter width, odd.
        pool_width: of the max-pooling, in positions.
        pool_stride: of the max-pooling, in positions.
        seed: seeds the initial filters, the order of the images and the dropout.
        preprocessing: uint8 (N, H, W, C) to the network's input; raw pixels by default.
        epochs: passes over the training images at most.
        patience: passes without a better validation accuracy after which training stops.
        batch_images: images a gradient step.
        learning_rate: Adam's, at its peak.
        weight_decay: the decoupled decay a unit of learning rate.
        dropout: share of the pooled features that is dropped in training.
    """

    def __init__(
        self,
        maps: int,
        kernel: int,
        pool_width: int,
        pool_stride: int,
        seed: int = 0,
        preprocessing: Preprocessing | None = None,
        epochs: int = 30,
        patience: int = 5,
        batch_images: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        dropout: float = 0.5,
    ) -> None:
        self.layer = LayerConfig(maps, kernel, pool_width, pool_stride)
        self.preprocessing: Preprocessing = preprocessing or PixelScaling()
        self.seed, self.epochs, self.patience, self.batch = seed, epochs, patience, batch_images
        self.learning_rate, self.weight_decay, self.dropout = learning_rate, weight_decay, dropout
        self.history: list[Epoch] = []
        self._network: Network | None = None

    def fit(
        self,
        images: ImageSource,
        labels: Labels,
        val_images: ImageSource | None = None,
        val_labels: Labels | None = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Train; the weights of the pass with the best validation accuracy are kept, or without such images the last.

        Args:
            images: uint8 (N, H, W, C).
            labels: int64 (N,), 0 to K - 1.
            val_images: as `images`, none of them; without them training takes all its epochs.
            val_labels: as `labels`.
            checkpoint: written after each pass; one that is there is gone on from, to the same weights.

        Raises:
            DivergedError: the loss is no longer finite.
        """
        self._network = network = self._build(images, int(labels.max()) + 1)
        schedule = Schedule(len(images), min(self.batch, len(images)), self.epochs, self.learning_rate)
        descent = Descent(list(network.parameters()), schedule, PIECE, self.weight_decay)
        self.history = []
        best = copy.deepcopy(network.state_dict())
        if checkpoint is not None and checkpoint.exists():
            best = self._restore(checkpoint, descent)
        with (
            alone(),
            tqdm(total=self.epochs, initial=len(self.history), unit="epoch", desc="supervised", disable=None) as bar,
        ):
            while len(self.history) < self.epochs and not self._is_stuck():
                loss = self._pass(network, descent, images, labels, len(self.history))
                accuracy = math.nan
                if val_images is not None and val_labels is not None:
                    accuracy = self.accuracy(val_images, val_labels)
                # NaN is never below anything: without validation images the last pass is the best one
                if not accuracy <= max((past.accuracy for past in self.history), default=-1.0):
                    best = copy.deepcopy(network.state_dict())
                self.history.append(Epoch(loss, accuracy))
                if checkpoint is not None:
                    self._save(checkpoint, descent, best)
                bar.update()
                bar.set_postfix(loss=f"{loss:.4f}", validation=f"{accuracy:.4f}")
        network.load_state_dict(best)
        return self

    def _is_stuck(self) -> bool:
        """Whether the last passes have brought nothing."""
        return bool(self.history) and len(self.history) - 1 - self.best_epoch >= self.patience

    def _save(self, checkpoint: Path, descent: Descent, best: Mapping[str, Tensor]) -> None:
        history = torch.tensor([(epoch.loss, epoch.accuracy) for epoch in self.history], dtype=torch.float64)
        kept = {f"best.{name}": value for name, value in best.items()}
        checkpoints.save(checkpoint, {**descent.state(), **kept, "history": history})

    def _restore(self, checkpoint: Path, descent: Descent) -> dict[str, Tensor]:
        """Take up descent and history; returns the best pass's weights."""
        state = checkpoints.load(checkpoint)
        descent.restore(state)
        self.history = [Epoch(loss, accuracy) for loss, accuracy in state["history"].tolist()]
        return {name.removeprefix("best."): value for name, value in state.items() if name.startswith("best.")}

    @property
    def best_epoch(self) -> int:
        """The first pass, from 0, of those with the best validation accuracy; without validation images the last."""
        if math.isnan(self.history[-1].accuracy):
            return len(self.history) - 1
        return max(range(len(self.history)), key=lambda epoch: self.history[epoch].accuracy)

    @property
    def filters(self) -> Tensor:
        """The convolution's filters, (M, C, k, k)."""
        return self._fitted().filters.detach()

    def predict(self, images: ImageSource) -> Labels:
        """The likeliest class, int64 (N,), of uint8 (N, H, W, C).

        Raises:
            NotFittedError: `fit` was not called.
        """
        network = self._fitted()
        out = torch.empty(len(images), dtype=torch.int64)

        @torch.no_grad()
        def work(first: int, last: int) -> None:
            for i in range(first, last, PIECE):
                part = slice(i, min(i + PIECE, last))
                out[start + part.start : start + part.stop] = network(self.preprocessing(pixels[part])).argmax(1)

        with alone():
            for start in range(0, len(images), BLOCK):
                pixels = torch.from_numpy(images[start : start + BLOCK])
                spread(work, len(pixels))
        return out.numpy()

    def accuracy(self, images: ImageSource, labels: Labels) -> float:
        """Share of right answers on uint8 (N, H, W, C) with labels (N,)."""
        return float((self.predict(images) == labels).mean())

    def _fitted(self) -> Network:
        if self._network is None:
            raise NotFittedError
        return self._network

    def _build(self, images: ImageSource, classes: int) -> Network:
        _, height, width, channels = images.shape
        layer = SparseConvAutoencoder(self.layer, channels, self.seed)
        features = int(np.prod(layer.output_shape(height, width)))
        sample = np.random.default_rng(self.seed).permutation(len(images))[: 8 * BLOCK]
        with torch.no_grad():
            x = self.preprocessing(torch.from_numpy(images[np.sort(sample)]))
        deviation = float((x - x.mean((0, 2, 3), keepdim=True)).square().mean().sqrt())
        network = Network(layer, x.mean((0, 2, 3)), max(deviation, 1e-6), features, classes, self.dropout)
        with torch.no_grad():  # filters as large as keep a rectified layer's deviation (He et al. 2015)
            network.filters.mul_((2 / network.filters[0].numel()) ** 0.5 / self.layer.init_std)
        return network

    def _pass(self, network: Network, descent: Descent, images: ImageSource, labels: Labels, epoch: int) -> float:
        """Train on every batch of an epoch; the mean loss."""
        generator = torch.Generator().manual_seed(self.seed * 10_007 + epoch)
        losses = []
        orders = list(descent.schedule.batches(epoch, self.seed))
        for pixels, numbers in zip(prefetch(images, iter(orders)), orders, strict=True):
            batch, targets = torch.from_numpy(pixels), torch.from_numpy(labels[numbers])
            kept = None
            if self.dropout:
                drawn = torch.rand(len(batch), len(network.weights), generator=generator)
                kept = (drawn >= self.dropout).float() / (1 - self.dropout)

            def loss_of(
                part: slice, batch: Tensor = batch, targets: Tensor = targets, kept: Tensor | None = kept
            ) -> Tensor:
                with torch.no_grad():
                    x = self.preprocessing(batch[part])
                logits = network(x, None if kept is None else kept[part])
                return functional.cross_entropy(logits, targets[part], reduction="sum")

            losses.append(descent.step(loss_of, len(batch)))
        return float(np.mean(losses))
