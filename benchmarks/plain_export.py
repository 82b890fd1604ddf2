"""A bundle → its graph as a plain export would write it: the same weights, and the whitening as one full matrix.

What `torch.onnx.export` makes of whiten, convolve, pool, classify: pixels to planes, one product of an image's 3072
numbers with a 3072 x 3072 matrix, and then the layers. The bundle's graph does the same whitening in a separable basis.
"""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.utils import Extractor

BEFORE, AFTER = "contrast", "input"
"""Tensors of the bundle's graph: normalised pixels (N, H, W, C), and what the first layer reads (N, C, H, W)."""

PLANES = (3, 32, 32)
"""(C, H, W) of the model's images."""


def write_plain_export(source: Path, target: Path) -> None:
    """Writes the plain export of a model with separable whitening.

    Raises:
        ValueError: The graph has no such whitening.
    """
    model = onnx.load(source)
    producers = {output: node for node in model.graph.node for output in node.output}
    if not {BEFORE, AFTER} <= set(producers):
        raise ValueError(f"{source}: no whitening between {BEFORE!r} and {AFTER!r} to write in full")
    matrix, offset = _whitening(model)
    constants = {
        "zca.flat": np.array([0, len(matrix)]),
        "zca.matrix": matrix,
        "zca.offset": offset,
        "zca.planes": np.array([0, *PLANES]),
    }
    whitening = [
        helper.make_node("Transpose", [BEFORE], ["zca.chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Reshape", ["zca.chw", "zca.flat"], ["zca.vector"]),
        helper.make_node("MatMul", ["zca.vector", "zca.matrix"], ["zca.product"]),
        helper.make_node("Add", ["zca.product", "zca.offset"], ["zca.white"]),
        helper.make_node("Reshape", ["zca.white", "zca.planes"], [AFTER]),
    ]
    before, after = _around(model)
    del model.graph.node[:]
    model.graph.node.extend([*before, *whitening, *after])
    used = {name for node in model.graph.node for name in node.input}
    kept = [constant for constant in model.graph.initializer if constant.name in used]
    del model.graph.initializer[:]
    added = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    model.graph.initializer.extend([*kept, *added])
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _whitening(model: onnx.ModelProto) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrix (S, S) and offset (S,) that the nodes between `BEFORE` and `AFTER` apply, found by running them."""
    shapes = onnx.shape_inference.infer_shapes(model)
    part = Extractor(shapes).extract_model([BEFORE], [AFTER])
    session = ort.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])

    def apply(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        images = np.ascontiguousarray(rows.reshape(-1, *PLANES).transpose(0, 2, 3, 1))
        result: NDArray[np.float32] = session.run([AFTER], {BEFORE: images})[0]
        return result.reshape(len(rows), -1).astype(np.float64)

    size = math.prod(PLANES)
    offset = apply(np.zeros((1, size), np.float32))
    matrix = apply(np.eye(size, dtype=np.float32)) - offset
    return matrix.astype(np.float32), offset[0].astype(np.float32)


def _around(model: onnx.ModelProto) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Nodes up to `BEFORE`, and nodes behind `AFTER`, in order."""
    names = [list(node.output) for node in model.graph.node]
    first = next(index for index, outputs in enumerate(names) if BEFORE in outputs)
    last = next(index for index, outputs in enumerate(names) if AFTER in outputs)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    return nodes[: first + 1], nodes[last + 1 :]
