"""The winner-take-all kernels as dense convolutions: more arithmetic than their sparse form, and less memory traffic.

On a GPU the winners' patches of a layer over many channels are gigabytes, which the sparse form writes and reads back
several times a step; multiplying by the zeros between the winners is faster there. The gradients are the same.
"""

from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from training.winners_torch import find

__all__ = ["backward", "find", "paint"]


def paint(canvas: Tensor, values: Tensor, positions: Tensor, decoder: Tensor, width: int) -> None:
    """Add values[n, m] * decoder[m], (M, k, k, C), into canvas[n], (N, H + 2h, W + 2h, C), at each winner's place."""
    maps = _maps(values, positions, canvas, decoder.shape[1], width)
    canvas += functional.conv_transpose2d(maps, _filters(decoder)).permute(0, 2, 3, 1)


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
    images, errors, kernel = padded.permute(0, 3, 1, 2), error.permute(0, 3, 1, 2), decoder.shape[1]
    everywhere = functional.conv2d(errors, _filters(decoder)).permute(0, 2, 3, 1).flatten(1, 2)
    slopes = everywhere.gather(1, positions.long()[:, None])[:, 0] * (values > 0)
    bias_gradient.copy_(slopes.sum(0))
    for gradient, source, winners in ((decoder_gradient, errors, values), (encoder_gradient, images, slopes)):
        maps = _maps(winners, positions, padded, kernel, width)
        shape = _filters(gradient).shape
        dense = conv2d_weight(source, shape, maps)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        gradient.copy_(dense.permute(0, 2, 3, 1))


def _filters(places: Tensor) -> Tensor:
    """(M, k, k, C) as (M, C, k, k), channels last."""
    return places.permute(0, 3, 1, 2)


def _maps(values: Tensor, positions: Tensor, canvas: Tensor, kernel: int, width: int) -> Tensor:
    """Each winner in a map of zeros: (N, M, H, W), channels last, for a canvas (N, H + 2h, W + 2h, C)."""
    height = canvas.shape[1] - kernel + 1
    maps = values.new_zeros(len(values), height * width, values.shape[1])
    maps.scatter_(1, positions.long()[:, None], values[:, None])
    return maps.view(len(values), height, width, -1).permute(0, 3, 1, 2)
