"""A feature extractor and a probe in, one ONNX graph out: uint8 pixels to `features`, `logits` and `embedding`.

Written node by node instead of traced: what is folded into what is then a decision and not an accident, and the file
is the same to the byte for the same weights.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import Tensor

from training import graph_winograd
from training.graph_input import write_framing, write_preprocessing
from training.graph_layer import layer_of, write_plain
from training.graph_mirror import write_mean
from training.graph_writer import GraphWriter
from training.probe import Probe
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor, quadrants

OPSET = 18
IR_VERSION = 9
"""What onnxruntime 1.14 and Triton 23.03 already read."""
MAPS_BYTES = 1 << 20
"""Maps of one image that a convolution writes before they are pooled: a common second-level cache.

Half of it would gain another 2 % on one thread and lose 5 % on two, which have to meet more often.
"""
MAPS_STEP = 16
"""Maps that onnxruntime computes side by side."""


def build(
    extractor: FeatureExtractor, probe: Probe, height: int, width: int, facts: Mapping[str, Any], direct: bool = False
) -> bytes:
    """Serialise the model.

    Args:
        extractor: the frozen network.
        probe: the linear classifier on its features.
        height: H of a sample, in pixels.
        width: W of a sample, in pixels.
        facts: what goes into `metadata_props`, as JSON, each name prefixed `sca.`.
        direct: write every layer as a convolution, which multiplies more and moves less: faster than minimal filtering
            where multiplying is cheap, as with AVX-512 and on GPUs.

    Returns:
        The bytes of `model.onnx`: `images` uint8 (N, H, W, V * C) to float32 `features` (N, D), `logits` (N, K) and
        `embedding` (N, E).
    """
    writer = GraphWriter()
    layers = extractor.stack()
    pixels = write_framing(writer, extractor, height, width)
    x, first_filters = write_preprocessing(writer, extractor.preprocessing, layers[0], pixels)
    sizes = [
        extractor.framing.size(height, width),
        *((rows, columns) for _, rows, columns in extractor.shapes(height, width)),
    ]
    pooled = []
    for index, layer in enumerate(layers, 1):
        filters = first_filters if index == 1 else layer.encoder
        x = _layer(writer, layer, filters, f"layer{index}", x, sizes[index - 1], direct)
        pooled.append(x)
    top = _features(writer, extractor, pooled, height, width)
    views = extractor.framing.views
    weights = [writer.constant("probe.weights", probe.weights), writer.constant("probe.bias", probe.bias)]
    writer.add("Gemm", ["features", *weights], "logits")
    short = _embedding(writer, top, views, *extractor.shapes(height, width)[-1])
    size, classes = probe.weights.shape
    image = [height, width, views * layers[0].channels]
    model = _model(writer, image, {"features": size, "logits": classes, "embedding": short}, facts)
    return bytes(model.SerializeToString(deterministic=True))


def _model(
    writer: GraphWriter, image: Sequence[int], outputs: Mapping[str, int], facts: Mapping[str, Any]
) -> onnx.ModelProto:
    """All nodes between `images` and the outputs, whose rows have so many numbers; checked."""
    graph = helper.make_graph(
        writer.nodes,
        "sca",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", *image])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in outputs.items()],
        writer.constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="sca-features"
    )
    helper.set_model_props(model, {f"sca.{k}": json.dumps(v, ensure_ascii=False) for k, v in sorted(facts.items())})
    onnx.checker.check_model(model, full_check=True)
    return model


def _features(writer: GraphWriter, extractor: FeatureExtractor, pooled: Sequence[str], height: int, width: int) -> str:
    """Write the features, of the names of all layers' pooled maps; returns the name of the top maps among them."""
    views, used = extractor.framing.views, list(pooled if extractor.all_layers else pooled[-1:])
    shapes = extractor.shapes(height, width)[-len(used) :]
    if extractor.mirrored:
        used = [write_mean(writer, maps, shape) for maps, shape in zip(used, shapes, strict=True)]
    if len(used) == 1:
        _flatten(writer, used[0], views, extractor.feature_count(height, width), "features")
    else:
        rows = [f"{maps}.features" for maps in used]
        for maps, shape, name in zip(used, shapes, rows, strict=True):
            _flatten(writer, maps, views, views * math.prod(shape), name)
        writer.add("Concat", rows, "features", axis=1)
    return used[-1]


def _flatten(writer: GraphWriter, maps: str, views: int, size: int, name: str) -> None:
    """Maps (N * V, M, h, w) to rows (N, V * M * h * w) of this size."""
    if views == 1:
        writer.add("Flatten", [maps], name, axis=1)
    else:
        together = writer.constant(f"{name}.together", np.array([-1, size], np.int64))
        writer.add("Reshape", [maps, together], name)


def _layer(
    writer: GraphWriter,
    layer: SparseConvAutoencoder,
    filters: Tensor,
    name: str,
    x: str,
    size: tuple[int, int],
    direct: bool,
) -> str:
    """Convolution, rectifier, pooling of an input of H x W positions, in the form that takes least time, or plainly.

    Written plainly, it is some maps at a time, so that pooling finds them in cache and memory never holds all of them.
    """
    whole = layer_of(layer.config, filters, layer.encoder_bias, size)
    if not direct and graph_winograd.pays(whole, size):
        return graph_winograd.write_layer(writer, whole, name, x, size)
    step = max(MAPS_STEP, MAPS_BYTES // (4 * size[0] * size[1]) // MAPS_STEP * MAPS_STEP)
    pooled = []
    for number, start in enumerate(range(0, layer.config.maps, step)):
        suffix = "" if step >= layer.config.maps else f".{number}"
        pooled.append(write_plain(writer, whole.part(start, step), name, x, suffix))
    return pooled[0] if len(pooled) == 1 else writer.add("Concat", pooled, f"{name}.pooled", axis=1)


def _embedding(writer: GraphWriter, pooled: str, views: int, maps: int, height: int, width: int) -> int:
    """Average the top maps in quadrants, as `FeatureExtractor.embedding` does; returns E."""
    kernel, stride = quadrants(height, width)
    means = writer.add("AveragePool", [pooled], "quadrants", kernel_shape=list(kernel), strides=list(stride))
    rows, columns = ((size - k) // s + 1 for size, k, s in zip((height, width), kernel, stride, strict=True))
    length = views * maps * rows * columns
    _flatten(writer, means, views, length, "embedding")
    return length
