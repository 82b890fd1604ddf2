"""Trained layers in, the frozen feature extractor out: uint8 images to feature vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.sca import SparseConvAutoencoder
from training.whitening import Preprocessing


class FeatureExtractor(nn.Module):
    """Preprocessing, then layers with their sparsity off, each pooled (paper, sections 2.1 and 2.2).

    Args:
        preprocessing: uint8 (N, H, W, C) to the first layer's input.
        layers: bottom first.
    """

    def __init__(self, preprocessing: Preprocessing, layers: Sequence[SparseConvAutoencoder]) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.layers = nn.ModuleList(layers)

    def stack(self) -> list[SparseConvAutoencoder]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, SparseConvAutoencoder)]

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """The top layer's pooled maps: uint8 (N, H, W, C) to float32 (N, M, H', W')."""
        x: Tensor = self.preprocessing(images)
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        """Features: uint8 (N, H, W, C) to float32 (N, D), D = M * H' * W'."""
        return self.maps(images).flatten(1)

    @torch.no_grad()
    def embedding(self, maps: Tensor) -> Tensor:
        """A short vector for similarity search: each top map's mean in four quadrants.

        Args:
            maps: float32 (N, M, H', W'), from `maps`.

        Returns:
            float32 (N, 4 M), less where H' or W' is 1.
        """
        kernel, stride = quadrants(*maps.shape[2:])
        return nn.functional.avg_pool2d(maps, kernel, stride).flatten(1)

    def shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """Each layer's output shape (M, H', W') for images of this size."""
        shapes = []
        for layer in self.stack():
            shape = layer.output_shape(height, width)
            shapes.append(shape)
            _, height, width = shape
        return shapes

    @torch.no_grad()
    def pixel_filters(self, height: int, width: int) -> list[Tensor]:
        """Each layer's decoder filters as pictures, (M, C, h, w): what one active unit adds to the image.

        A layer's filter is painted through the decoders below it, each unit of a pooled map at the middle of its
        window, then through the inverse of the whitening; cut to the receptive field.
        """
        pictures = []
        for index, layer in enumerate(self.stack()):
            patch = layer.decoder.detach()
            for below in reversed(self.stack()[:index]):
                patch = _unpool_and_decode(patch, below)
            pictures.append(self._dewhiten(patch, height, width))
        return pictures

    def _dewhiten(self, patch: Tensor, height: int, width: int) -> Tensor:
        _, channels, rows, columns = patch.shape
        rows, columns = min(rows, height), min(columns, width)
        patch = patch[:, :, :rows, :columns]
        top, left = (height - rows) // 2, (width - columns) // 2
        out = torch.empty_like(patch)
        for i in range(0, len(patch), 256):
            canvas = patch.new_zeros(len(patch[i : i + 256]), channels, height, width)
            canvas[:, :, top : top + rows, left : left + columns] = patch[i : i + 256]
            pixels = self.preprocessing.to_pixels(canvas)
            out[i : i + 256] = pixels[:, :, top : top + rows, left : left + columns]
        return out


def quadrants(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel and stride that halve a map in both directions; the halves of an odd side share its middle."""
    return ((height + 1) // 2, (width + 1) // 2), (max(1, height // 2), max(1, width // 2))


def _unpool_and_decode(patch: Tensor, below: SparseConvAutoencoder) -> Tensor:
    """A picture (M, C, h, w) of pooled maps as a picture of the layer's input, (M, C', h', w')."""
    stride = below.config.pool_stride
    maps, channels, rows, columns = patch.shape
    spread = patch.new_zeros(maps, channels, (rows - 1) * stride + 1, (columns - 1) * stride + 1)
    spread[:, :, ::stride, ::stride] = patch
    # painting decoder filters at every place of a map is the transposed convolution with them
    return nn.functional.conv_transpose2d(spread, below.decoder.detach())
