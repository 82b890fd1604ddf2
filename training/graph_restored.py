"""A graph with layers by minimal filtering in, the same with plain convolutions out."""

import json
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from training.graph_layer import Layer, write_plain
from training.graph_writer import GraphWriter
from training.winograd import FILTER_TO_POINTS, POINTS, TILE


def restored(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose layers are written plainly: convolution, rectifier, pooling; filters to 1e-6 of their size.

    Nodes and constants that they no longer need stay in it, unread.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    del out.graph.node[:]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        facts = json.loads(node.doc_string)["winograd"] if node.doc_string.startswith('{"winograd"') else None
        if facts is None:
            out.graph.node.append(node)
            continue
        writer = GraphWriter()
        name, _, suffix = node.output[0].partition(".pooled")
        write_plain(writer, _layer(facts, constants), name, facts["x"], suffix)
        out.graph.node.extend(writer.nodes)
        out.graph.initializer.extend(writer.constants)
    return out


def _layer(facts: dict[str, Any], constants: dict[str, onnx.TensorProto]) -> Layer:
    """The layer that a description by `training.graph_winograd` stands for."""
    points, bias = (numpy_helper.to_array(constants[facts[name]]) for name in ("filters", "bias"))
    maps, channels, kernel = points.shape[1], facts["channels"], facts["kernel"]
    parts = points.reshape(POINTS, maps, -1, channels, kernel)
    wide = np.einsum("tf,fmacy->mcyat", np.linalg.pinv(FILTER_TO_POINTS), parts.astype(np.float64))
    filters = np.ascontiguousarray(wide).reshape(maps, channels, kernel, -1)[..., :kernel]
    return Layer(
        filters=filters.astype(np.float32),
        bias=bias.reshape(-1),
        pads=tuple(facts["pads"]),
        pool_width=facts["pool_width"],
        pool_stride=TILE,
        pool_pads=tuple(facts["pool_pads"]),
    )
