"""A convolution, rectified and max-pooled, whose gradient is made of the pools' winners alone.

A dense gradient costs as much as the convolution. Of 1024 places a map only the 64 that win their pool have one, those
that the rectifier lets through: a few per cent of the work. The numbers are autograd's, added up in another order.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from training.compiled import AVAILABLE, compiled
from training.winners import channels_last

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@compiled()
def _add_up(strips: Floats, run: int, slopes: Floats, places: Ints, result: Floats) -> None:
    width = np.int32(strips.shape[1])
    length = result.shape[1]
    for image in range(strips.shape[0]):
        for m in range(result.shape[0]):
            for p in range(slopes.shape[2]):
                slope = slopes[image, m, p]
                if slope != 0:  # a NaN goes on to the loss, which is watched
                    place = np.int32(places[image, m, p])
                    column, first = np.uintp(place % width), np.uintp(place // width * run)
                    for q in range(length):
                        result[m, np.uintp(q)] += slope * strips[image, column, first + np.uintp(q)]


def _strips(x: Tensor, kernel: int) -> Tensor:
    """Images (N, C, H, W), padded, cut into the strip under each column of patches: (N, W, (H + 2h) * k * C).

    The patch at a row and column is then one run of k * k * C neighbours.
    """
    padded = functional.pad(x, (kernel // 2,) * 4)
    return padded.unfold(3, kernel, 1).permute(0, 3, 2, 4, 1).flatten(2).contiguous()


def maps_of(x: Tensor, filters: Tensor, bias: Tensor) -> Tensor:
    """The convolution, with as many places as the image: (N, M, H, W)."""
    return functional.conv2d(channels_last(x), filters, bias, padding=filters.shape[2] // 2)


class _PooledMaps(torch.autograd.Function):
    """See `pooled_maps`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, bias: Tensor, width: int, stride: int) -> Tensor:
        maps = maps_of(x, filters, bias)
        pooled, places = functional.max_pool2d(maps, width, stride, padding=width // 2, return_indices=True)
        features = pooled.relu_().flatten(2)
        ctx.save_for_backward(x, features, places)
        ctx.filters = filters.shape
        return features.flatten(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, features, places = ctx.saved_tensors
        maps, channels, kernel, _ = ctx.filters
        slopes = gradients[0].view_as(features) * (features > 0)
        strips = _strips(x, kernel)
        result = torch.zeros(maps, kernel * kernel * channels)
        numbers = slopes.contiguous().numpy(), places.flatten(2).contiguous().numpy()
        _add_up(strips.numpy(), kernel * channels, *numbers, result.numpy())
        of_filters = result.view(maps, kernel, kernel, channels).permute(0, 3, 1, 2)
        return None, of_filters, slopes.sum((0, 2)), None, None


def pooled_maps(x: Tensor, filters: Tensor, bias: Tensor, width: int, stride: int) -> Tensor:
    """maxpool(relu(P * x + b)), flattened; no gradient goes to x.

    Args:
        x: (N, C, H, W) float32.
        filters: P, (M, C, k, k), k odd; the image is padded by k // 2.
        bias: b, (M,).
        width: of the pools, in places; the maps are padded by width // 2.
        stride: from pool to pool.

    Returns:
        (N, M * h * w), map after map.
    """
    if AVAILABLE and x.device.type == "cpu":
        features: Tensor = _PooledMaps.apply(x, filters, bias, width, stride)  # type: ignore[no-untyped-call]
        return features
    return functional.max_pool2d(maps_of(x, filters, bias), width, stride, padding=width // 2).relu().flatten(1)
