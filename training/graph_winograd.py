"""A layer over few channels in, its nodes by Winograd's minimal filtering out: half the multiplications.

F(4, 3) of Lavin and Gray 2015 (arXiv:1509.09308, section 4.3), along the rows: four neighbouring sums of three products
each are had from six products instead of twelve. Wider filters are cut into parts of three columns, whose products add
up before they are brought back. In the paper's first layer that leaves 121 multiplications a position of 243, and the
way there and back costs a third of what is saved.

    columns   V = B d    six numbers for each four positions and part of a filter: a product with a matrix
    products  M = U V    six matrix products, U = G g for filters g
    maps      Y = A M    four neighbouring positions, in four planes
    pooling              down the planes, then across: a window takes some planes of its own tile and some of the last
"""

import json

import numpy as np
import numpy.typing as npt

from training.graph_layer import Layer
from training.graph_writer import GraphWriter
from training.winograd import FILTER_TO_POINTS, FROM_POINTS, POINTS, TAPS, TILE, TO_POINTS

PART = TAPS
"""Columns of a filter's part."""
MAPS_AT_ONCE = 512
"""Maps whose products are in memory together, at most; fewer at a time take longer."""
PRODUCTS = POINTS * MAPS_AT_ONCE * 32 * 8
"""Products in memory together, at most: those of so many maps of an image of 32 x 32, 3 MB."""
MOST_CHANNELS = 4
"""Those of pictures; maps have more channels and fewer positions, for which filters in six forms are much to read."""
LEAST_MAPS = 256
"""Maps share the way there: 128 of them take as long either way."""
LEAST_SAVED = 100
"""Multiplications a position from which the way there and back pays: it takes as long as 40 to 80."""

Floats = npt.NDArray[np.float64]


def pays(layer: Layer, size: tuple[int, int]) -> bool:
    """Whether to write a layer over H x W positions this way: its windows fit the tiles, and enough is saved."""
    channels, before = layer.filters.shape[1], layer.pool_pads[1]
    own = layer.pool_width - before
    reached = (layer.windows(size)[1] - 1) * TILE + own
    fits = layer.pool_stride == TILE and before >= 1 and 1 <= own <= TILE and reached <= size[1]
    saved = channels * layer.kernel * (layer.kernel - _parts(layer) * POINTS / TILE)
    many = len(layer.filters) >= LEAST_MAPS
    return fits and many and channels <= MOST_CHANNELS and saved >= LEAST_SAVED


def _parts(layer: Layer) -> int:
    """Parts of a filter, side by side."""
    return -(-layer.kernel // PART)


def write_layer(writer: GraphWriter, layer: Layer, name: str, x: str, size: tuple[int, int]) -> str:
    """Nodes from an input (N, C, H, W) to pooled maps (N, M, h, w); returns the name of the latter.

    Args:
        writer: takes the nodes.
        layer: one for which this pays.
        name: of the layer, in front of the names of its nodes.
        x: the input's name.
        size: H and W.
    """
    columns, pooled = _write_columns(writer, layer, name, x, size), []
    step = _maps_at_once(layer, size)
    for number, start in enumerate(range(0, len(layer.filters), step)):
        suffix = "" if len(layer.filters) <= step else f".{number}"
        part = layer.part(start, step)
        planes = _write_planes(writer, part, name, suffix, columns, size)
        pooled.append(_write_across(writer, part, name, suffix, planes, size))
        writer.nodes[-1].doc_string = _described(part, x, f"{name}.filters{suffix}", f"{name}.bias{suffix}")
    return pooled[0] if len(pooled) == 1 else writer.add("Concat", pooled, f"{name}.pooled", axis=1)


def _maps_at_once(layer: Layer, size: tuple[int, int]) -> int:
    """Maps whose products fit, in sixteens, of which a processor's registers take one."""
    fit = PRODUCTS // (POINTS * layer.rows(size[0]) * layer.windows(size)[1])
    return min(MAPS_AT_ONCE, max(16, fit // 16 * 16))


def _write_columns(writer: GraphWriter, layer: Layer, name: str, x: str, size: tuple[int, int]) -> str:
    """V, one column of numbers for each tile: (N, 6, parts * C * k, rows * tiles)."""
    channels, parts, rows, tiles = layer.filters.shape[1], _parts(layer), layer.rows(size[0]), layer.windows(size)[1]
    matrix = writer.constant(f"{name}.to_points", _to_points(layer, size).astype(np.float32))
    points = writer.add("MatMul", [x, matrix], f"{name}.points")
    apart = np.array([0, channels, size[0], POINTS * parts, tiles], np.int64)
    points = writer.add("Reshape", [points, writer.constant(f"{name}.points_apart", apart)], f"{name}.points_of_rows")
    points = writer.add("Transpose", [points], f"{name}.points_first", perm=[0, 3, 1, 2, 4])
    around = np.array([0, 0, 0, layer.pads[0], 0, 0, 0, 0, layer.pads[2], 0], np.int64)
    padded = writer.add("Pad", [points, writer.constant(f"{name}.around", around)], f"{name}.padded")
    under = writer.constant(f"{name}.taps", np.arange(layer.kernel)[:, None] + np.arange(rows))
    taps = writer.add("Gather", [padded, under], f"{name}.rows_of_taps", axis=3)
    flat = np.array([0, POINTS, parts * channels * layer.kernel, rows * tiles], np.int64)
    return writer.add("Reshape", [taps, writer.constant(f"{name}.columns_size", flat)], f"{name}.columns")


def _to_points(layer: Layer, size: tuple[int, int]) -> Floats:
    """What rows (W) are multiplied with from the right: (W, 6 * parts * tiles); padding has no row."""
    width, tiles = size[1], layer.windows(size)[1]
    out = np.zeros((width, POINTS, _parts(layer), tiles))
    for tile in range(tiles):
        for part in range(_parts(layer)):
            first = tile * TILE + part * PART - layer.pads[1]
            for tap in range(max(0, -first), min(POINTS, width - first)):
                out[first + tap, :, part, tile] = TO_POINTS[:, tap]
    return out.reshape(width, -1)


def _write_planes(
    writer: GraphWriter, layer: Layer, name: str, suffix: str, columns: str, size: tuple[int, int]
) -> str:
    """Products and maps, pooled down their columns: (N, 4, M, h, tiles), without bias."""
    maps, rows, tiles = len(layer.filters), layer.rows(size[0]), layer.windows(size)[1]
    filters = writer.constant(f"{name}.filters{suffix}", _filters_to_points(layer).astype(np.float32))
    products = writer.add("MatMul", [filters, columns], f"{name}.products{suffix}")
    flat = writer.constant(f"{name}.flat{suffix}", np.array([0, POINTS, maps * rows * tiles], np.int64))
    products = writer.add("Reshape", [products, flat], f"{name}.flat_products{suffix}")
    back = writer.constant(f"{name}.from_points{suffix}", FROM_POINTS.astype(np.float32))
    planes = writer.add("MatMul", [back, products], f"{name}.map_planes{suffix}")
    apart = writer.constant(f"{name}.planes_size{suffix}", np.array([0, TILE, maps, rows, tiles], np.int64))
    planes = writer.add("Reshape", [planes, apart], f"{name}.planes{suffix}")
    down = {"kernel_shape": [1, layer.pool_width, 1], "strides": [1, TILE, 1]}
    pads = [0, layer.pool_pads[0], 0, 0, layer.pool_pads[2], 0]
    return writer.add("MaxPool", [planes], f"{name}.pooled_down{suffix}", **down, pads=pads)


def _write_across(writer: GraphWriter, layer: Layer, name: str, suffix: str, planes: str, size: tuple[int, int]) -> str:
    """Bias, pooling over the planes of a tile and of the one before it, rectifier: (N, M, h, w).

    What is before the first tile is zero, which changes no maximum that the rectifier lets through.
    """
    high, tiles = layer.windows(size)
    each = writer.split(planes, [f"{name}.plane{index}{suffix}" for index in range(TILE)], axis=1)
    bias = writer.constant(f"{name}.bias{suffix}", layer.bias.reshape(1, 1, -1, 1, 1))
    own = writer.add("Max", each[: layer.pool_width - layer.pool_pads[1]], f"{name}.own_planes{suffix}")
    own = writer.add("Add", [own, bias], f"{name}.own{suffix}")
    last = writer.add("Max", each[TILE - layer.pool_pads[1] :], f"{name}.last_planes{suffix}")
    last = writer.add("Add", [last, bias], f"{name}.last{suffix}")
    step = writer.constant(f"{name}.one_tile_on{suffix}", np.eye(tiles, k=1, dtype=np.float32))
    last = writer.add("MatMul", [last, step], f"{name}.last_moved{suffix}")
    active = writer.add("Relu", [writer.add("Max", [own, last], f"{name}.both{suffix}")], f"{name}.rectified{suffix}")
    pooled = writer.constant(f"{name}.pooled_size{suffix}", np.array([0, len(layer.bias), high, tiles], np.int64))
    return writer.add("Reshape", [active, pooled], f"{name}.pooled{suffix}")


def _filters_to_points(layer: Layer) -> Floats:
    """U, (6, M, parts * C * k), in the order of the columns."""
    maps, channels, kernel, _ = layer.filters.shape
    wide = np.zeros((maps, channels, kernel, _parts(layer) * PART))
    wide[..., :kernel] = layer.filters
    wide = wide.reshape(maps, channels, kernel, -1, PART)
    in_order = np.einsum("ft,mcyat->fmacy", FILTER_TO_POINTS, wide)
    return np.ascontiguousarray(in_order).reshape(POINTS, maps, -1)


def _described(layer: Layer, x: str, filters: str, bias: str) -> str:
    """What the nodes stand for, so that `training.graph_restored` can bring it back."""
    facts = {"x": x, "filters": filters, "bias": bias, "channels": layer.filters.shape[1], "kernel": layer.kernel}
    facts |= {"pads": layer.pads, "pool_width": layer.pool_width, "pool_pads": layer.pool_pads}
    return json.dumps({"winograd": facts}, sort_keys=True)
