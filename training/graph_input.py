"""A framing and a fitted preprocessing in, their nodes out: uint8 pixels to the first layer's input."""

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from training.graph_mirror import write_mirror
from training.graph_writer import GraphWriter
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor
from training.whitening import (
    ContrastNormalisation,
    PixelScaling,
    Preprocessing,
    SeparableWhitening,
    Whitening,
    ZcaWhitening,
)


def write_framing(writer: GraphWriter, extractor: FeatureExtractor, height: int, width: int) -> str:
    """Samples (N, H, W, V * C) to grey levels float32 (N * V, h, w, C) of the part of each view that is looked at.

    Of a mirrored extractor the mirror images follow, (2 * N * V, h, w, C).
    """
    frame, channels = extractor.framing, extractor.stack()[0].channels
    x, window = "images", frame.window
    if extractor.mirrored:
        x = write_mirror(writer, x)
    if window is not None:
        top, left = frame.corner(height, width)
        first = writer.constant("window.first", np.array([top, left], np.int64))
        last = writer.constant("window.last", np.array([top + window.crop, left + window.crop], np.int64))
        axes = writer.constant("window.axes", np.array([1, 2], np.int64))
        x = writer.add("Slice", [x, first, last, axes], "inner")
        height = width = window.crop
    if frame.views > 1:
        apart = writer.constant("views.apart", np.array([0, height, width, frame.views, channels], np.int64))
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


def write_preprocessing(
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
