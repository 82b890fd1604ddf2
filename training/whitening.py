"""uint8 images in, the first layer's input out: scaling, or contrast normalisation and fitted whitening.

Letters: N images, C channels, H W positions, d = C * H * W.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from training import parallel
from training.config import RunConfig
from training.sources import ImageSource
from training.splits import DataError

FIT_IMAGES = 1024
"""Images measured at a time, at most."""
FIT_NUMBERS = FIT_IMAGES * 32 * 32 * 3
"""Numbers of theirs, at most: larger images go fewer at a time."""
MOST_NUMBERS = 64 * 64 * 3
"""Of an image that is whitened: its covariance and what is made of it already take 5 GB."""


def to_planes(images: Tensor) -> Tensor:
    """uint8 (N, H, W, C) to float32 (N, C, H, W), grey levels 0 to 255."""
    return images.permute(0, 3, 1, 2).float().contiguous()


def normalise_contrast(planes: Tensor, epsilon: float) -> Tensor:
    """Global contrast normalisation: each image minus its mean, over the root of its variance + epsilon.

    Args:
        planes: float32 (N, C, H, W), grey levels 0 to 255.
        epsilon: in squared grey levels; keeps flat images flat (Coates et al. 2011, section 3.1).
    """
    centred = planes - planes.mean((1, 2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean((1, 2, 3), keepdim=True) + epsilon)


class PixelScaling(nn.Module):
    """Pixels to [0, 1]: what a data set of near-binary images needs."""

    kind = "none"

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, C) to float32 (N, C, H, W)."""
        return to_planes(images) / 255.0

    def to_pixels(self, planes: Tensor) -> Tensor:
        """What an input (N, C, H, W) looks like as a picture: itself."""
        return planes


class Whitening(nn.Module):
    """Contrast normalisation, the training mean taken off, then a symmetric linear map of the whole image.

    Args:
        mean: (C, H, W) mean of the contrast-normalised training images.
        epsilon: see `normalise_contrast`.
    """

    kind: str
    mean: Tensor

    def __init__(self, mean: Tensor, epsilon: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.epsilon = epsilon

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, C) to whitened float32 (N, C, H, W)."""
        return self.whiten(normalise_contrast(to_planes(images), self.epsilon) - self.mean)

    def whiten(self, planes: Tensor) -> Tensor:
        """The linear map, (N, C, H, W) to the same."""
        raise NotImplementedError  # abstract: each kind of whitening is a subclass

    def to_pixels(self, planes: Tensor) -> Tensor:
        """The inverse map: which contrast-normalised picture (N, C, H, W) becomes this input."""
        raise NotImplementedError  # abstract, as above


class ContrastNormalisation(Whitening):
    """No linear map: what the paper calls raw images, of even brightness and contrast."""

    kind = "contrast"

    @classmethod
    def fit(cls, mean: Tensor, covariance: Tensor, contrast_epsilon: float, epsilon: float) -> "ContrastNormalisation":
        """From the mean (C, H, W) of contrast-normalised images; nothing else counts."""
        return cls(mean, contrast_epsilon)

    def whiten(self, planes: Tensor) -> Tensor:
        """See `Whitening`."""
        return planes

    def to_pixels(self, planes: Tensor) -> Tensor:
        """See `Whitening`."""
        return planes


class ZcaWhitening(Whitening):
    """ZCA of the whole image: x U diag(1 / sqrt(l + epsilon)) U^T, with U, l the covariance's eigenpairs.

    Args:
        matrix: (d, d) symmetric.
        inverse: (d, d), its inverse.
    """

    kind = "zca"
    matrix: Tensor
    inverse: Tensor

    def __init__(self, mean: Tensor, epsilon: float, matrix: Tensor, inverse: Tensor) -> None:
        super().__init__(mean, epsilon)
        self.register_buffer("matrix", matrix)
        self.register_buffer("inverse", inverse)

    @classmethod
    def fit(cls, mean: Tensor, covariance: Tensor, contrast_epsilon: float, epsilon: float) -> "ZcaWhitening":
        """From mean (C, H, W) and covariance float64 (d, d) of contrast-normalised images."""
        values, vectors = torch.linalg.eigh(covariance)
        root = (values.clamp(min=0) + epsilon).sqrt()
        matrix, inverse = (vectors / root) @ vectors.T, (vectors * root) @ vectors.T
        # float16 numbers, so that the exported matrix is half the size and exactly the one the filters were learnt on
        return cls(mean, contrast_epsilon, matrix.half().float(), inverse.float())

    def whiten(self, planes: Tensor) -> Tensor:
        """See `Whitening`."""
        return (planes.flatten(1) @ self.matrix).view_as(planes)

    def to_pixels(self, planes: Tensor) -> Tensor:
        """See `Whitening`."""
        return (planes.flatten(1) @ self.inverse).view_as(planes)


class SeparableWhitening(Whitening):
    """ZCA in a basis that is a product of a colour, a row and a column basis: V (x) R (x) S.

    The bases are the eigenvectors of the colours', the rows' and the columns' covariance, the gains
    1 / sqrt(variance + epsilon) of each of their d products. Images are so nearly stationary that this differs little
    from ZCA of the whole image, but it takes 2 d (C + H + W) multiplications an image instead of d^2.

    Args:
        colors: V (C, C), rows: R (H, H), columns: S (W, W): orthonormal, one basis vector a column.
        gains: (C, H, W).
    """

    kind = "separable"
    colors: Tensor
    rows: Tensor
    columns: Tensor
    gains: Tensor

    def __init__(
        self, mean: Tensor, epsilon: float, colors: Tensor, rows: Tensor, columns: Tensor, gains: Tensor
    ) -> None:
        super().__init__(mean, epsilon)
        for name, value in (("colors", colors), ("rows", rows), ("columns", columns), ("gains", gains)):
            self.register_buffer(name, value)

    @classmethod
    def fit(cls, mean: Tensor, covariance: Tensor, contrast_epsilon: float, epsilon: float) -> "SeparableWhitening":
        """From mean (C, H, W) and covariance float64 (d, d) of contrast-normalised images."""
        parts = covariance.view(*mean.shape, *mean.shape)
        colors = torch.linalg.eigh(torch.einsum("chwdhw->cd", parts))[1]
        rows = torch.linalg.eigh(torch.einsum("chwcgw->hg", parts))[1]
        columns = torch.linalg.eigh(torch.einsum("chwchv->wv", parts))[1]
        # the variance along each product of basis vectors: rotate both sides, one axis at a time, keep the diagonal
        half = torch.einsum("chwdgv,ca,hb,wk->abkdgv", parts, colors, rows, columns)
        variance = torch.einsum("abkdgv,da,gb,vk->abk", half, colors, rows, columns)
        gains = (variance.clamp(min=0) + epsilon).rsqrt()
        return cls(mean, contrast_epsilon, colors.float(), rows.float(), columns.float(), gains.float())

    def rotate(self, planes: Tensor) -> Tensor:
        """Coordinates (N, C, H, W) in the product basis."""
        return torch.einsum("ca,nchw->nahw", self.colors, self.rows.T @ planes @ self.columns)

    def rotate_back(self, coordinates: Tensor) -> Tensor:
        """Inverse of `rotate`: the bases are orthonormal."""
        return self.rows @ torch.einsum("ca,nahw->nchw", self.colors, coordinates) @ self.columns.T

    def whiten(self, planes: Tensor) -> Tensor:
        """See `Whitening`."""
        return self.rotate_back(self.rotate(planes) * self.gains)

    def to_pixels(self, planes: Tensor) -> Tensor:
        """See `Whitening`."""
        return self.rotate_back(self.rotate(planes) / self.gains)


Preprocessing = PixelScaling | Whitening
KINDS: dict[str, type[ContrastNormalisation] | type[ZcaWhitening] | type[SeparableWhitening]] = {
    "contrast": ContrastNormalisation,
    "zca": ZcaWhitening,
    "separable": SeparableWhitening,
}


def measure(
    images: ImageSource, contrast_epsilon: float, device: torch.device | None = None, mean_only: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean (C, H, W) float32 and covariance (d, d) float64 of contrast-normalised images, in one pass.

    Args:
        images: uint8 (N, H, W, C); read in blocks, shared between the processes of a job.
        contrast_epsilon: see `normalise_contrast`.
        device: where to compute; the results are on the processor.
        mean_only: leaves the covariance (0, 0), and the memory that it takes.
    """
    _, height, width, channels = images.shape
    size = channels * height * width
    side = 0 if mean_only else size
    total = torch.zeros(size, dtype=torch.float64, device=device)
    products = torch.zeros(side, side, dtype=torch.float64, device=device)
    first, last = parallel.share(0, len(images))
    step = max(1, min(FIT_IMAGES, FIT_NUMBERS // size))
    for start in range(first, last, step):
        block = torch.from_numpy(images[start : min(start + step, last)]).to(device)
        flat = normalise_contrast(to_planes(block), contrast_epsilon).flatten(1)
        total += flat.sum(0)
        products += flat[:, :side].T @ flat[:, :side]
    mean, products = parallel.sum_(total.cpu()) / len(images), parallel.sum_(products.cpu())
    covariance = products / len(images) - torch.outer(mean[:side], mean[:side])
    return mean.float().view(channels, height, width), covariance


def fit(images: ImageSource, config: RunConfig, device: torch.device | None = None) -> Preprocessing:
    """What `config.whitening` asks for, fitted on training images uint8 (N, H, W, C)."""
    if config.whitening == "none":
        return PixelScaling()
    size, mean_only = math.prod(images.shape[1:]), config.whitening == "contrast"
    if size > MOST_NUMBERS and not mean_only:
        raise DataError(
            f"whitening {config.whitening}: images of {size:,} numbers are too large, its covariance would take "
            f"{8 * size**2 / 1e9:.0f} GB; --whitening contrast needs none, and a smaller --size less"
        )
    mean, covariance = measure(images, config.contrast_epsilon, device, mean_only)
    return KINDS[config.whitening].fit(mean, covariance, config.contrast_epsilon, config.whitening_epsilon)


def restore(state: dict[str, Any], config: RunConfig) -> Preprocessing:
    """Rebuild from a saved `state_dict`."""
    if config.whitening == "none":
        return PixelScaling()
    mean = state.pop("mean")
    return KINDS[config.whitening](mean, config.contrast_epsilon, **state)
