"""The winner-take-all step as the paper writes it: dense, in float64, differentiated by autograd."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.winners import Code, Filters


@dataclass(frozen=True)
class Dense:
    """What the paper's equations give.

    Attributes:
        activations: (N, M, H, W) float64, before the rectifier.
        loss: mean over images of |x^ - x|^2.
        gradients: dE/dP, dE/db, dE/dW, dE/db'.
    """

    activations: Tensor
    loss: float
    gradients: tuple[Tensor, ...]


def differentiate(images: Tensor, filters: Filters, code: Code, target: Tensor | None = None) -> Dense:
    """The paper: z = relu(P * x + b), all but the winners set to zero, x^ = sum W_i * z_i + b', E = mean |x^ - x|^2.

    Args:
        images: (N, C, H, W).
        filters: the layer's parameters.
        code: says which unit of each map is the winner, and whether it is on.
        target: what is reconstructed, if not the images.
    """
    x = images.double()
    target = x if target is None else target.double()
    wide = [tensor.double().requires_grad_() for tensor in filters.tensors()]
    encoder, encoder_bias, decoder, decoder_bias = wide
    margin = encoder.shape[-1] // 2
    activations = functional.conv2d(x, encoder, encoder_bias, padding=margin)
    mask = torch.zeros_like(activations).flatten(2)
    mask.scatter_(2, code.positions.long()[:, :, None], (code.values > 0).double()[:, :, None])
    winners = activations * mask.view_as(activations)
    reconstruction = functional.conv_transpose2d(winners, decoder, padding=margin) + decoder_bias[:, None, None]
    loss = (reconstruction - target).square().sum() / len(x)
    return Dense(activations.detach(), loss.item(), torch.autograd.grad(loss, wide))


def magnitudes(images: Tensor, filters: Filters, code: Code) -> Dense:
    """The same sums with every term's absolute value: what float32's rounding errors are proportional to."""
    positive = Filters(*(tensor.abs() for tensor in filters.tensors()))
    return differentiate(images.abs(), positive, code, target=-images.abs())
