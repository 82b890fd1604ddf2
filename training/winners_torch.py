"""The winner-take-all kernels in plain torch operations: any device, any float type, no compiler.

Images are channels last; a winner's patch is gathered from an image padded by h on each side.
"""

import torch
from torch import Tensor


def find(activations: Tensor, values: Tensor, positions: Tensor) -> None:
    """Write the largest of activations (N, H * W, M) over places, (N, M), and its first place, (N, M) int32."""
    best, place = activations.max(1)
    values.copy_(best)
    positions.copy_(place)


def _patch_index(positions: Tensor, width: int, filters: Tensor, padded_width: int) -> Tensor:
    """Flat places (N, M * k * k * C) of each winner's patch in a padded image (H + 2h, W + 2h, C)."""
    _, kernel, _, channels = filters.shape
    device = positions.device
    corner = (positions // width).long() * padded_width + (positions % width).long()
    steps = torch.arange(kernel, device=device)
    window = (steps[:, None] * padded_width + steps).flatten()
    offsets = (window[:, None] * channels + torch.arange(channels, device=device)).flatten()
    return (corner[:, :, None] * channels + offsets).flatten(1)


def paint(canvas: Tensor, values: Tensor, positions: Tensor, decoder: Tensor, width: int) -> None:
    """Add values[n, m] * decoder[m], (M, k, k, C), into canvas[n], (N, H + 2h, W + 2h, C), at each winner's place."""
    index = _patch_index(positions, width, decoder, canvas.shape[2])
    patches = values[:, :, None] * decoder.flatten(1)
    canvas.flatten(1).scatter_add_(1, index, patches.flatten(1))


def backward(
    padded: Tensor,
    error: Tensor,
    values: Tensor,
    positions: Tensor,
    decoder: Tensor,
    width: int,
    encoder_gradient: Tensor,
    bias_gradient: Tensor,
    decoder_gradient: Tensor,
) -> None:
    """Gradients of P (M, k, k, C), b (M,) and W (M, k, k, C) from dE/dx^ `error` (N, H + 2h, W + 2h, C)."""
    index = _patch_index(positions, width, decoder, padded.shape[2])
    shape = (*values.shape, -1)
    error_patches = error.flatten(1).gather(1, index).view(shape)
    decoder_gradient.copy_(torch.einsum("nm,nmp->mp", values, error_patches).view_as(decoder))
    slopes = torch.einsum("nmp,mp->nm", error_patches, decoder.flatten(1)) * (values > 0)
    bias_gradient.copy_(slopes.sum(0))
    image_patches = padded.flatten(1).gather(1, index).view(shape)
    encoder_gradient.copy_(torch.einsum("nm,nmp->mp", slopes, image_patches).view_as(decoder))
