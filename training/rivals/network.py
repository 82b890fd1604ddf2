"""One convolution, rectifier, max-pooling and a linear classifier: what the supervised rival trains."""

import torch
from torch import Tensor, nn

from training.rivals.pooled import pooled_maps
from training.sca import SparseConvAutoencoder


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
        x = (x - self.mean) / self.deviation
        features = pooled_maps(x, self.filters, self.bias, self.config.pool_width, self.config.pool_stride)
        if kept is not None:
            features = features * kept
        return torch.addmm(self.offset, features, self.weights)
