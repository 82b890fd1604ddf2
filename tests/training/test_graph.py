"""The exported graph computes what torch does, in any batch, to the byte the same file."""

import json

import numpy as np
import onnx
import pytest

from tests.training import untrained
from tests.training.drawn import Images, config, dataset, flat, layer, photos
from tests.training.stereo import drawn_pairs, pairs
from training import graph
from training.config import LayerConfig, Whitening, Window
from training.export import OnnxModel, TrainedModel, torch_outputs

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value."""

ONE = (layer(),)
NORB = (layer(pool_width=6, pool_stride=4),)
UNEVEN = (layer(pool_width=5, pool_stride=4), layer(kernel=3))
DEEP = (layer(maps=8), layer(maps=20, kernel=3))


def build(model: TrainedModel) -> bytes:
    return graph.build(model.extractor, model.probe, *model.size, model.facts())


def assert_close(got: Images | np.ndarray, wanted: np.ndarray) -> None:
    """Compare arrays to `TOLERANCE` of the largest value."""
    assert got.shape == wanted.shape and got.dtype == wanted.dtype == np.float32
    assert float(np.abs(got - wanted).max()) <= TOLERANCE * float(np.abs(wanted).max())


@pytest.mark.parametrize("layers", [ONE, NORB, UNEVEN, DEEP], ids=["shallow", "even-pool", "uneven-pool", "deep"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["none", "contrast", "zca", "separable"])
def test_it_computes_what_torch_does(kind: Whitening, channels: int, layers: tuple[LayerConfig, ...]) -> None:
    model = untrained.model(config(kind, layers=layers), dataset(13, 10, channels, train=120, test=1))
    run = OnnxModel(build(model), threads=1)
    images = photos(32, 13, 10, channels, seed=5).images
    outputs = run(images)
    for got, wanted in zip(outputs, torch_outputs(model, images), strict=True):
        assert_close(got, wanted)
    for index in (0, 31):
        for alone, together in zip(run(images[index : index + 1]), outputs, strict=True):
            assert_close(alone, together[index : index + 1])


@pytest.mark.parametrize("window", [None, Window(9), Window(12, 2), Window(12, 3), Window(18, 6)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["none", "contrast", "zca", "separable"])
def test_pairs_are_framed_and_their_features_concatenated(
    kind: Whitening, channels: int, window: Window | None
) -> None:
    layers = (layer(pool_width=6, pool_stride=4), layer(maps=20, kernel=3))
    model = untrained.model(config(kind, layers=layers, window=window), drawn_pairs(20, 18, channels))
    run = OnnxModel(build(model), threads=1)
    samples = pairs(9, 20, 18, channels, seed=3)
    features, logits = run(samples)
    for got, wanted in zip((features, logits), torch_outputs(model, samples), strict=True):
        assert_close(got, wanted)
    assert_close(run(samples[7:8])[0], features[7:8])
    left, right = np.split(samples, 2, axis=3)
    swapped, _ = run(np.concatenate([right, left], axis=3))
    half = features.shape[1] // 2
    assert_close(swapped, np.concatenate([features[:, half:], features[:, :half]], axis=1))
    assert np.abs(features[:, half:] - features[:, :half]).max() > 0.1 * np.abs(features).max()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_window_of_single_images_is_cut_in_the_graph(channels: int) -> None:
    data = dataset(20, 18, channels, train=60, test=1)
    windowed = untrained.model(config("separable", window=Window(12, 2)), data)
    images = photos(5, 20, 18, channels, seed=7).images
    run = OnnxModel(build(windowed), threads=1)
    for got, wanted in zip(run(images), torch_outputs(windowed, images), strict=True):
        assert_close(got, wanted)
    other = images.copy()
    other[:, :4], other[:, :, :3], other[:, 16:], other[:, :, 15:] = 0, 255, 9, 99
    np.testing.assert_array_equal(run(other)[0], run(images)[0])


@pytest.mark.parametrize("kind", ["none", "contrast", "zca", "separable"])
@pytest.mark.parametrize("level", [0, 255])
def test_flat_images_are_no_exception(kind: Whitening, level: int) -> None:
    model = untrained.model(config(kind), dataset(12, 12, 3, train=60, test=1))
    images = flat(2, 12, 12, 3, level=level)
    for got, wanted in zip(OnnxModel(build(model), 1)(images), torch_outputs(model, images), strict=True):
        assert np.isfinite(got).all()
        assert_close(got, wanted)


def test_places_that_no_window_reaches_are_not_computed() -> None:
    paper = layer(kernel=9, pool_width=5, pool_stride=4)
    model = untrained.model(config("none", layers=(paper,)), dataset(32, 28, 1, train=8, test=1))
    proto = onnx.shape_inference.infer_shapes(onnx.load_from_string(build(model)))
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in proto.graph.value_info
    }
    # windows begin at -2, 2, ... 26 and -2, 2, ... 22
    assert shapes["layer1.maps"][1:] == [12, 31, 27]
    assert shapes["layer1.pooled"][1:] == [12, 8, 7]


@pytest.mark.parametrize("layers", [(layer(maps=40),), (layer(maps=40), layer(maps=36, kernel=3))])
def test_maps_are_computed_some_at_a_time(layers: tuple[LayerConfig, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    model = untrained.model(config("separable", layers=layers), dataset(12, 12, 3, train=60, test=1))
    images = photos(9, 12, 12, 3, seed=5).images
    at_once = build(model)
    monkeypatch.setattr(graph, "MAPS_BYTES", 1)
    in_parts = build(model)
    convolutions = [node for node in onnx.load_from_string(in_parts).graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 3 * len(layers), "16 maps, 16 maps, the rest"
    for got, wanted in zip(OnnxModel(in_parts, 1)(images), OnnxModel(at_once, 1)(images), strict=True):
        assert_close(got, wanted)
    for got, wanted in zip(OnnxModel(in_parts, 1)(images), torch_outputs(model, images), strict=True):
        assert_close(got, wanted)


def test_the_same_weights_give_the_same_bytes() -> None:
    one, other = (untrained.model(config("separable"), dataset(12, 12, 3, train=60, test=1)) for _ in range(2))
    assert build(one) == build(other)
    changed = untrained.model(config("separable"), dataset(12, 12, 3, train=60, test=1), seed=1)
    assert build(changed) != build(one)


def test_inputs_and_outputs_are_the_bundle_contracts() -> None:
    model = untrained.model(config("separable"), dataset(12, 10, 3, train=60, test=1))
    proto = onnx.load_from_string(build(model))

    def shapes(values: object) -> dict[str, tuple[int, list[int | str]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim],
            )
            for value in values  # type: ignore[attr-defined]  # protobuf's repeated field
        }

    assert shapes(proto.graph.input) == {"images": (onnx.TensorProto.UINT8, ["N", 12, 10, 3])}
    assert shapes(proto.graph.output) == {
        "features": (onnx.TensorProto.FLOAT, ["N", 12 * 6 * 5]),
        "logits": (onnx.TensorProto.FLOAT, ["N", 4]),
        "embedding": (onnx.TensorProto.FLOAT, ["N", 12 * 4]),
    }
    stereo = onnx.load_from_string(build(untrained.model(config("zca", window=Window(12, 2)), drawn_pairs(20, 18))))
    assert shapes(stereo.graph.input) == {"images": (onnx.TensorProto.UINT8, ["N", 20, 18, 2])}
    assert shapes(stereo.graph.output)["features"] == (onnx.TensorProto.FLOAT, ["N", 2 * 12 * 3 * 3])


@pytest.mark.parametrize("size", [(12, 10), (13, 11), (5, 3), (4, 1)])
def test_the_embedding_is_the_mean_of_each_map_in_quadrants(size: tuple[int, int]) -> None:
    model = untrained.model(config("none"), dataset(*size, 1, train=60, test=1))
    images = photos(3, *size, 1, seed=2).images
    maps, height, width = model.extractor.shapes(*size)[-1]
    rows = OnnxModel(build(model), 1)(images)[0].reshape(3, maps, height, width)
    halves = [(slice(0, (side + 1) // 2), slice(side // 2, side))[: 2 if side > 1 else 1] for side in (height, width)]
    means = [rows[:, :, top, left].mean((2, 3)) for top in halves[0] for left in halves[1]]
    expected = np.stack(means, axis=2).reshape(3, -1)
    assert_close(OnnxModel(build(model), 1).embedding(images), expected)


def test_the_embedding_leaves_the_other_outputs_alone() -> None:
    model = untrained.model(config("separable"), dataset(12, 10, 3, train=60, test=1))
    proto = onnx.load_from_string(build(model))
    images = photos(5, 12, 10, 3, seed=2).images
    expected = OnnxModel(proto.SerializeToString(), 1)(images)
    del proto.graph.output[2], proto.graph.node[-2:]
    assert [proto.graph.node[-1].output[0], len(proto.graph.output)] == ["logits", 2]
    for got, wanted in zip(OnnxModel(proto.SerializeToString(), 1)(images), expected, strict=True):
        np.testing.assert_array_equal(got.view(np.uint32), wanted.view(np.uint32))


def test_the_file_alone_says_what_a_client_needs() -> None:
    model = untrained.model(config("none"), dataset(12, 12, 1, train=60, test=1))
    proto = onnx.load_from_string(graph.build(model.extractor, model.probe, 12, 12, {**model.facts(), "version": "7"}))
    props = {prop.key: json.loads(prop.value) for prop in proto.metadata_props}
    names = (
        "schema_version",
        "name",
        "version",
        "dataset",
        "input",
        "labels",
        "feature_dim",
        "embedding_dim",
        "layers",
    )
    assert props.keys() == {f"sca.{name}" for name in names}
    assert props["sca.version"] == "7" and props["sca.labels"] == ["north", "east", "south", "west"]
    assert props["sca.input"]["color_mode"] == "L" and props["sca.feature_dim"] == 12 * 6 * 6
    assert props["sca.embedding_dim"] == 12 * 4


def test_the_zca_matrix_is_stored_in_half_the_bytes() -> None:
    model = untrained.model(config("zca"), dataset(12, 12, 3, train=60, test=1))
    proto = onnx.load_from_string(build(model))
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer if len(tensor.dims) == 2}
    size = 12 * 12 * 3
    (matrix,) = [tensor for tensor in proto.graph.initializer if list(tensor.dims) == [size, size]]
    assert kinds[matrix.name] == onnx.TensorProto.FLOAT16
