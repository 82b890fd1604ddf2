"""A bundle's graph in, the plain export of the same model out: what rivals serve, and what ours is compared with.

    python -m benchmarks.plain_export models/cifar10-shallow/1 plain.onnx

Node for node what `torch.onnx.export(dynamo=False)` of torch 2.13 writes for the model as the paper defines it:
contrast normalisation in its eight operators, ZCA as one product of the whole image with a matrix (where the model
whitens; else at most the training mean comes off), convolution, rectifier, max-pooling, linear classifier.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from onnx import NodeProto, TensorProto, helper

from benchmarks.command import output_file, run
from training.fast.patterns import Graph, attributes, needed
from training.graph import IR_VERSION, OPSET
from training.graph_mirror import write_mean, write_mirror
from training.graph_writer import GraphWriter

BLOCK = 64
LARGEST_BYTES = 2 << 30
"""Of an ONNX file."""
_MOVES = {"Reshape", "Transpose"}
"""Operators that move pixels and leave them as they are."""

Floats = npt.NDArray[np.float32]


def plain_export(exact: bytes) -> bytes:
    """Write the plain graph of a model of single images.

    Args:
        exact: bytes of a bundle's `model.onnx`.

    Raises:
        ValueError: no ONNX file; not a model of whole, single images; or its matrix is too large for a file.
    """
    graph = _graph(exact)
    facts = {p.key.removeprefix("sca."): json.loads(p.value) for p in graph.model.metadata_props}
    if facts["input"]["views"] != 1 or "window" in facts["input"]:
        raise ValueError(f"{facts['name']}: only models of whole, single images have a plain export here")
    writer = GraphWriter()
    mirrored = facts["input"].get("mirrored", False)
    images = write_mirror(writer, "images") if mirrored else "images"
    planes = writer.add("Transpose", [images], "transposed", perm=[0, 3, 1, 2])
    x = writer.add("Cast", [planes], "pixels", to=TensorProto.FLOAT)
    whitened = "contrast" in graph.producers
    if whitened:
        x = _whiten(writer, _contrast(writer, x, _epsilon(graph)), graph, facts["input"])
    else:
        x = writer.add("Div", [x, writer.constant("white_level", np.array(255, np.float32))], "scaled")
    pooled = []
    for block, layer in zip(graph.blocks, facts["layers"], strict=True):
        filters, bias = (graph.constants[name] for name in block.conv.input[1:3])
        scale = 1 if whitened or layer["layer"] > 1 else 255  # which our graph has put into the filters
        x = _layer(writer, x, np.float32(scale) * filters, bias, layer)
        pooled.append(x)
    _features(writer, pooled, facts)
    weights, bias = (graph.constants[name] for name in graph.producers["logits"].input[1:])
    given = [writer.constant("probe.weight", weights.T), writer.constant("probe.bias", bias)]
    writer.add("Gemm", ["features", *given], "logits", transB=1)
    outputs = [output for output in graph.model.graph.output if output.name in ("features", "logits")]
    made = helper.make_graph(writer.nodes, "plain", graph.model.graph.input, outputs, writer.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.metadata_props.extend(graph.model.metadata_props)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _features(writer: GraphWriter, pooled: list[str], facts: dict[str, Any]) -> None:
    """The top layer's pooled maps, or all layers', as rows; of a mirrored model, means of both images'."""
    layers = facts["layers"]
    if not facts.get("all_layers"):
        pooled, layers = pooled[-1:], layers[-1:]
    if facts["input"].get("mirrored", False):
        pooled = [write_mean(writer, x, layer["output_shape"]) for x, layer in zip(pooled, layers, strict=True)]
    if len(pooled) == 1:
        writer.add("Flatten", pooled, "features", axis=1)
    else:
        rows = [writer.add("Flatten", [maps], f"{maps}.rows", axis=1) for maps in pooled]
        writer.add("Concat", rows, "features", axis=1)


def _graph(exact: bytes) -> Graph:
    try:
        return Graph(onnx.load_from_string(exact))
    except DecodeError as error:
        raise ValueError(f"not an ONNX file: {error}") from error


def _epsilon(graph: Graph) -> float:
    """What our graph adds to an image's variance."""
    node = graph.producers["contrast"]
    if node.op_type == "InstanceNormalization":
        return float(attributes(node)["epsilon"])
    return float(graph.constants["contrast_epsilon"].item())  # as bundles had it before that node


def _contrast(writer: GraphWriter, x: str, epsilon: float) -> str:
    axes = writer.constant("axes", np.array([1, 2, 3], np.int64))
    centred = writer.add("Sub", [x, writer.add("ReduceMean", [x, axes], "mean")], "centred")
    square = writer.add("Mul", [centred, centred], "square")
    variance = writer.add("ReduceMean", [square, axes], "variance")
    padded = writer.add("Add", [variance, writer.constant("epsilon", np.array(epsilon, np.float32))], "padded")
    return writer.add("Div", [centred, writer.add("Sqrt", [padded], "deviation")], "normal")


def _whiten(writer: GraphWriter, x: str, graph: Graph, shape: dict[str, Any]) -> str:
    """What our graph does between contrast and convolution: nothing, a mean comes off, or one matrix and an offset."""
    height, width, channels = shape["height"], shape["width"], shape["channels"]
    nodes, target = _after_contrast(graph), graph.blocks[0].conv.input[0]
    changes = [node for node in nodes if node.op_type not in _MOVES]
    if not changes:
        return x
    run = _runner(graph, nodes, target)
    length = height * width * channels
    offset = run(np.zeros((1, length), np.float32))[0]
    if all(node.op_type == "Sub" and node.input[1] in graph.constants for node in changes):
        return writer.add("Sub", [x, writer.constant("mean_image", -offset.reshape(channels, height, width))], "input")
    rows = _matrix(run, length) - offset
    matrix = rows.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(rows.shape)
    flat = writer.add("Flatten", [x], "flat", axis=1)
    white = writer.add("MatMul", [flat, writer.constant("matrix", matrix)], "turned")
    white = writer.add("Add", [white, writer.constant("offset", offset)], "white")
    size = writer.constant("size", np.array([-1, channels, height, width], np.int64))
    return writer.add("Reshape", [white, size], "input")


def _after_contrast(graph: Graph) -> list[NodeProto]:
    """The nodes between `contrast` and the first convolution."""
    before = {node.output[0] for node in needed(graph.model.graph.node, ["contrast"])}
    nodes = needed(graph.model.graph.node, [graph.blocks[0].conv.input[0]])
    return [node for node in nodes if node.output[0] not in before]


def _runner(graph: Graph, nodes: list[NodeProto], target: str) -> Callable[[Floats], Floats]:
    """What nodes make of `contrast`: rows (n, d) of pixels in (H, W, C) to (n, d)."""
    shape = graph.shape("contrast")
    given = helper.make_tensor_value_info("contrast", TensorProto.FLOAT, ["N", *shape])
    asked = helper.make_tensor_value_info(target, TensorProto.FLOAT, None)
    used = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in graph.model.graph.initializer if tensor.name in used]
    part = helper.make_graph(nodes, "part", [given], [asked], constants)
    model = helper.make_model(part, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(rows: Floats) -> Floats:
        out: Floats = session.run([target], {"contrast": rows.reshape(-1, *shape)})[0]
        return out.reshape(len(rows), -1)

    return run


def _matrix(run: Callable[[Floats], Floats], length: int) -> Floats:
    """What becomes of the unit vectors, (d, d).

    Raises:
        ValueError: an ONNX file cannot hold so much.
    """
    if 4 * length**2 >= LARGEST_BYTES:
        size = f"{length} x {length} matrix"
        raise ValueError(f"no plain export: its {size} has {4e-9 * length**2:.1f} GB, and an ONNX file at most 2.1")
    unit = np.eye(length, dtype=np.float32)
    return np.concatenate([run(unit[start : start + BLOCK]) for start in range(0, length, BLOCK)])


def _layer(writer: GraphWriter, x: str, filters: Floats, bias: Floats, layer: dict[str, Any]) -> str:
    name, kernel, pool = f"layer{layer['layer']}", layer["kernel"], layer["pool_width"]
    given = [writer.constant(f"{name}.weight", filters), writer.constant(f"{name}.bias", bias)]
    maps = writer.add("Conv", [x, *given], f"{name}.maps", kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)
    return writer.add(
        "MaxPool",
        [writer.add("Relu", [maps], f"{name}.active")],
        f"{name}.pooled",
        kernel_shape=[pool] * 2,
        strides=[layer["pool_stride"]] * 2,
        pads=[pool // 2] * 4,
    )


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("file", type=output_file)
    options = parser.parse_args()
    options.file.write_bytes(plain_export((options.bundle / "model.onnx").read_bytes()))


if __name__ == "__main__":
    sys.exit(run(main))
