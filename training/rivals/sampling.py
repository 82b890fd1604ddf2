"""Images in; random patches, normalised in contrast, and their whitening out (Coates, Lee and Ng 2011, section 3.1).

A patch is a row of d = C * p * p numbers, channel by channel, so that `row.view(C, p, p)` is its picture.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.sources import Pixels
from training.workers import alone

DRAW = 50_000
"""Patches cut at a time."""


def sample_patches(images: Pixels, count: int, size: int, seed: int) -> Tensor:
    """Cut patches at random places of random images.

    Args:
        images: uint8 (N, H, W, C).
        count: patches to cut.
        size: p, their width and height.
        seed: seeds the choice.

    Returns:
        float32 (count, d), grey levels 0 to 255.

    Raises:
        ValueError: the images are smaller than a patch.
    """
    number, height, width, channels = images.shape
    if size > min(height, width):
        raise ValueError(f"patches of {size} x {size} do not fit images of {height} x {width}")
    rng = np.random.default_rng(seed)
    # in the order of the images: neighbouring reads
    chosen = np.sort(rng.integers(0, number, count))
    rows = rng.integers(0, height - size + 1, count)
    columns = rng.integers(0, width - size + 1, count)
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    out = torch.empty(count, channels * size * size)
    for start in range(0, count, DRAW):
        part = slice(start, start + DRAW)
        out[part] = torch.from_numpy(windows[chosen[part], rows[part], columns[part]]).flatten(1)
    return out[torch.from_numpy(rng.permutation(count))]


def normalise_patches(patches: Tensor, epsilon: float) -> Tensor:
    """Each patch minus its mean, over the root of its variance (of d - 1 degrees of freedom) + epsilon.

    Args:
        patches: (n, d), grey levels 0 to 255.
        epsilon: in squared grey levels; 10 in Coates et al.
    """
    centred = patches - patches.mean(1, keepdim=True)
    variance = centred.square().sum(1, keepdim=True) / (patches.shape[1] - 1)
    return centred * torch.rsqrt(variance + epsilon)


@dataclass(frozen=True)
class PatchWhitening:
    """ZCA of patches: x = (q - mean) @ matrix.

    Attributes:
        mean: (d,) float32.
        matrix: (d, d) float32, symmetric.
        inverse: (d, d) float32, its inverse.
    """

    mean: Tensor
    matrix: Tensor
    inverse: Tensor

    @classmethod
    def fit(cls, patches: Tensor, epsilon: float) -> "PatchWhitening":
        """From normalised patches (n, d); `epsilon` is added to each eigenvalue of their covariance."""
        mean = patches.double().mean(0)
        with alone():  # the order of a product's sums may depend on the threads
            # the product in float32 is what costs, and is exact to 1e-6 of the variances
            covariance = (patches.T @ patches).double() / len(patches) - torch.outer(mean, mean)
            values, vectors = torch.linalg.eigh(covariance)
            root = (values.clamp(min=0) + epsilon).sqrt()
            matrix, inverse = (vectors / root) @ vectors.T, (vectors * root) @ vectors.T
        return cls(mean.float(), matrix.float(), inverse.float())

    @classmethod
    def none(cls, size: int) -> "PatchWhitening":
        """The map of d numbers that changes nothing."""
        return cls(torch.zeros(size), torch.eye(size), torch.eye(size))

    def __call__(self, patches: Tensor) -> Tensor:
        """Normalised patches (n, d) to whitened ones."""
        return (patches - self.mean) @ self.matrix
