"""One convolution, rectifier, max-pooling and a linear classifier: what the supervised rival trains."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.sca import SparseConvAutoencoder
from training.winners import channels_last


class Network(nn.Module):
    """logits = V maxpool(relu(P * (x - mean) / deviation + b)) + c.

    Args:
        layer: the convolution and pooling of the sparse convolutional autoencoder; its decoder is left out.
        mean: (C,) of the input, deviation: a number.
        features: D.
        classes: K.
        dropout: share of the features that is dropped in training.
    """

    mean: Tensor

    def __init__(
        self, layer: SparseConvAutoencoder, mean: Tensor, deviation: float, features: int, classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.config, self.deviation, self.dropout = layer.config, deviation, dropout
        self.filters = nn.Parameter(layer.encoder.detach().clone())
        self.bias = nn.Parameter(torch.zeros(layer.config.maps))
        self.weights = nn.Parameter(torch.zeros(features, classes))
        self.offset = nn.Parameter(torch.zeros(classes))
        self.register_buffer("mean", mean.view(-1, 1, 1))

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """Logits (N, K) of (N, C, H, W); `kept` (N, D) are what dropout leaves, scaled."""
        x = channels_last((x - self.mean) / self.deviation)
        maps = functional.conv2d(x, self.filters, self.bias, padding=self.config.kernel // 2)
        pool = self.config.pool_width
        features = functional.max_pool2d(maps, pool, self.config.pool_stride, padding=pool // 2).relu().flatten(1)
        if kept is not None:
            features = features * kept
        return torch.addmm(self.offset, features, self.weights)
