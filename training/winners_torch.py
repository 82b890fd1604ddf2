"""The winner-take-all kernels in plain torch operations: any device, any float type, no compiler.

Images are channels last and padded by h on each side, so that a winner's patch is k * k rows of C numbers. Maps are
taken in blocks, so that their patches never take more than `PATCH_BYTES`: all of layer 2's would be 13 GB.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

PATCH_BYTES = 256 << 20
"""Of patches at a time."""
GPU_PATCH_BYTES = 4 << 30
"""The same on a GPU: few large operations instead of many small ones."""


def find(activations: Tensor, values: Tensor, positions: Tensor) -> None:
    """Write the largest of activations (N, H * W, M) over places, (N, M), and its first place, (N, M) int32."""
    best, place = activations.max(1)
    values.copy_(best)
    positions.copy_(place)


def _blocks(values: Tensor, filters: Tensor) -> Iterator[slice]:
    """Maps, as many at a time as may have their patches in memory."""
    patch_bytes = len(values) * filters[0].numel() * filters.element_size()
    block = max(1, (GPU_PATCH_BYTES if values.device.type == "cuda" else PATCH_BYTES) // patch_bytes)
    for start in range(0, len(filters), block):
        yield slice(start, start + block)


def _rows(positions: Tensor, width: int, kernel: int, padded: Tensor) -> Tensor:
    """Each winner's patch as rows (N, M, k * k) of `padded` (N, H + 2h, W + 2h, C), counted over all images."""
    count, padded_height, padded_width, _ = padded.shape
    steps = torch.arange(kernel, device=padded.device)
    window = (steps[:, None] * padded_width + steps).flatten()
    first = torch.arange(count, device=padded.device)[:, None] * (padded_height * padded_width)
    corner = first + (positions // width).long() * padded_width + (positions % width).long()
    return corner[:, :, None] + window


def paint(canvas: Tensor, values: Tensor, positions: Tensor, decoder: Tensor, width: int) -> None:
    """Add values[n, m] * decoder[m], (M, k, k, C), into canvas[n], (N, H + 2h, W + 2h, C), at each winner's place."""
    flat = canvas.view(-1, canvas.shape[3])  # never a copy: it is written to
    for maps in _blocks(values, decoder):
        rows = _rows(positions[:, maps], width, decoder.shape[1], canvas)
        patches = values[:, maps, None, None] * decoder[maps].flatten(1, 2)
        flat.index_add_(0, rows.flatten(), patches.flatten(0, 2))


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
    images, errors = padded.flatten(0, 2), error.flatten(0, 2)
    for maps in _blocks(values, decoder):
        rows, codes = _rows(positions[:, maps], width, decoder.shape[1], padded), values[:, maps]
        shape = decoder[maps].shape
        error_patches = errors[rows].flatten(2)
        decoder_gradient[maps] = torch.einsum("nm,nmp->mp", codes, error_patches).view(shape)
        slopes = torch.einsum("nmp,mp->nm", error_patches, decoder[maps].flatten(1)) * (codes > 0)
        bias_gradient[maps] = slopes.sum(0)
        encoder_gradient[maps] = torch.einsum("nm,nmp->mp", slopes, images[rows].flatten(2)).view(shape)
