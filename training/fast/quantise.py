"""An exact graph and training images in, its `fast` variant out: the same network in 8-bit integers.

Convolution, pooling and probe run on integers, features come out as float32. How a number is written:

    input        x ~ s_c (q - z)    uint8; a scale for each channel, one zero point
    filters      w ~ t_m p          int8 in -63 .. 63; a scale for each map
    maps         y ~ u_m r          uint8; a scale for each map

Scales of channels and maps cost nothing: those of the input go into the filters before these are rounded, those of
the maps into the factor that every sum is multiplied with anyway. The rectifier is the zero point of r, and pooling
compares integers. A sum of two products is at most 2 x 255 x 63, which fits 16 bits: processors that add in 16 bits,
for want of VNNI, saturate nowhere and compute the same sums.
"""

from typing import NamedTuple

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from training.fast import unfolding
from training.fast.calibration import Range, measure
from training.fast.patterns import Block, Graph, Probe, as_float64, attributes, needed, permutation
from training.fast.unfolding import Floats
from training.graph_writer import GraphWriter
from training.sources import ImageSource

LEVELS = 63
"""Largest filter and probe weight."""
INPUT_ROOM = 1.1
"""Room beyond a channel's range: values further out are cut off. Chosen on training images not calibrated on."""
MAP_ROOM = 1.75
"""The same for pooled maps, whose far values are fewer and matter more."""
LARGEST_SUM = 2**31 - 1


class Quantised(NamedTuple):
    """A uint8 tensor (N, C, H, W): name, the scale of each channel (C,), zero point."""

    name: str
    scales: Floats
    zero_point: int


def build(exact: bytes, images: ImageSource, threads: int = 0) -> bytes:
    """Write the fast variant.

    Args:
        exact: bytes of `model.onnx`, from `training.graph`.
        images: the training images, uint8 (N, H, W, C); some of them calibrate the ranges.
        threads: as many as calibration may use; 0 leaves the choice to the runtime.

    Returns:
        The bytes of `model.fast.onnx`: the same inputs, outputs and metadata; the same bytes for the same arguments.
    """
    graph = Graph(onnx.load_from_string(exact))
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    quantiser = Quantiser(graph, measure(graph.model, images, tensors(graph), threads))
    quantiser.run()
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(needed(quantiser.nodes, [output.name for output in model.graph.output]))
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(t for t in quantiser.constants if t.name in used)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def tensors(graph: Graph) -> list[str]:
    """Names of the tensors whose ranges are needed: inputs of convolutions, and pooled maps."""
    pooled = [pool.output[0] for block in graph.blocks for pool in block.pools]
    return list(dict.fromkeys([*(block.conv.input[0] for block in graph.blocks), *pooled]))


class Quantiser(GraphWriter):
    """Goes through an exact graph and writes each node, or what takes its place.

    Args:
        graph: the exact graph.
        ranges: what `measure` found for `tensors(graph)`.
    """

    def __init__(self, graph: Graph, ranges: dict[str, Range]) -> None:
        super().__init__()
        self.graph, self.ranges = graph, ranges
        self.constants = list(graph.model.graph.initializer)
        self.quantised: dict[str, Quantised] = {}
        self.unit = self.constant("int8.unit", np.ones((), np.float32))
        self.zero = self.constant("int8.zero", np.zeros((), np.uint8))
        self.signed_zero = self.constant("int8.signed_zero", np.zeros((), np.int8))

    def run(self) -> None:
        """Write all nodes."""
        blocks = {block.conv.output[0]: block for block in self.graph.blocks}
        covered = {node.output[0] for block in self.graph.blocks for node in (block.relu, *block.pools)}
        for node in self.graph.model.graph.node:
            if block := blocks.get(node.output[0]):
                self._block(block)
            elif self.graph.probe and node is self.graph.probe.gemm:
                self._classify(self.graph.probe)
            elif node.output[0] not in covered:
                self.nodes.append(node)

    def _block(self, block: Block) -> None:
        """Convolution, rectifier and pooling; the pooled maps are there as integers and, for who asks, as float32."""
        name, shape = block.conv.output[0], attributes(block.conv)
        filters, bias = (as_float64(self.graph.constants[given]) for given in block.conv.input[1:3])
        x = self.quantised.get(block.conv.input[0])
        if x is None:
            x, filters, shape = self._enter(block.conv, filters)
        # sums, in units of t, must hold the bias as well
        scaled = filters * x.scales[:, None, None]
        unit = np.maximum(np.abs(scaled).max((1, 2, 3)) / LEVELS, np.abs(bias) / 2**30)
        unit = _positive(unit)
        peaks = np.max([self.ranges[pool.output[0]].high for pool in block.pools], axis=0)
        out = _positive(as_float64(peaks)) * MAP_ROOM / 255
        inputs = [
            x.name,
            self.unit,
            self.constant(f"{name}.zero_point", np.array(x.zero_point, np.uint8)),
            self.constant(f"{name}.filters", np.rint(scaled / unit[:, None, None, None]).astype(np.int8)),
            self.constant(f"{name}.factors", (unit / out).astype(np.float32)),
            self.signed_zero,
            self.unit,
            self.zero,
            self.constant(f"{name}.bias", np.rint(bias / unit).astype(np.int32)),
        ]
        maps = self.add("QLinearConv", inputs, f"{block.relu.output[0]}.int8", **shape)
        scales = self.constant(f"{name}.scales", out.astype(np.float32))
        for pool in block.pools:
            pooled = self.add("MaxPool", [maps], f"{pool.output[0]}.int8", **attributes(pool))
            self.add("DequantizeLinear", [pooled, scales], pool.output[0], axis=1)
            self.quantised[pool.output[0]] = Quantised(pooled, out, 0)

    def _enter(self, conv: NodeProto, filters: Floats) -> tuple[Quantised, Floats, dict[str, object]]:
        """Float32 input to integers; returns it with the convolution's filters and attributes, maybe unfolded."""
        name, shape = conv.input[0], attributes(conv)
        channels, height, width = self.graph.shape(name)
        zero_point, scales = 0, np.ones(channels)
        if not self.graph.holds_grey_levels(name):
            zero_point, scales = _signed_or_not(self.ranges[name])
        if not unfolding.pays(channels, width):
            inputs = [
                self.constant(f"{name}.scales", scales.astype(np.float32)),
                self.constant(f"{name}.zero_points", np.full(channels, zero_point, np.uint8)),
            ]
            x = self.add("QuantizeLinear", [name, *inputs], f"{name}.int8", axis=1)
            return Quantised(x, scales, zero_point), filters, shape
        top, left, bottom, right = shape["pads"]
        kernel = filters.shape[3]
        x = self._columns(name, unfolding.matrix(width, kernel, left, right, scales))
        inputs = [self.unit, self.constant(f"{name}.zero_point", np.array(zero_point, np.uint8))]
        x = self.add("QuantizeLinear", [x, *inputs], f"{name}.int8_rows")
        depth = unfolding.depth(channels, kernel)
        size = self.constant(f"{name}.size", np.array([0, height, -1, depth], np.int64))
        x = self.add(
            "Transpose", [self.add("Reshape", [x, size], f"{name}.int8_last")], f"{name}.int8", perm=[0, 3, 1, 2]
        )
        shape |= {"kernel_shape": [kernel, 1], "pads": [top, 0, bottom, 0]}
        # the columns are in units of the scales already, the filters are not
        tiled = np.ones(depth)
        return Quantised(x, tiled, zero_point), unfolding.filters(filters * scales[:, None, None]), shape

    def _columns(self, name: str, matrix: Floats) -> str:
        """Rows (N, H, W * C) of a tensor (N, C, H, W), times a matrix."""
        channels, height, width = self.graph.shape(name)
        last = self.graph.made_by("Transpose", name)
        if last is None or permutation(last) != [0, 3, 1, 2]:
            pixels = self.add("Transpose", [name], f"{name}.last", perm=[0, 2, 3, 1])
        else:
            pixels = last.input[0]
        split = self.graph.made_by("Reshape", pixels) if last is not None else None
        if split is not None and self.graph.shape(split.input[0]) == (height, width * channels):
            rows = split.input[0]
        else:
            size = self.constant(f"{name}.rows_size", np.array([0, height, width * channels], np.int64))
            rows = self.add("Reshape", [pixels, size], f"{name}.rows")
        product = self.graph.made_by("MatMul", rows) if rows in self.graph.producers else None
        if product is not None and product.input[1] in self.graph.constants:
            rows, matrix = product.input[0], as_float64(self.graph.constants[product.input[1]]) @ matrix
        return self.add("MatMul", [rows, self.constant(f"{name}.unfold", matrix.astype(np.float32))], f"{name}.columns")

    def _classify(self, probe: Probe) -> None:
        """The probe on integers, each weight in two parts of 7 bits: as good as float32, in half the bytes."""
        gemm, x = probe.gemm, self.quantised[probe.flatten.input[0]]
        weights, bias = (self.graph.constants[name] for name in gemm.input[1:])
        features, classes = weights.shape
        if features * 255 * LEVELS > LARGEST_SUM:
            self.nodes.append(gemm)
            return
        places = int(np.prod(self.graph.shape(probe.flatten.input[0])[1:]))
        # features run over maps, then places; pictures of several views over views first
        each = np.tile(np.repeat(x.scales, places), features // (len(x.scales) * places))
        coarse, coarse_unit = _rounded(as_float64(weights) * each[:, None])
        fine, fine_unit = _rounded(as_float64(weights) * each[:, None] - coarse * coarse_unit)
        parts = self.constant("probe.parts", np.concatenate([coarse, fine], 1).astype(np.int8))
        units = self.constant(
            "probe.units", np.concatenate([np.diag(coarse_unit), np.diag(fine_unit)]).astype(np.float32)
        )
        inputs = [x.name, *probe.flatten.input[1:]]
        flat = self.add(probe.flatten.op_type, inputs, "features.int8", **attributes(probe.flatten))
        sums = self.add("MatMulInteger", [flat, parts], "logits.sums")
        sums = self.add("Cast", [sums], "logits.parts", to=TensorProto.FLOAT)
        self.add("Gemm", [sums, units, gemm.input[2]], gemm.output[0])


def _signed_or_not(found: Range) -> tuple[int, Floats]:
    """Zero point and the scale of each channel."""
    reach = _positive(as_float64(np.maximum(found.high, -found.low))) * INPUT_ROOM
    return (0, reach / 255) if (found.low >= 0).all() else (128, reach / 127)


def _rounded(weights: Floats) -> tuple[Floats, Floats]:
    """Weights (D, K) as whole numbers up to `LEVELS`, and the unit of each column (K,)."""
    unit = _positive(np.abs(weights).max(0) / LEVELS)
    return np.rint(weights / unit), unit


def _positive(values: Floats) -> Floats:
    """Sizes to divide by: one that is zero, of a channel or map without any signal, becomes 1."""
    return np.where(values > 0, values, 1.0)
