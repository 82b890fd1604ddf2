"""Filters of a layer → a PNG: one, or all in a grid, each scaled to its own contrast."""

import io
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.bundle import Bundle
from service.errors import Malformed, NotFound

Kind = Literal["decoder", "encoder"]
MAX_PICTURE_PIXELS = 16_000_000
_GAP = 1  # unscaled pixels between two filters
_PAPER = 255


def pick_filters(bundle: Bundle, layer: int, kind: Kind) -> NDArray[np.float32]:
    """Reads the filters of a layer in a form that can be drawn.

    Returns:
        float32 (maps, h, w, 1 or 3); filters over the maps of another layer come as their projections to pixels.

    Raises:
        NotFound: There is no such layer, or its filters of this kind have no picture.
    """
    layers = {known.layer: known for known in bundle.manifest.layers}
    if layer not in layers:
        raise NotFound(f"{bundle.name} has no layer {layer}; it has {', '.join(map(str, layers))}.")
    arrays: dict[str, NDArray[Any]] = bundle.arrays("filters.npz")
    filters = arrays.get(f"layer{layer}_{kind}" if layer == 1 or kind == "encoder" else f"layer{layer}_pixels")
    below, strides = arrays.get(f"layer{layer - 1}_pixels"), [layers[n].pool_stride for n in range(1, layer)]
    if layer > 1 and kind == "encoder" and filters is not None and below is not None and None not in strides:
        filters = paint(filters, below, math.prod(stride or 1 for stride in strides))
    if filters is not None and filters.ndim == 4 and filters.shape[1] in (1, 3):
        return np.ascontiguousarray(filters.transpose(0, 2, 3, 1), np.float32)
    raise NotFound(f"The {kind} filters of layer {layer} of {bundle.name} have no picture: they are not over pixels.")


def paint(filters: NDArray[Any], below: NDArray[Any], stride: int) -> NDArray[np.float32]:
    """Projects filters over maps to pixels: what the units that a filter listens to write, each by its weight.

    Args:
        filters: float32 (maps, maps below, k, k).
        below: What a unit of each map below writes, float32 (maps below, C, h, w).
        stride: Pixels between neighbours in the maps below.

    Returns:
        float32 (maps, C, stride * (k - 1) + h, stride * (k - 1) + w).
    """
    maps, inputs, rows, columns = filters.shape
    _, channels, height, width = below.shape
    size = (maps, channels, stride * (rows - 1) + height, stride * (columns - 1) + width)
    picture = np.zeros(size, np.float32)
    written = below.reshape(inputs, -1)
    for row, column in np.ndindex(rows, columns):
        part = (filters[:, :, row, column] @ written).reshape(maps, channels, height, width)
        picture[:, :, row * stride : row * stride + height, column * stride : column * stride + width] += part
    return picture


def draw_filter(filters: NDArray[np.float32], index: int, scale: int) -> bytes:
    """Draws one filter.

    Args:
        filters: float32 (maps, h, w, 1 or 3).
        index: Which, from 0.
        scale: Edge of the square that each value becomes, in pixels.

    Raises:
        NotFound: There is no such filter.
    """
    if not 0 <= index < len(filters):
        raise NotFound(f"There is no filter {index}; there are {len(filters)}, from 0.")
    return _png(_contrasted(filters[index : index + 1])[0], scale)


def draw_grid(filters: NDArray[np.float32], scale: int, columns: int | None) -> bytes:
    """Draws all filters in rows, from the top left.

    Args:
        filters: float32 (maps, h, w, 1 or 3).
        scale: Edge of the square that each value becomes, in pixels.
        columns: Filters in a row; about as many as rows if None.

    Raises:
        Malformed: More columns than filters, or the picture would be too large.
    """
    maps, height, width, channels = filters.shape
    columns = math.ceil(math.sqrt(maps)) if columns is None else columns
    if columns > maps:
        raise Malformed(f"columns is {columns}, but there are {maps} filters.", limit=maps, actual=columns)
    rows = math.ceil(maps / columns)
    cell_height, cell_width = height + _GAP, width + _GAP
    pixels = (rows * cell_height + _GAP) * (columns * cell_width + _GAP) * scale * scale
    if pixels > MAX_PICTURE_PIXELS:
        raise Malformed(
            "The picture would be too large; ask for a smaller scale.", limit=MAX_PICTURE_PIXELS, actual=pixels
        )
    grid = np.full((rows * cell_height + _GAP, columns * cell_width + _GAP, channels), _PAPER, np.uint8)
    for index, picture in enumerate(_contrasted(filters)):
        top = index // columns * cell_height + _GAP
        left = index % columns * cell_width + _GAP
        grid[top : top + height, left : left + width] = picture
    return _png(grid, scale)


def _contrasted(filters: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scales each filter from its own least to its own greatest value; a constant one is mid-grey."""
    low = filters.min(axis=(1, 2, 3), keepdims=True)
    span = filters.max(axis=(1, 2, 3), keepdims=True) - low
    scaled = np.where(span > 0, (filters - low) / np.where(span > 0, span, 1), 0.5)
    pictures: NDArray[np.uint8] = np.rint(scaled * 255).astype(np.uint8)
    return pictures


def _png(pixels: NDArray[np.uint8], scale: int) -> bytes:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
