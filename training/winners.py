"""The winner-take-all step: images and filters in, loss and gradients out, at little more than one forward convolution.

An ordinary autoencoder step takes five dense convolutions. Here one unit a map is active, so only the first has to be
dense: it finds where each map is largest. From there on an image is M numbers at M places, and the decoder, its two
gradients and the encoder's gradient are sums over M patches of k x k x C values, a few per cent of the convolution's
work. The gradients are those of dense autograd through `winner-take-all(relu(conv))` (paper, section 2.1).

Letters: N images, C channels, H W positions, M maps, k filter width, h = k // 2. Everything is kept channels last: a
patch is then k runs of k * C neighbouring numbers, and the convolution is at its fastest.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from training import shortlist, winners_dense, winners_numba, winners_torch
from training.workers import spread

Backend = Literal["numba", "torch", "dense"]

CHUNK_BYTES = 4 << 20
"""Feature maps that a thread makes at a time: they are read back from cache for their maxima, not from memory."""
GPU_CHUNK_BYTES = 1 << 30
"""The same on a GPU, where only its memory is the limit."""


@dataclass(frozen=True)
class Filters:
    """The parameters of one layer, or their gradients, all float32 (fastest in `torch.channels_last`).

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


DENSE_CHANNELS = 32
"""Channels from which on a GPU is faster with dense convolutions: with 3 they take three times as long, with 128 two
thirds (one H200, float32)."""


def backend_for(device: torch.device, channels: int = 1) -> Backend:
    """The fastest backend for a device and a layer on so many channels.

    Compiled loops on the processor; elsewhere tensor operations, sparse or dense.
    """
    if device.type == "cpu":
        return "numba" if winners_numba.AVAILABLE else "torch"
    return "dense" if channels >= DENSE_CHANNELS else "torch"


def _kernels(backend: Backend | None, device: torch.device, channels: int) -> ModuleType:
    """The kernels of a backend, by default of the fastest one."""
    known: dict[Backend, ModuleType] = {"numba": winners_numba, "torch": winners_torch, "dense": winners_dense}
    return known[backend or backend_for(device, channels)]


def channels_last(tensor: Tensor) -> Tensor:
    """The same (N, C, H, W) with neighbouring channels in memory.

    Unlike `Tensor.contiguous` it also says so in the strides of a single channel: convolution picks its path by them.
    """
    if tensor.stride(1) == 1 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor
    return torch.empty_like(tensor, memory_format=torch.channels_last).copy_(tensor)


def _places(tensor: Tensor) -> Tensor:
    """(N, C, H, W) as contiguous (N, H, W, C)."""
    return channels_last(tensor).permute(0, 2, 3, 1)


def chunk_images(filters: Tensor, places: int, device: torch.device) -> int:
    """Images whose maps are made at a time: few enough for the cache, enough to read large filters seldom."""
    filter_bytes = 4 * filters.numel()
    limit = GPU_CHUNK_BYTES if device.type == "cuda" else max(CHUNK_BYTES, filter_bytes // 4)
    return max(1, limit // (4 * len(filters) * places))


def encode(images: Tensor, filters: Filters, backend: Backend | None = None) -> Code:
    """Find each map's winner.

    Args:
        images: (N, C, H, W) float32.
        filters: the layer's parameters.
        backend: how; by default the fastest one for the images' device.
    """
    kernels = _kernels(backend, images.device, images.shape[1])
    count, _, height, width = images.shape
    maps, _, kernel, _ = filters.encoder.shape
    values = images.new_empty(count, maps)
    positions = torch.empty(count, maps, dtype=torch.int32, device=images.device)
    images, weights = channels_last(images), channels_last(filters.encoder)
    if kernels is winners_numba and shortlist.pays(filters.encoder):
        tensors = _places(images), _places(filters.encoder), filters.encoder_bias
        shortlist.encode(*tensors, values, positions)
        return Code(values.relu_(), positions)
    chunk = chunk_images(filters.encoder, height * width, images.device)

    def find(start: int, stop: int) -> None:
        for first in range(start, stop, chunk):
            rows = slice(first, min(first + chunk, stop))
            activations = _places(functional.conv2d(images[rows], weights, filters.encoder_bias, padding=kernel // 2))
            kernels.find(activations.flatten(1, 2), values[rows], positions[rows])

    spread(find, count, images.device)
    return Code(values.relu_(), positions)


def decode(code: Code, filters: Filters, height: int, width: int, backend: Backend | None = None) -> Tensor:
    """Paint each winner's decoder filter into the image: x^ = sum_i W_i * z_i + b'.

    Returns:
        (N, C, height, width) float32.
    """
    margin = filters.decoder.shape[-1] // 2
    kernels = _kernels(backend, code.values.device, filters.decoder.shape[1])
    painted = _paint(code, filters, height, width, kernels)
    inside = painted[:, margin : margin + height, margin : margin + width] + filters.decoder_bias
    return inside.permute(0, 3, 1, 2)


def _paint(code: Code, filters: Filters, height: int, width: int, kernels: ModuleType) -> Tensor:
    """Sum of the winners' filters, (N, H + 2h, W + 2h, C): what falls outside the image stays in the margin."""
    channels, kernel = filters.decoder.shape[1], filters.decoder.shape[-1]
    canvas = code.values.new_zeros(len(code.values), height + kernel - 1, width + kernel - 1, channels)
    kernels.paint(canvas, code.values, code.positions, _places(filters.decoder), width)
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
    kernels = _kernels(backend, images.device, images.shape[1])
    count, _, height, width = images.shape
    margin = filters.encoder.shape[-1] // 2
    code = encode(images, filters, backend)
    pixels = _places(images)
    # the zero padding of the encoder, kept: the winners' patches are cut from it
    padded = functional.pad(pixels, (0, 0) + (margin,) * 4)
    error = _paint(code, filters, height, width, kernels)
    inside = error[:, margin : margin + height, margin : margin + width]
    inside += filters.decoder_bias - pixels
    loss = inside.square().sum() / count
    inside *= 2.0 / count  # now dE/dx^
    _clear_margin(error, margin)
    encoder, decoder = _places(gradients.encoder), _places(gradients.decoder)
    tensors = (padded, error, code.values, code.positions, _places(filters.decoder))
    kernels.backward(*tensors, width, encoder, gradients.encoder_bias, decoder)
    for gradient, written in ((gradients.encoder, encoder), (gradients.decoder, decoder)):
        if gradient.data_ptr() != written.data_ptr():  # it is not channels last itself
            gradient.copy_(written.permute(0, 3, 1, 2))
    torch.sum(error, (0, 1, 2), out=gradients.decoder_bias)
    return loss, code


def _clear_margin(canvas: Tensor, margin: int) -> None:
    """What was painted outside the image is no error: no gradient comes from there."""
    if margin:
        canvas[:, :margin] = 0
        canvas[:, -margin:] = 0
        canvas[:, :, :margin] = 0
        canvas[:, :, -margin:] = 0
