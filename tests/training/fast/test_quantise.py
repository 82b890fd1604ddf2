"""The int8 graph: near the exact one in every shape, on integers throughout, the same bytes for the same images."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.training import untrained
from tests.training.drawn import Images, config, dataset, flat, layer, photos
from tests.training.stereo import drawn_pairs, pairs
from training import graph
from training.config import LayerConfig, Whitening, Window
from training.export import OnnxModel, TrainedModel
from training.fast import quantise
from training.fast.deviation import Floats

RELATIVE = 0.04
"""Largest deviation of features and logits of these networks, root mean square, as a share of their size."""
STEP = 1 / 64
"""What a rounding that falls the other way may change, as a share of the largest value."""

ONE = (layer(),)
UNEVEN = (layer(pool_width=5, pool_stride=4),)
DEEP = (layer(maps=16), layer(maps=20, kernel=3))


def graphs(model: TrainedModel) -> tuple[bytes, bytes]:
    """The exact graph and the fast one."""
    exact = graph.build(model.extractor, model.probe, *model.size, model.facts())
    return exact, quantise.build(exact, model.dataset.train.images, threads=1)


def relative(got: Floats, wanted: Floats) -> float:
    assert got.shape == wanted.shape and got.dtype == wanted.dtype == np.float32
    return float(np.sqrt(np.square(got - wanted).mean() / np.square(wanted).mean()))


def assert_near(model: TrainedModel, images: Images) -> None:
    exact, fast = (OnnxModel(data, threads=1)(images) for data in graphs(model))
    for got, wanted in zip(fast, exact, strict=True):
        assert 0 < relative(got, wanted) <= RELATIVE


def operators(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(data).graph.node]


def constants(data: bytes) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(data).graph.initializer}


@pytest.mark.parametrize("layers", [ONE, UNEVEN, DEEP], ids=["shallow", "uneven-pool", "deep"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["none", "zca", "separable"])
def test_it_is_near_the_exact_graph(kind: Whitening, channels: int, layers: tuple[LayerConfig, ...]) -> None:
    model = untrained.model(config(kind, layers=layers), dataset(14, 11, channels, train=256, test=1))
    assert_near(model, photos(64, 14, 11, channels, seed=5).images)


@pytest.mark.parametrize("channels", [1, 3])
def test_pairs_in_a_window(channels: int) -> None:
    settings = config("zca", layers=DEEP, window=Window(16, 2))
    model = untrained.model(settings, drawn_pairs(20, 18, channels, train=256))
    assert_near(model, pairs(64, 20, 18, channels, seed=3))


@pytest.mark.parametrize("kind", ["none", "separable"])
def test_pictures_too_wide_to_unfold(kind: Whitening) -> None:
    model = untrained.model(config(kind), dataset(12, 48, 3, train=128, test=1))
    assert_near(model, photos(32, 12, 48, 3, seed=5).images)
    assert "input.unfold" not in constants(graphs(model)[1])


def test_an_image_alone_has_the_features_that_it_has_in_a_batch() -> None:
    model = untrained.model(config("separable"), dataset(12, 12, 3, train=128, test=1))
    run, images = OnnxModel(graphs(model)[1], 1), photos(32, 12, 12, 3, seed=5).images
    together = run(images)
    for index in (0, 31):
        for one, all_ in zip(run(images[index : index + 1]), together, strict=True):
            assert np.abs(one - all_[index]).max() <= STEP * np.abs(all_).max()


@pytest.mark.parametrize("level", [0, 255])
def test_flat_images_are_no_exception(level: int) -> None:
    model = untrained.model(config("separable"), dataset(12, 12, 3, train=128, test=1))
    exact, fast = (OnnxModel(data, 1) for data in graphs(model))
    largest = exact(photos(8, 12, 12, 3, seed=5).images)[0].max()
    images = flat(2, 12, 12, 3, level=level)
    assert np.abs(fast(images)[0] - exact(images)[0]).max() <= STEP * largest


def test_grey_levels_are_not_rounded() -> None:
    model = untrained.model(config("none", layers=ONE), dataset(14, 11, 1, train=256, test=1))
    assert set(np.unique(constants(graphs(model)[1])["input.unfold"])) == {0, 1}, "another scale would round pixels"


def test_convolutions_and_probe_are_on_integers() -> None:
    exact, fast = graphs(untrained.model(config("none", layers=DEEP), dataset(14, 11, 3, train=64, test=1)))
    assert operators(exact).count("Conv") == 2 and "QLinearConv" not in operators(exact)
    assert operators(fast).count("QLinearConv") == 2 and operators(fast).count("MatMulInteger") == 1
    assert not {"Conv", "Relu"} & set(operators(fast))
    # the maps between two layers stay integers
    assert operators(fast).count("DequantizeLinear") == 1 and operators(fast).count("QuantizeLinear") == 1


def test_no_processor_saturates() -> None:
    _, fast = graphs(untrained.model(config("separable", layers=DEEP), dataset(14, 11, 3, train=64, test=1)))
    weights = [value for value in constants(fast).values() if value.dtype == np.int8 and value.size > 1]
    assert len(weights) == 3
    for value in weights:
        # two products of uint8 and int8, as processors without VNNI add them up in 16 bits
        assert 2 * 255 * np.abs(value.astype(int)).max() < 2**15
        assert np.abs(value.astype(int)).max() == 63, "a bit is left unused"


def test_inputs_outputs_and_metadata_are_the_exact_graphs() -> None:
    exact, fast = graphs(untrained.model(config("separable"), dataset(12, 10, 3, train=64, test=1)))
    one, other = onnx.load_from_string(exact), onnx.load_from_string(fast)
    assert list(one.graph.input) == list(other.graph.input)
    assert list(one.graph.output) == list(other.graph.output)
    assert list(one.metadata_props) == list(other.metadata_props)


def test_the_same_images_give_the_same_bytes() -> None:
    model = untrained.model(config("separable"), dataset(12, 12, 3, train=128, test=1))
    exact, fast = graphs(model)
    images = np.asarray(model.dataset.train.images[:])
    assert quantise.build(exact, images, threads=2) == fast
    assert quantise.build(exact, 255 - images // 2, threads=1) != fast


def test_layers_in_parts_give_the_same_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = (layer(maps=40), layer(maps=36, kernel=3))
    model = untrained.model(config("separable", layers=layers), dataset(12, 12, 3, train=128, test=1))
    at_once = graphs(model)
    monkeypatch.setattr(graph, "MAPS_BYTES", 1)
    in_parts = graphs(model)
    assert in_parts[0] != at_once[0] and operators(in_parts[0]).count("Conv") == 6
    assert in_parts[1] == at_once[1]


def test_maps_that_never_win_do_not_divide_by_zero() -> None:
    model = untrained.model(config("separable"), dataset(12, 12, 3, train=128, test=1))
    (one,) = model.extractor.stack()
    one.encoder.data[3] = 0
    one.encoder_bias.data[3] = -1
    one.encoder_bias.data[4] = -1000
    images = photos(8, 12, 12, 3, seed=5).images
    features, logits = OnnxModel(graphs(model)[1], 1)(images)
    assert np.isfinite(features).all() and np.isfinite(logits).all()
    maps = features.reshape(8, 12, -1)
    assert not maps[:, 3:5].any() and maps[:, 5].any()
