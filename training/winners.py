"""The winner-take-all step: images and filters in, loss and gradients out, at little more than one forward convolution.

An ordinary autoencoder step takes five dense convolutions. Here one unit a map is active, so only the first has to be
dense: it finds where each map is largest. From there on an image is M numbers at M places, and the decoder, its two
gradients and the encoder's gradient are sums over M patches of k x k x C values, a few per cent of the convolution's
work. The gradients are those of dense autograd through `winner-take-all(relu(conv))` (paper, section 2.1).

Letters: N images, C channels, H W positions, M maps, k filter width, h = k // 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from training import winners_numba, winners_torch

Backend = Literal["numba", "torch"]

CHUNK_BYTES = 8 << 20
"""Feature maps made at a time: small enough to be read back from cache for their maxima, not from memory."""


@dataclass(frozen=True)
class Filters:
    """The parameters of one layer, or their gradients, all float32.

    Attributes:
        encoder: P, (M, C, k, k).
        encoder_bias: b, (M,).
        decoder: W, (M, C, k, k), the filter as it is painted into the image.
        decoder_bias: b', (C,).
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """P, b, W, b' in this order."""
        return self.encoder, self.encoder_bias, self.decoder, self.decoder_bias

    def empty_like(self) -> "Filters":
        """Room for gradients."""
        return Filters(*(torch.empty_like(tensor) for tensor in self.tensors()))


@dataclass(frozen=True)
class Code:
    """The winner-take-all code of N images: one number and one place a map.

    Attributes:
        values: (N, M) float32, relu of each map's largest activation; 0 where the whole map is off.
        positions: (N, M) int32, the winner's place as row * W + column; the first of equals.
    """

    values: Tensor
    positions: Tensor


def backend_for(device: torch.device) -> Backend:
    """The fastest backend for a device: compiled loops on the processor, tensor operations elsewhere."""
    return "numba" if device.type == "cpu" and winners_numba.AVAILABLE else "torch"


def encode(images: Tensor, filters: Filters, backend: Backend | None = None) -> Code:
    """Find each map's winner.

    Args:
        images: (N, C, H, W) float32.
        filters: the layer's parameters.
        backend: how; by default the fastest one for the images' device.
    """
    backend = backend or backend_for(images.device)
    count, _, height, width = images.shape
    maps, _, kernel, _ = filters.encoder.shape
    values = images.new_empty(count, maps)
    positions = torch.empty(count, maps, dtype=torch.int32, device=images.device)
    chunk = count
    if images.device.type == "cpu":
        chunk = max(1, CHUNK_BYTES // (4 * maps * height * width))
    find: Callable[[Tensor, Tensor, Tensor], None]
    find = winners_numba.row_maxima if backend == "numba" else winners_torch.row_maxima
    for start in range(0, count, chunk):
        part = functional.conv2d(
            images[start : start + chunk], filters.encoder, filters.encoder_bias, padding=kernel // 2
        )
        stop = start + len(part)
        find(part.flatten(2).flatten(0, 1), values[start:stop].view(-1), positions[start:stop].view(-1))
    return Code(values.relu_(), positions)


def decode(code: Code, filters: Filters, height: int, width: int, backend: Backend | None = None) -> Tensor:
    """Paint each winner's decoder filter into the image: x^ = sum_i W_i * z_i + b'.

    Returns:
        (N, C, height, width) float32.
    """
    margin = filters.decoder.shape[-1] // 2
    backend = backend or backend_for(code.values.device)
    painted = _paint(code, filters, height, width, backend)
    return painted[:, :, margin : margin + height, margin : margin + width] + filters.decoder_bias[:, None, None]


def _paint(code: Code, filters: Filters, height: int, width: int, backend: Backend) -> Tensor:
    """Sum of the winners' filters, (N, C, H + 2h, W + 2h): what falls outside the image stays in the margin."""
    channels, kernel = filters.decoder.shape[1], filters.decoder.shape[-1]
    canvas = code.values.new_zeros(len(code.values), channels, height + kernel - 1, width + kernel - 1)
    paint = winners_numba.paint if backend == "numba" else winners_torch.paint
    paint(canvas, code.values, code.positions, filters.decoder, width)
    return canvas


def step(images: Tensor, filters: Filters, gradients: Filters, backend: Backend | None = None) -> tuple[Tensor, Code]:
    """Loss and gradients of E = mean over images of |x^ - x|^2 (summed over channels and positions).

    Args:
        images: (N, C, H, W) float32.
        filters: the layer's parameters.
        gradients: overwritten with dE/dP, dE/db, dE/dW, dE/db'.
        backend: how; by default the fastest one for the images' device.

    Returns:
        E, a scalar float32 tensor, and the code, whose winners carried the gradient.
    """
    backend = backend or backend_for(images.device)
    count, _, height, width = images.shape
    margin = filters.encoder.shape[-1] // 2
    code = encode(images, filters, backend)
    # the zero padding of the encoder, kept: the winners' patches are cut from it
    padded = functional.pad(images, (margin,) * 4)
    error = _paint(code, filters, height, width, backend)
    inside = error[:, :, margin : margin + height, margin : margin + width]
    inside += filters.decoder_bias[:, None, None] - images
    outside = error.clone()
    outside[:, :, margin : margin + height, margin : margin + width] = 0
    error -= outside  # what was painted outside the image is no error: no gradient comes from there
    loss = error.square().sum() / count
    error *= 2.0 / count  # now dE/dx^
    back = winners_numba.backward if backend == "numba" else winners_torch.backward
    back(padded, error, code.values, code.positions, filters.decoder, width, *gradients.tensors()[:3])
    torch.sum(error, (0, 2, 3), out=gradients.decoder_bias)
    return loss, code
