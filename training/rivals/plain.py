"""Images in, an autoencoder without any sparsity out: it copies the image, with filters of one pixel (Figure 2 (b))."""

from typing import Self

from torch import Tensor

from training.config import LayerConfig
from training.rivals.errors import NotFittedError
from training.rivals.variants import TrainedVariant, Variant, VariantFit
from training.sources import ImageSource
from training.whitening import PixelScaling, Preprocessing


def centre_share(filters: Tensor) -> Tensor:
    """Share (M,) of each filter's energy that its middle pixel has, of (M, C, k, k); 1 is a delta function."""
    energy = filters.square().sum(1)
    middle = filters.shape[-1] // 2
    return energy[:, middle, middle] / energy.sum((1, 2)).clamp(min=1e-30)


def peak_share(filters: Tensor) -> Tensor:
    """Share (M,) of each filter's energy that its strongest pixel has, wherever it is, of (M, C, k, k)."""
    energy = filters.square().sum(1).flatten(1)
    return energy.amax(1) / energy.sum(1).clamp(min=1e-30)


class PlainAutoencoder:
    """x^ = sum_i W_i * relu(P_i * x + b_i) + b', all units active, least squares.

    Args:
        maps: M.
        kernel: filter width, odd.
        seed: seeds the initial filters and the order of the images.
        preprocessing: uint8 (N, H, W, C) to the network's input; raw pixels by default.
        epochs: passes over the images.
        learning_rate: Adam's, at its peak.
    """

    def __init__(
        self,
        maps: int,
        kernel: int,
        seed: int = 0,
        preprocessing: Preprocessing | None = None,
        epochs: int = 4,
        learning_rate: float = 2e-3,
    ) -> None:
        # it pools nothing; windows of one place leave the maps as they are
        config = LayerConfig(maps, kernel, pool_width=1, pool_stride=1, epochs=epochs, learning_rate=learning_rate)
        self._fit = VariantFit(config, Variant(selection=None), preprocessing or PixelScaling(), seed)
        self._fitted: TrainedVariant | None = None

    def fit(self, images: ImageSource) -> Self:
        """Train on uint8 (N, H, W, C)."""
        self._fitted = self._fit.fit(images, "plain autoencoder")
        return self

    @property
    def trained(self) -> TrainedVariant:
        """The network and its loss.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if self._fitted is None:
            raise NotFittedError
        return self._fitted

    @property
    def encoder(self) -> Tensor:
        """P, (M, C, k, k)."""
        return self.trained.layer.encoder.detach()

    @property
    def decoder(self) -> Tensor:
        """W, (M, C, k, k), as it is painted into the image."""
        return self.trained.layer.decoder.detach()
