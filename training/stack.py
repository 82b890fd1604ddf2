"""Trained layers in, the frozen feature extractor out: uint8 images to feature vectors."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from training.framing import WHOLE, Framing
from training.sca import SparseConvAutoencoder
from training.whitening import Preprocessing

PAINTED_FILTERS = 256
"""Filters made into pictures at a time."""


class FeatureExtractor(nn.Module):
    """Framing, preprocessing, then layers with their sparsity off, each pooled (paper, sections 2.1, 2.2 and 3.3).

    Args:
        preprocessing: uint8 (N, H, W, C) to the first layer's input.
        layers: bottom first.
        framing: samples to what `preprocessing` takes. Each of a sample's V views goes its own way through the same
            layers; their maps are concatenated at the end.
        mirrored: maps are the mean of the image's and of its mirror image's, left to right.
        all_layers: features are the maps of all layers, and not of the top one alone.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        layers: Sequence[SparseConvAutoencoder],
        framing: Framing = WHOLE,
        mirrored: bool = False,
        all_layers: bool = False,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.framing, self.mirrored, self.all_layers = framing, mirrored, all_layers
        self.layers = nn.ModuleList(layers)

    def stack(self) -> list[SparseConvAutoencoder]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, SparseConvAutoencoder)]

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """The top layer's pooled maps: uint8 (N, H, W, V * C) to float32 (N, V * M, H', W')."""
        return self.averaged(self._through, images)

    def _through(self, images: Tensor) -> Tensor:
        x = deque(self._stages(images), maxlen=1).pop()  # a list would keep the maps of all layers in memory
        return x.reshape(len(images), self.framing.views * x.shape[1], *x.shape[2:])

    def _stages(self, images: Tensor) -> Iterator[Tensor]:
        """The views, preprocessed, and then each layer's pooled maps (N * V, M, h, w)."""
        x: Tensor = self.preprocessing(self.framing(images))
        yield x
        for layer in self.layers:
            x = layer(x)
            yield x

    def _side_by_side(self, images: Tensor) -> Tensor:
        _, *stages = self._stages(images)
        return torch.cat([maps.reshape(len(images), -1) for maps in stages], 1)

    def averaged(self, maps: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """What `maps` makes of uint8 images (N, H, W, V * C) or, if mirrored, its mean over them and their mirrors."""
        return (maps(images) + maps(images.flip(2))) / 2 if self.mirrored else maps(images)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features: uint8 (N, H, W, V * C) to float32 (N, D), D the sum of V * M * H' * W' over their layers."""
        return self.averaged(self._side_by_side, images) if self.all_layers else self.maps(images).flatten(1)

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
        """Each layer's output shape (M, H', W') for one view of samples of this size."""
        height, width = self.framing.size(height, width)
        shapes = []
        for layer in self.stack():
            shape = layer.output_shape(height, width)
            shapes.append(shape)
            _, height, width = shape
        return shapes

    def output_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (V * M, H', W') of `maps` for a sample of this size."""
        maps, rows, columns = self.shapes(height, width)[-1]
        return self.framing.views * maps, rows, columns

    def feature_maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """The maps that features come from, those of a layer together: how many, and features of each, H' * W'.

        Args:
            height: H of a sample, in pixels.
            width: W of a sample, in pixels.
        """
        shapes = self.shapes(height, width)
        return [(self.framing.views * m, rows * columns) for m, rows, columns in shapes[0 if self.all_layers else -1 :]]

    def feature_count(self, height: int, width: int) -> int:
        """D, for samples of this size."""
        return sum(maps * features for maps, features in self.feature_maps(height, width))

    @torch.no_grad()
    def pixel_filters(self, height: int, width: int) -> list[Tensor]:
        """Each layer's decoder filters as pictures, (M, C, h, w): what one active unit adds to the image.

        A layer's filter is painted through the decoders below it, each unit of a pooled map at the middle of its
        window, then through the inverse of the whitening; cut to the receptive field.

        Args:
            height: H of a sample, in pixels.
            width: W of a sample, in pixels.
        """
        height, width = self.framing.size(height, width)
        pictures = []
        for index, layer in enumerate(self.stack()):
            # some at a time: spread over the pixels, the filters of a wide layer would fill gigabytes
            filters = layer.decoder.detach()
            parts = [filters[i : i + PAINTED_FILTERS] for i in range(0, len(filters), PAINTED_FILTERS)]
            pictures.append(torch.cat([self._paint(part, index, height, width) for part in parts]))
        return pictures

    def _paint(self, patch: Tensor, index: int, height: int, width: int) -> Tensor:
        """Filters (M, C, k, k) of layer `index`, from 0, as pictures."""
        for below in reversed(self.stack()[:index]):
            patch = _unpool_and_decode(patch, below)
        _, channels, rows, columns = patch.shape
        rows, columns = min(rows, height), min(columns, width)
        top, left = (height - rows) // 2, (width - columns) // 2
        above, before = (patch.shape[2] - rows) // 2, (patch.shape[3] - columns) // 2
        canvas = patch.new_zeros(len(patch), channels, height, width)
        inner = patch[:, :, above : above + rows, before : before + columns]
        canvas[:, :, top : top + rows, left : left + columns] = inner
        pixels: Tensor = self.preprocessing.to_pixels(canvas)
        return pixels[:, :, top : top + rows, left : left + columns]


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
