"""Tiny valid bundles, made with onnx alone: the same contract as a trained one, in milliseconds and without torch."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LABELS = {"L": [str(digit) for digit in range(10)], "RGB": ["airplane", "cat", "dog"]}


def smooth_images(count: int, height: int, width: int, channels: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draws images that look like photos to a convolution: smooth, with edges, in full contrast.

    Returns:
        uint8 (N, H, W, C).
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    images = np.empty((count, height, width, channels), np.uint8)
    for image in images:
        for channel in range(channels):
            a, b, c, d = rng.uniform(0.05, 0.6, 4)
            wave = np.sin(a * rows + b * columns) + np.cos(c * rows - d * columns)
            wave += 2.0 * (rows * a + columns * b > rng.uniform(0, 10))
            low, high = wave.min(), wave.max()
            image[..., channel] = ((wave - low) / (high - low) * 255).astype(np.uint8)
    return images


def write_bundle(
    models_dir: Path,
    name: str = "cifar10-shallow",
    version: str = "1",
    *,
    color_mode: Literal["L", "RGB"] = "RGB",
    size: int = 12,
    maps: int = 8,
    kernel: int = 5,
    views: int = 1,
    resize: str = "stretch",
    alpha_background: Literal["black", "white"] = "white",
    weight: int = 1,
    embedding: bool = False,
    fast: bool = False,
    direct: bool = False,
) -> Path:
    """Writes `<models_dir>/<name>/<version>/` with a Conv, Relu, MaxPool, Gemm model of random weights.

    Args:
        models_dir: Where bundles live.
        name: Name of the model.
        version: A positive integer.
        color_mode: Colours of the model.
        size: H = W of its images.
        maps: C of its one layer.
        kernel: Edge of its filters.
        views: Images in a sample.
        resize: Mode of the resize rule.
        alpha_background: What transparency is composed over.
        weight: How many times the graph computes its convolution, to make a run slow.
        embedding: Whether the graph has outputs beyond the two that it must have: `embedding` (N, maps), the pooled
            maps themselves, and `winners` int64, which is no vector of numbers.
        fast: Whether there is a second graph, `model.fast.onnx`, which computes with coarser filters.
        direct: Whether the graph is there a second time, as `model.direct.onnx`.

    Returns:
        The bundle's folder.
    """
    folder = models_dir / name / version
    folder.mkdir(parents=True)
    bands = len(color_mode)
    rng = np.random.default_rng(int(version))
    encoder = rng.normal(size=(maps, bands * views, kernel, kernel)).astype(np.float32)
    graph = _graph(encoder, LABELS[color_mode], size, weight, rng)
    if embedding:
        _add_outputs(graph, maps, size)
    rule = {
        "color_mode": color_mode,
        "views": views,
        "alpha_background": alpha_background,
        "resize": {"mode": resize, "filter": "bicubic", "background": 0},
    }
    facts = _facts(name, version, rule, size, encoder)
    model = _model(graph, facts)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "filters.npz", layer1_encoder=encoder, layer1_decoder=-encoder, layer1_pixels=-encoder)
    golden = smooth_images(16, size, size, bands * views, seed=7)
    computed: dict[str, Any] = dict(_outputs(model, golden))
    if fast:
        (filters,) = [tensor for tensor in graph.initializer if tensor.name == "encoder"]
        filters.CopyFrom(numpy_helper.from_array(np.round(encoder * 16) / 16, "encoder"))
        rounded = _model(graph, facts)
        (folder / "model.fast.onnx").write_bytes(rounded.SerializeToString())
        computed |= {f"fast_{name}": rows.astype(np.float16) for name, rows in _outputs(rounded, golden).items()}
        facts |= {"fast": {"file": "model.fast.onnx", "precision": "int8", "golden_tolerance": 0.02}}
    if direct:
        model.doc_string = "the same once more"
        (folder / "model.direct.onnx").write_bytes(model.SerializeToString())
        facts |= {"direct": {"file": "model.direct.onnx"}}
    np.savez(folder / "golden.npz", images=golden, **computed)
    (folder / "README.md").write_text(f"# {name}\n")
    write_manifest(folder, facts)
    return folder


def _facts(name: str, version: str, rule: dict[str, Any], size: int, encoder: NDArray[np.float32]) -> dict[str, Any]:
    """What a manifest says of a model with one layer, but for its files."""
    maps, channels, kernel, _ = encoder.shape
    bands = len(rule["color_mode"])
    return {
        "schema_version": 1,
        "name": name,
        "version": version,
        "dataset": "synthetic",
        "input": {"height": size, "width": size, "channels": bands, **rule},
        "labels": LABELS[rule["color_mode"]],
        "feature_dim": maps * (size // 2) ** 2,
        "layers": [
            {
                "layer": 1,
                "maps": maps,
                "channels": channels,
                "kernel": kernel,
                "pool_width": 2,
                "pool_stride": 2,
                "output_shape": [maps, size // 2, size // 2],
            }
        ],
    }


def _model(graph: onnx.GraphProto, facts: dict[str, Any]) -> onnx.ModelProto:
    """Makes a graph a checked model with these facts in its metadata."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {f"sca.{key}": json.dumps(value) for key, value in facts.items()})
    onnx.checker.check_model(model)
    return model


def _outputs(model: onnx.ModelProto, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Computes what golden outputs there are."""
    names = [n for n in ("features", "logits", "embedding") if n in {node.name for node in model.graph.output}]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def _add_outputs(graph: onnx.GraphProto, maps: int, size: int) -> None:
    """Adds outputs that not every bundle has."""
    graph.node.extend(
        [
            helper.make_node("GlobalAveragePool", ["pooled"], ["averages"]),
            helper.make_node("Flatten", ["averages"], ["embedding"]),
            helper.make_node("ArgMax", ["features"], ["winners"], axis=1),
        ]
    )
    graph.output.extend(
        [
            helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", maps, size // 2, size // 2]),
            helper.make_tensor_value_info("winners", TensorProto.INT64, ["N", 1]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", maps]),
        ]
    )


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Writes `manifest.json` with the SHA-256 and size of the files that are there now."""
    files = {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
        for file in sorted(folder.iterdir())
        if file.name != "manifest.json"
    }
    accuracy = {"metric": "accuracy", "value": 33.3, "unit": "%", "paper": None, "split": "test", "images": 16}
    rest = {"accuracy": accuracy, "data_license": "none", "training": {"seed": 0}, "files": files}
    (folder / "manifest.json").write_text(json.dumps(facts | rest))


def _graph(
    encoder: NDArray[np.float32], labels: list[str], size: int, weight: int, rng: np.random.Generator
) -> onnx.GraphProto:
    maps, channels, kernel, _ = encoder.shape
    dim, classes = maps * (size // 2) ** 2, len(labels)
    constants = {
        "scale": np.float32(1 / 255),
        "encoder": encoder,
        "probe": (rng.normal(size=(dim, classes)) / dim**0.5).astype(np.float32),
        "bias": rng.normal(size=classes).astype(np.float32),
        "again": np.zeros((maps, maps, kernel, kernel), np.float32),
    }
    pads = [kernel // 2] * 4
    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["raw", "scale"], ["pixels"]),
        helper.make_node("Conv", ["pixels", "encoder"], ["maps0"], pads=pads),
    ]
    for step in range(weight - 1):
        nodes += [
            helper.make_node("Conv", [f"maps{step}", "again"], [f"zero{step}"], pads=pads),
            helper.make_node("Add", [f"maps{step}", f"zero{step}"], [f"maps{step + 1}"]),
        ]
    nodes += [
        helper.make_node("Relu", [f"maps{weight - 1}"], ["active"]),
        helper.make_node("MaxPool", ["active"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "probe", "bias"], ["logits"]),
    ]
    return helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, channels])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", dim]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
