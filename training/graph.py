"""A feature extractor and a probe in, one ONNX graph out: uint8 pixels to `features`, `logits` and `embedding`.

Written node by node instead of traced: what is folded into what is then a decision and not an accident, and the file
is the same to the byte for the same weights.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from training.config import LayerConfig
from training.framing import Framing
from training.probe import Probe
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor, quadrants
from training.whitening import (
    ContrastNormalisation,
    PixelScaling,
    Preprocessing,
    SeparableWhitening,
    Whitening,
    ZcaWhitening,
)

OPSET = 18
IR_VERSION = 9
"""What onnxruntime 1.14 and Triton 23.03 already read."""


class GraphWriter:
    """Collects nodes and constants; each node's one output is named after what it holds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node; returns the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Tensor | npt.NDArray[Any]) -> str:
        """Add an initializer; returns its name."""
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def build(extractor: FeatureExtractor, probe: Probe, height: int, width: int, facts: Mapping[str, Any]) -> bytes:
    """Serialise the model.

    Args:
        extractor: the frozen network.
        probe: the linear classifier on its features.
        height: H of a sample, in pixels.
        width: W of a sample, in pixels.
        facts: what goes into `metadata_props`, as JSON, each name prefixed `sca.`.

    Returns:
        The bytes of `model.onnx`: `images` uint8 (N, H, W, V * C) to float32 `features` (N, D), `logits` (N, K) and
        `embedding` (N, E).
    """
    writer = GraphWriter()
    layers = extractor.stack()
    pixels = _framing(writer, extractor.framing, height, width, layers[0].channels)
    x, first_filters = _preprocess(writer, extractor.preprocessing, layers[0], pixels)
    sizes = [
        extractor.framing.size(height, width),
        *((rows, columns) for _, rows, columns in extractor.shapes(height, width)),
    ]
    for index, layer in enumerate(layers, 1):
        x = _layer(writer, layer, first_filters if index == 1 else layer.encoder, index, x, sizes[index - 1])
    views = extractor.framing.views
    _flatten(writer, x, views, probe.weights.shape[0], "features")
    weights = [writer.constant("probe.weights", probe.weights), writer.constant("probe.bias", probe.bias)]
    writer.add("Gemm", ["features", *weights], "logits")
    short = _embedding(writer, x, views, *extractor.shapes(height, width)[-1])
    size, classes = probe.weights.shape
    graph = helper.make_graph(
        writer.nodes,
        "sca",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", height, width, views * layers[0].channels])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", size]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", short]),
        ],
        writer.constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="sca-features"
    )
    helper.set_model_props(model, {f"sca.{k}": json.dumps(v, ensure_ascii=False) for k, v in sorted(facts.items())})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _framing(writer: GraphWriter, framing: Framing, height: int, width: int, channels: int) -> str:
    """Samples (N, H, W, V * C) to grey levels float32 (N * V, h, w, C) of the part of each view that is looked at."""
    x, window = "images", framing.window
    if window is not None:
        top, left = framing.corner(height, width)
        first = writer.constant("window.first", np.array([top, left], np.int64))
        last = writer.constant("window.last", np.array([top + window.crop, left + window.crop], np.int64))
        axes = writer.constant("window.axes", np.array([1, 2], np.int64))
        x = writer.add("Slice", [x, first, last, axes], "inner")
        height = width = window.crop
    if framing.views > 1:
        apart = writer.constant("views.apart", np.array([0, height, width, framing.views, channels], np.int64))
        x = writer.add("Transpose", [writer.add("Reshape", [x, apart], "apart")], "views", perm=[0, 3, 1, 2, 4])
        stacked = writer.constant("views.stacked", np.array([-1, height, width, channels], np.int64))
        x = writer.add("Reshape", [x, stacked], "stacked")
    pixels = writer.add("Cast", [x], "pixels", to=TensorProto.FLOAT)
    if window is None or window.reduce == 1:
        return pixels
    squares = np.array([-1, window.size, window.reduce, window.size, window.reduce, channels], np.int64)
    tiles = writer.add("Reshape", [pixels, writer.constant("window.squares", squares)], "squares")
    means = writer.add(
        "ReduceMean", [tiles, writer.constant("in_a_square", np.array([2, 4], np.int64))], "means", keepdims=0
    )
    return writer.add("Round", [means], "small")


def _flatten(writer: GraphWriter, maps: str, views: int, size: int, name: str) -> None:
    """Maps (N * V, M, h, w) to rows (N, V * M * h * w) of this size."""
    if views == 1:
        writer.add("Flatten", [maps], name, axis=1)
    else:
        together = writer.constant(f"{name}.together", np.array([-1, size], np.int64))
        writer.add("Reshape", [maps, together], name)


def _preprocess(
    writer: GraphWriter, preprocessing: Preprocessing, first: SparseConvAutoencoder, pixels: str
) -> tuple[str, Tensor]:
    """Write the preprocessing; returns its output and the first layer's filters, which may take part of it on."""
    if isinstance(preprocessing, PixelScaling):
        # the scale goes into the filters, where it costs nothing
        return writer.add("Transpose", [pixels], "input", perm=[0, 3, 1, 2]), first.encoder.detach() / 255
    normal = _contrast(writer, pixels, preprocessing.epsilon)
    if isinstance(preprocessing, SeparableWhitening):
        return _separable(writer, normal, preprocessing, first)
    if isinstance(preprocessing, ContrastNormalisation):
        return _centred(writer, normal, preprocessing), first.encoder
    if isinstance(preprocessing, ZcaWhitening):
        return _zca(writer, normal, preprocessing), first.encoder
    raise TypeError(f"no graph for {type(preprocessing).__name__}")


def _contrast(writer: GraphWriter, pixels: str, epsilon: float) -> str:
    """Global contrast normalisation, (N, 1, H * W * C): one node, where its definition takes eight."""
    row = writer.add("Reshape", [pixels, writer.constant("one_row", np.array([0, 1, -1], np.int64))], "row")
    gain, shift = (writer.constant(f"contrast.{k}", np.full(1, v, np.float32)) for k, v in (("gain", 1), ("shift", 0)))
    return writer.add("InstanceNormalization", [row, gain, shift], "contrast", epsilon=epsilon)


def _separable(
    writer: GraphWriter, normal: str, whitening: SeparableWhitening, first: SparseConvAutoencoder
) -> tuple[str, Tensor]:
    """Rotate, scale, rotate back; the way back through the colours goes into the first layer's filters.

    Rows of pixels stay (N, H, W * C) all the way: products from the right act on columns and colours at once, products
    from the left on rows, and nothing is transposed in between.
    """
    channels, height, width = whitening.mean.shape
    size = writer.constant("rows_of_an_image", np.array([0, height, width * channels], np.int64))
    rows = writer.add("Reshape", [normal, size], "pixel_rows")
    across = torch.kron(whitening.columns, whitening.colors)
    turned = writer.add("MatMul", [rows, writer.constant("whitening.across", across)], "turned")
    rotated = writer.add("MatMul", [writer.constant("whitening.rows_t", whitening.rows.T), turned], "rotated")
    scaled = writer.add("Mul", [rotated, writer.constant("whitening.gains", _in_rows(whitening.gains))], "scaled")
    offset = _in_rows(whitening.rotate(whitening.mean[None])[0] * whitening.gains)
    shifted = writer.add("Sub", [scaled, writer.constant("whitening.offset", offset)], "shifted")
    back = writer.add("MatMul", [writer.constant("whitening.rows", whitening.rows), shifted], "back")
    columns = torch.kron(whitening.columns.T.contiguous(), torch.eye(channels))
    white = writer.add("MatMul", [back, writer.constant("whitening.columns_t", columns)], "white_rows")
    size = writer.constant("size_of_an_image", np.array([0, height, width, channels], np.int64))
    white = writer.add("Reshape", [white, size], "white")
    folded = first.encoder.detach().permute(0, 2, 3, 1) @ whitening.colors
    return writer.add("Transpose", [white], "input", perm=[0, 3, 1, 2]), folded.permute(0, 3, 1, 2)


def _in_rows(planes: Tensor) -> Tensor:
    """Planes (C, H, W) as rows (H, W * C)."""
    return planes.permute(1, 2, 0).flatten(1)


def _centred(writer: GraphWriter, normal: str, whitening: Whitening) -> str:
    """Planes (N, C, H, W) less the training mean."""
    channels, height, width = whitening.mean.shape
    size = writer.constant("size_of_an_image", np.array([0, height, width, channels], np.int64))
    image = writer.add("Reshape", [normal, size], "contrast_image")
    mean = writer.constant("whitening.mean", whitening.mean.permute(1, 2, 0))
    return writer.add("Transpose", [writer.add("Sub", [image, mean], "without_mean")], "input", perm=[0, 3, 1, 2])


def _zca(writer: GraphWriter, normal: str, whitening: ZcaWhitening) -> str:
    """One matrix for the whole image, kept as float16 and widened when the model is loaded."""
    channels, height, width = whitening.mean.shape
    flat = writer.add("Reshape", [normal, writer.constant("flat_size", np.array([0, -1], np.int64))], "flat")
    # pixels come in (H, W, C), planes go out; the training mean comes off afterwards, as what the matrix makes of it
    matrix = whitening.matrix.view(channels, height, width, -1).permute(1, 2, 0, 3).flatten(0, 2)
    half = writer.constant("whitening.matrix_half", matrix.half())
    matrix_name = writer.add("Cast", [half], "whitening.matrix", to=TensorProto.FLOAT)
    offset = -(whitening.mean.flatten().double() @ whitening.matrix.double()).float()
    white = writer.add("Gemm", [flat, matrix_name, writer.constant("whitening.offset", offset)], "white")
    shape = writer.constant("planes_shape", np.array([-1, channels, height, width], np.int64))
    return writer.add("Reshape", [white, shape], "input")


def _layer(
    writer: GraphWriter, layer: SparseConvAutoencoder, filters: Tensor, index: int, x: str, size: tuple[int, int]
) -> str:
    """Convolution, rectifier, pooling of an input of H x W positions; runtimes fuse the first two."""
    name, config = f"layer{index}", layer.config
    weights = [
        writer.constant(f"{name}.encoder", filters),
        writer.constant(f"{name}.encoder_bias", layer.encoder_bias),
    ]
    begin, pool_begin = [config.kernel // 2] * 2, [config.pool_width // 2] * 2
    end, pool_end = ([ends[i] for ends in (_ends(side, config) for side in size)] for i in (0, 1))
    maps = writer.add("Conv", [x, *weights], f"{name}.maps", kernel_shape=[config.kernel] * 2, pads=begin + end)
    active = writer.add("Relu", [maps], f"{name}.active")
    return writer.add(
        "MaxPool",
        [active],
        f"{name}.pooled",
        kernel_shape=[config.pool_width] * 2,
        strides=[config.pool_stride] * 2,
        pads=pool_begin + pool_end,
    )


def _ends(side: int, config: LayerConfig) -> tuple[int, int]:
    """Padding after the last position of a side, for convolution and pooling: none for what no window reaches.

    Of the paper's 32 positions, windows of 5 at every fourth reach 31: a sixteenth of the maps is not computed at all.
    """
    pad, pool_pad = config.kernel // 2, config.pool_width // 2
    windows = (side + 2 * pool_pad - config.pool_width) // config.pool_stride + 1
    reached = (windows - 1) * config.pool_stride + config.pool_width - pool_pad
    kept = max(min(side, reached), side - pad)
    return pad - (side - kept), max(0, reached - kept)


def _embedding(writer: GraphWriter, pooled: str, views: int, maps: int, height: int, width: int) -> int:
    """Average the top maps in quadrants, as `FeatureExtractor.embedding` does; returns E."""
    kernel, stride = quadrants(height, width)
    means = writer.add("AveragePool", [pooled], "quadrants", kernel_shape=list(kernel), strides=list(stride))
    rows, columns = ((size - k) // s + 1 for size, k, s in zip((height, width), kernel, stride, strict=True))
    length = views * maps * rows * columns
    _flatten(writer, means, views, length, "embedding")
    return length
