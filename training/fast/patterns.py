"""An exact graph in, the parts of it that integers can take over out: convolution blocks and the probe."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from training.graph_restored import restored

Array = npt.NDArray[Any]


class Block(NamedTuple):
    """A convolution with constant filters, its rectifier, and the poolings that read it: one, as a rule."""

    conv: NodeProto
    relu: NodeProto
    pools: tuple[NodeProto, ...]


class Probe(NamedTuple):
    """A linear classifier on the pooled maps of one block, flattened image by image."""

    gemm: NodeProto
    flatten: NodeProto


class Graph:
    """A model with what its tensors are: who makes and who reads them, constants, shapes.

    Args:
        model: every node with one output.

    Attributes:
        model: the same, each layer's convolution in one piece.
        constants: initializers by name.
        producers: the node that makes a tensor.
        consumers: the nodes that read a tensor.
        blocks: what integers can take over, in the order of the graph.
        probe: the classifier, if it reads a block.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model = merged(restored(model))
        self.constants: Mapping[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.producers = {node.output[0]: node for node in model.graph.node}
        self.consumers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self._shapes = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
        self.blocks = [block for node in model.graph.node if (block := self._block(node))]
        self.probe = next((probe for node in model.graph.node if (probe := self._probe(node))), None)

    def shape(self, name: str) -> tuple[int, ...]:
        """Sizes of a tensor's axes after the first, which counts images."""
        return tuple(size.dim_value for size in self._shapes[name].type.tensor_type.shape.dim[1:])

    def made_by(self, operator: str, name: str) -> NodeProto | None:
        """The node that makes a tensor, if it is of this kind and nothing else reads the tensor."""
        node = self.producers.get(name)
        alone = len(self.consumers[name]) == 1
        return node if node is not None and node.op_type == operator and alone else None

    def _block(self, conv: NodeProto) -> Block | None:
        if conv.op_type != "Conv" or len(conv.input) < 3 or any(name not in self.constants for name in conv.input[1:]):
            return None
        after = self.consumers.get(conv.output[0], [])
        if len(after) != 1 or after[0].op_type != "Relu":
            return None
        pools = self.consumers.get(after[0].output[0], [])
        if not pools or any(pool.op_type != "MaxPool" for pool in pools):
            return None
        return Block(conv, after[0], tuple(pools))

    def _probe(self, gemm: NodeProto) -> Probe | None:
        if gemm.op_type != "Gemm" or any(name not in self.constants for name in gemm.input[1:]):
            return None
        flatten = self.producers.get(gemm.input[0])
        pooled = {pool.output[0] for block in self.blocks for pool in block.pools}
        if flatten is None or flatten.op_type not in ("Flatten", "Reshape") or flatten.input[0] not in pooled:
            return None
        return Probe(gemm, flatten)

    def holds_grey_levels(self, name: str) -> bool:
        """Whether a tensor's numbers are pixels as they came, whole numbers from 0 to 255."""
        node = self.producers.get(name)
        while node is not None and node.op_type in ("Transpose", "Reshape", "Slice", "Concat"):
            node = self.producers.get(node.input[0])
        # pixels are cast to float32; means of squares of them are rounded
        return node is not None and node.op_type in ("Cast", "Round")


def merged(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose layers are computed some maps at a time, with one convolution and one pooling for each layer."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    producers = {node.output[0]: node for node in model.graph.node}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    del out.graph.node[:], out.graph.initializer[:]
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        parts = _parts(node, producers)
        if not parts:
            nodes.append(node)
            continue
        inputs = [parts[0][0].input[0]]
        for names in zip(*(conv.input[1:] for conv, _, _ in parts), strict=True):
            inputs.append(_whole(names[0]))
            array = np.concatenate([numpy_helper.to_array(constants[name]) for name in names])
            constants[inputs[-1]] = numpy_helper.from_array(array, inputs[-1])
        for part in parts[0]:
            one = helper.make_node(part.op_type, inputs, [_whole(part.output[0])], **attributes(part))
            one.name = one.output[0]
            nodes.append(one)
            inputs = [one.output[0]]
    out.graph.node.extend(needed(nodes, [output.name for output in model.graph.output]))
    used = {name for node in out.graph.node for name in node.input}
    out.graph.initializer.extend(tensor for name, tensor in constants.items() if name in used)
    return out


def _parts(node: NodeProto, producers: Mapping[str, NodeProto]) -> list[tuple[NodeProto, NodeProto, NodeProto]]:
    """Convolution, rectifier and pooling of each part of a layer that a Concat puts together; none for other nodes."""
    parts = []
    for name in node.input if node.op_type == "Concat" else ():
        chain = [producers.get(name)]
        while (last := chain[-1]) is not None and len(chain) < 3:
            chain.append(producers.get(last.input[0]))
        pool, relu, conv = [*chain, None, None][:3]
        if pool is None or relu is None or conv is None:
            return []
        parts.append((conv, relu, pool))
    kinds = {tuple(part.op_type for part in chain) for chain in parts}
    same = {(conv.input[0], str(conv.attribute), str(pool.attribute)) for conv, _, pool in parts}
    distinct = len({conv.output[0] for conv, _, _ in parts}) == len(parts)
    return parts if kinds == {("Conv", "Relu", "MaxPool")} and len(same) == 1 and distinct else []


def _whole(name: str) -> str:
    """Name of a tensor whose first part has this name."""
    return name.removesuffix(".0")


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as plain Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def needed(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """The nodes that the outputs depend on, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def permutation(node: NodeProto) -> list[int]:
    """Of a Transpose: which axis of its input each axis of its output is."""
    return list(attributes(node)["perm"])


def as_float64(values: Array) -> npt.NDArray[np.float64]:
    """For what is computed once, when the graph is written."""
    return np.asarray(values, np.float64)
