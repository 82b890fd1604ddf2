"""Images and a rule in, a trained layer out: the alternatives to winner-take-all that the paper speaks of, compared.

Each is trained as the winner-take-all layer is, with the same settings, order and initial filters, and ends as the same
kind of layer: its features come from the same extractor and pooling.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.config import LayerConfig
from training.extraction import extract
from training.features import Features
from training.rivals.descent import Descent, Schedule
from training.rivals.reconstruction import Weights, reconstruct_from_all, reconstruct_from_selected
from training.rivals.selection import LargestOverall, Selection, TopPerMap
from training.sca import SparseConvAutoencoder
from training.sources import ImageSource, prefetch
from training.stack import FeatureExtractor
from training.whitening import Preprocessing
from training.winners import channels_last
from training.workers import alone

PIECE = 8
"""Images of which one thread takes the gradient at a time."""


@dataclass(frozen=True)
class Variant:
    """What is different from the paper's layer.

    Attributes:
        selection: which units survive in training; None keeps all of them.
        tied: whether the decoder's filters are the encoder's.
    """

    selection: Selection | None = TopPerMap()
    tied: bool = False


VARIANTS: dict[str, Callable[[int], Variant]] = {
    "winner-take-all": lambda maps: Variant(),
    "top-2": lambda maps: Variant(TopPerMap(2)),
    "top-4": lambda maps: Variant(TopPerMap(4)),
    "largest-overall": lambda maps: Variant(LargestOverall(maps)),
    "tied": lambda maps: Variant(tied=True),
}
"""The paper's rule and those that section 2.1 argues against, for a number of maps.

`largest-overall` keeps as many units an image as winner-take-all does.
"""


@dataclass(frozen=True)
class TrainedVariant:
    """A trained layer and how its training ended.

    Attributes:
        extractor: preprocessing, then the layer with its sparsity off, then max-pooling.
        loss_share: sum over the last epoch of |x^ - x|^2, as a share of |x|^2.
        wins: (M,) int64, images of the last epoch in which each map had a unit above zero among the survivors.
        images: in that epoch.
    """

    extractor: FeatureExtractor
    loss_share: float
    wins: Tensor
    images: int

    @property
    def layer(self) -> SparseConvAutoencoder:
        """The layer; a tied one has two equal sets of filters."""
        return self.extractor.stack()[0]

    @property
    def filters(self) -> Tensor:
        """The decoder's, (M, C, k, k)."""
        return self.layer.decoder.detach()

    @property
    def dead_maps(self) -> int:
        """Maps that no image of the last epoch used."""
        return int((self.wins == 0).sum())

    def features(self, images: ImageSource, spill: Path) -> Features:
        """Features of uint8 (N, H, W, C): float16 (N, M * H' * W').

        Args:
            images: of the fitted size.
            spill: file for them, should they be too large for memory.
        """
        return extract(self.extractor, images, [(0, len(images))], spill, "features")


class VariantFit:
    """Trains one variant.

    Args:
        config: sizes, learning rate and epochs, as for the winner-take-all layer.
        variant: what is different.
        preprocessing: uint8 (N, H, W, C) to the layer's input.
        seed: seeds the initial filters and the order of the images.
    """

    def __init__(self, config: LayerConfig, variant: Variant, preprocessing: Preprocessing, seed: int = 0) -> None:
        self.config, self.variant, self.preprocessing, self.seed = config, variant, preprocessing, seed

    def fit(self, images: ImageSource, name: str = "variant") -> TrainedVariant:
        """Train on uint8 (N, H, W, C).

        Raises:
            DivergedError: the loss is no longer finite.
        """
        config = self.config
        layer = SparseConvAutoencoder(config, images.shape[3], self.seed + 1)  # the seed of a pipeline's first layer
        batch = min(config.batch_images, len(images))
        schedule = Schedule(len(images), batch, config.epochs, config.learning_rate, config.warmup_steps)
        run = _Epochs(layer, self.variant, Descent(self._parameters(layer), schedule, PIECE))
        with alone(), tqdm(total=schedule.steps, unit="step", desc=name, disable=None) as bar:
            for epoch in range(config.epochs):
                run.begin()
                for pixels in prefetch(images, schedule.batches(epoch, self.seed)):
                    with torch.no_grad():
                        x = channels_last(self.preprocessing(torch.from_numpy(pixels)))
                    run.step(x)
                    bar.update()
        if self.variant.tied:
            with torch.no_grad():
                layer.decoder.copy_(layer.encoder)
        seen = schedule.steps_per_epoch * batch
        return TrainedVariant(FeatureExtractor(self.preprocessing, [layer]), run.loss / run.energy, run.wins, seen)

    def _parameters(self, layer: SparseConvAutoencoder) -> list[nn.Parameter]:
        decoder = [] if self.variant.tied else [layer.decoder]
        return [layer.encoder, layer.encoder_bias, *decoder, layer.decoder_bias]


class _Epochs:
    """Steps, and what they add up to in an epoch."""

    def __init__(self, layer: SparseConvAutoencoder, variant: Variant, descent: Descent) -> None:
        self.layer, self.variant, self.descent = layer, variant, descent
        self.begin()

    def begin(self) -> None:
        self.loss = self.energy = 0.0
        self.wins = torch.zeros(self.layer.config.maps, dtype=torch.int64)

    def step(self, x: Tensor) -> None:
        layer = self.layer
        decoder = layer.encoder if self.variant.tied else layer.decoder
        weights = Weights(layer.encoder, layer.encoder_bias, decoder, layer.decoder_bias)
        active = torch.zeros(len(x), layer.config.maps, dtype=torch.bool)

        def loss_of(part: slice) -> Tensor:
            selection = self.variant.selection
            made = (
                reconstruct_from_selected(x[part], weights, selection)
                if selection
                else reconstruct_from_all(x[part], weights)
            )
            active[part] = made.active
            return (made.images - x[part]).square().sum()

        self.loss += self.descent.step(loss_of, len(x)) * len(x)
        self.energy += float(x.square().sum(dtype=torch.float64))
        self.wins += active.sum(0)
