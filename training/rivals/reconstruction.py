"""Images, filters and survivors in, the reconstruction out; differentiable, at the cost of the survivors only.

Letters: N images, C channels, H W positions, M maps, k filter width, h = k // 2, S survivors of an image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.rivals.selection import Selection


@dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder makes of images.

    Attributes:
        images: x^, (N, C, H, W).
        active: bool (N, M), whether each map has a unit above zero.
    """

    images: Tensor
    active: Tensor


@dataclass(frozen=True)
class Weights:
    """An autoencoder's parameters: P (M, C, k, k), b (M,), W (M, C, k, k) as it is painted, b' (C,)."""

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor

    def activations(self, x: Tensor) -> Tensor:
        """P * x + b, (N, M, H, W), from (N, C, H, W)."""
        return functional.conv2d(x, self.encoder, self.encoder_bias, padding=self.encoder.shape[-1] // 2)


def reconstruct_from_all(x: Tensor, weights: Weights) -> Reconstruction:
    """Every unit survives: x^ = sum_i W_i * relu(P_i * x + b_i) + b', x (N, C, H, W)."""
    units = weights.activations(x).relu()
    margin = weights.decoder.shape[-1] // 2
    painted = functional.conv_transpose2d(units, weights.decoder, weights.decoder_bias, padding=margin)
    return Reconstruction(painted, units.detach().amax((2, 3)) > 0)


def reconstruct_from_selected(x: Tensor, weights: Weights, selection: Selection) -> Reconstruction:
    """Only selected units survive; gradients are those of dense autograd through the same mask.

    The forward convolution, which finds them, is the only dense one: survivors are then computed again from their
    patches, and painted one by one.
    """
    with torch.no_grad():
        maps, positions = selection.select(weights.activations(x).permute(0, 2, 3, 1).flatten(1, 2))
    count, channels, height, width = x.shape
    kernel, margin = weights.decoder.shape[-1], weights.decoder.shape[-1] // 2
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, margin, margin, margin, margin))
    index = _patch_index(positions, width, kernel, channels)
    shape = (*maps.shape, kernel * kernel * channels)
    patches = padded.flatten(1).gather(1, index).view(shape)
    values = ((patches * _rows(weights.encoder, maps)).sum(2) + weights.encoder_bias[maps]).relu()
    painted = (values[:, :, None] * _rows(weights.decoder, maps)).flatten(1)
    canvas = torch.zeros_like(padded).flatten(1).scatter_add(1, index, painted).view_as(padded)
    inside = canvas[:, margin : margin + height, margin : margin + width] + weights.decoder_bias
    active = torch.zeros(count, len(weights.encoder), dtype=torch.bool, device=x.device)
    images, survivors = torch.nonzero(values.detach() > 0, as_tuple=True)
    active[images, maps[images, survivors]] = True
    return Reconstruction(inside.permute(0, 3, 1, 2), active)


def _rows(filters: Tensor, maps: Tensor) -> Tensor:
    """The filters (M, C, k, k) of maps (N, S), as (N, S, k * k * C)."""
    return functional.embedding(maps, filters.permute(0, 2, 3, 1).flatten(1))


def _patch_index(positions: Tensor, width: int, kernel: int, channels: int) -> Tensor:
    """Flat places (N, S * k * k * C) in padded images (H + 2h, W + 2h, C) of the patches at positions (N, S)."""
    padded = width + 2 * (kernel // 2)
    steps = torch.arange(kernel, device=positions.device)
    window = (steps[:, None] * padded + steps).flatten()
    offsets = (window[:, None] * channels + torch.arange(channels, device=positions.device)).flatten()
    corners = (positions // width * padded + positions % width) * channels
    return (corners[:, :, None] + offsets).flatten(1)
