"""The winner-take-all kernels in plain torch operations: any device, any float type, no compiler.

Shapes as in `training.winners`: maps flattened to rows (R, H * W); patches (N, M, C, k, k) gathered from padded images.
"""

import torch
from torch import Tensor


def row_maxima(rows: Tensor, values: Tensor, positions: Tensor) -> None:
    """Write each row's maximum, (R,), and the first place of it, (R,) int32."""
    best, place = rows.max(1)
    values.copy_(best)
    positions.copy_(place)


def _patch_index(positions: Tensor, kernel: int, width: int, channels: int, padded_shape: torch.Size) -> Tensor:
    """Flat places (N, M * C * k * k) of each winner's patch in a padded image (C, H + 2h, W + 2h)."""
    _, _, padded_height, padded_width = padded_shape
    device = positions.device
    corner = (positions // width).long() * padded_width + (positions % width).long()
    steps = torch.arange(kernel, device=device)
    window = steps[:, None] * padded_width + steps
    planes = torch.arange(channels, device=device) * (padded_height * padded_width)
    offsets = (planes[:, None, None] + window).flatten()
    return (corner[:, :, None] + offsets).flatten(1)


def paint(canvas: Tensor, values: Tensor, positions: Tensor, decoder: Tensor, width: int) -> None:
    """Add values[n, m] * decoder[m] into canvas[n], (N, C, H + 2h, W + 2h), at each winner's place."""
    _, channels, kernel, _ = decoder.shape
    index = _patch_index(positions, kernel, width, channels, canvas.shape)
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
    """Gradients of P (M, C, k, k), b (M,) and W (M, C, k, k) from dE/dx^ `error` (N, C, H + 2h, W + 2h)."""
    maps, channels, kernel, _ = decoder.shape
    index = _patch_index(positions, kernel, width, channels, padded.shape)
    shape = (len(padded), maps, channels * kernel * kernel)
    error_patches = error.flatten(1).gather(1, index).view(shape)
    decoder_gradient.copy_(torch.einsum("nm,nmp->mp", values, error_patches).view_as(decoder))
    activation_gradient = torch.einsum("nmp,mp->nm", error_patches, decoder.flatten(1)) * (values > 0)
    bias_gradient.copy_(activation_gradient.sum(0))
    image_patches = padded.flatten(1).gather(1, index).view(shape)
    encoder_gradient.copy_(torch.einsum("nm,nmp->mp", activation_gradient, image_patches).view_as(decoder))
