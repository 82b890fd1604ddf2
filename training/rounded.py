"""Images and filters in, their convolution in bfloat16 out, and what the rounding may have done to it."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from training.compiled import compiled
from training.tiles import Floats, Tiles

Words = npt.NDArray[np.uint16]
"""bfloat16 numbers, which numpy does not know."""

ADDITION = 2.0**-14
"""The error of a sum in float32, as a share of |w| |x|: a hundred times what is seen at 12,800 numbers."""


@functools.cache
def fast() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@compiled()
def _round(numbers: npt.NDArray[np.uint32], values: Floats, words: Words, norms: Floats) -> None:
    """float32 to the nearest bfloat16; |w| and |w - w'| of each row."""
    rest = np.empty(values.shape[1], np.uint32)
    rounded = rest.view(np.float32)
    for m in range(len(values)):
        whole, lost = np.float32(0), np.float32(0)
        for q in range(values.shape[1]):
            bits = numbers[m, q]
            word = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            words[m, q] = word
            rest[q] = word << np.uint32(16)
        for q in range(values.shape[1]):
            value = values[m, q]
            left = value - rounded[q]
            whole += value * value
            lost += left * left
        norms[0, m], norms[1, m] = np.sqrt(whole), np.sqrt(lost)


@dataclass(frozen=True)
class RoundedImages:
    """A batch of images, rounded, and laid out so that a row of the convolution is one matrix product.

    Attributes:
        columns: (W * N, H * k * C) bfloat16: for each column of places, the k columns of pixels around it.
        norms: (2, N, H, W) float32, |x| and |x - x'| of each patch.
        tiles: the padded images.
    """

    columns: Tensor
    norms: Tensor
    tiles: Tiles

    @classmethod
    def of(cls, pixels: Tensor, kernel: int) -> "RoundedImages":
        """Images (N, H, W, C) float32 for filters of a width."""
        margin = kernel // 2
        rounded = pixels.bfloat16()
        wide = functional.pad(rounded, (0, 0, margin, margin)).unfold(2, kernel, 1)  # N, H, W, C, k
        columns = wide.permute(2, 0, 1, 4, 3).flatten(2).flatten(0, 1).flatten(1)
        energies = torch.stack([pixels.square().sum(3), (pixels - rounded.float()).square().sum(3)])
        sums = functional.avg_pool2d(energies, kernel, 1, margin, divisor_override=1)
        return cls(columns, sums.clamp_(min=0).sqrt(), Tiles.cut(pixels, kernel))


def scores(images: RoundedImages, weights: Tensor, kernel: int) -> Tensor:
    """(H, W, N, M) bfloat16: the convolution with weights (M, k * k * C) bfloat16, as a product for each row."""
    count, height, width = images.norms.shape[1:]
    products = torch.empty(height, width * count, len(weights), dtype=torch.bfloat16)
    row, margin = images.columns.shape[1] // height, kernel // 2
    for y in range(height):
        top, bottom = max(0, y - margin), min(height, y + margin + 1)  # what is outside is not multiplied
        first = (top - y + margin) * row
        part = weights[:, first : first + (bottom - top) * row]
        torch.mm(images.columns[:, top * row : bottom * row], part.t(), out=products[y])
    return products.view(height, width, count, -1)


def round_filters(filters: Tensor) -> tuple[Tensor, Tensor]:
    """(M, k * k * C) float32 as bfloat16, and (2, M) float32 |w| and |w - w'|, the sum's own error in the second."""
    words, norms = torch.empty(filters.shape, dtype=torch.bfloat16), torch.empty(2, len(filters))
    bits = filters.view(torch.uint32).numpy()
    _round(bits, filters.numpy(), words.view(torch.uint16).numpy(), norms.numpy())
    norms[1] += ADDITION * norms[0]
    return words, norms
