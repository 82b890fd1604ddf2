"""One layer of a sparse convolutional autoencoder: its parameters, its training step, its features."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from training import winners, winograd
from training.config import LayerConfig
from training.winners import channels_last


class SparseConvAutoencoder(nn.Module):
    """A convolutional autoencoder of which, in training, one unit a map survives (paper, section 2.1).

    In training::

        z_i = relu(P_i * x + b_i)                       i = 1 .. M
        z_i at all places but argmax(z_i) := 0
        x^  = sum_i W_i * z_i + b'
        E   = |x^ - x|^2

    Afterwards the sparsity is turned off, and the features are::

        y_i = maxpool(relu(P_i * x + b_i))

    Args:
        config: sizes and the initial filters' deviation.
        channels: C, the channels of the layer's input.
        seed: seeds the initial filters.
    """

    def __init__(self, config: LayerConfig, channels: int, seed: int) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        shape = (config.maps, channels, config.kernel, config.kernel)
        self.encoder = nn.Parameter(channels_last(torch.randn(shape, generator=generator) * config.init_std))
        self.encoder_bias = nn.Parameter(torch.zeros(config.maps))
        # Untied from the first step on, but equal at the start: a winner then moves towards what it reconstructs, where
        # an unrelated decoder may push it below zero for good.
        self.decoder = nn.Parameter(self.encoder.detach().clone())
        self.decoder_bias = nn.Parameter(torch.zeros(channels))

    @property
    def channels(self) -> int:
        """C, the channels of the layer's input."""
        return self.encoder.shape[1]

    def filters(self) -> winners.Filters:
        """P, b, W, b' without their autograd history; they share the parameters' memory."""
        return winners.Filters(
            self.encoder.detach(), self.encoder_bias.detach(), self.decoder.detach(), self.decoder_bias.detach()
        )

    def gradients(self) -> winners.Filters:
        """The parameters' `.grad` tensors, made on first use, for `winners.step` to write into."""
        for parameter in self.parameters():
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        grads = (self.encoder.grad, self.encoder_bias.grad, self.decoder.grad, self.decoder_bias.grad)
        return winners.Filters(*(grad for grad in grads if grad is not None))

    def output_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (M, H', W') of the features of an input (C, height, width)."""
        pool, stride = self.config.pool_width, self.config.pool_stride
        sizes = [(size + 2 * (pool // 2) - pool) // stride + 1 for size in (height, width)]
        return self.config.maps, sizes[0], sizes[1]

    def forward(self, x: Tensor) -> Tensor:
        """Features with the sparsity off: (N, C, H, W) float32 to (N, M, H', W') float32, none negative."""
        return self._pooled(
            functional.conv2d(channels_last(x), self.encoder, self.encoder_bias, padding=self.config.kernel // 2)
        )

    def frozen(self, height: int, width: int) -> Callable[[Tensor], Tensor]:
        """`forward` for many inputs of H x W positions, by filters that stay as they are, in its fastest form."""
        if not winograd.pays(self.encoder, height, width):
            return self
        convolution = winograd.FrozenConvolution(self.encoder, self.encoder_bias)
        return lambda x: self._pooled(convolution(x))

    def _pooled(self, maps: Tensor) -> Tensor:
        """Pooled and rectified, in this order: both are monotone, so the result is the same, from fewer numbers."""
        pool = self.config.pool_width
        return functional.max_pool2d(maps, pool, self.config.pool_stride, padding=pool // 2).relu_()
