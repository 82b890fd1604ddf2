"""A first layer by minimal filtering computes what the plain one does, wherever it is used, and can be brought back."""

import dataclasses
import math

import numpy as np
import onnx
import pytest
import torch

from tests.training import untrained
from tests.training.drawn import config, dataset, layer, photos
from tests.training.stereo import drawn_pairs, pairs
from training import graph, graph_winograd
from training.config import LayerConfig, Window
from training.export import OnnxModel, TrainedModel, torch_outputs
from training.fast.patterns import Graph

TOLERANCE = 1e-5
"""Largest difference, relative to the largest value: ten times better than an export has to be."""

PAPER = layer(kernel=9, pool_width=5, pool_stride=4)


@pytest.fixture(autouse=True)
def few_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_winograd, "LEAST_MAPS", 1)


def build(model: TrainedModel, direct: bool = False) -> bytes:
    return graph.build(model.extractor, model.probe, *model.size, model.facts(), direct)


def operators(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(data).graph.node]


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    assert got.shape == wanted.shape
    assert float(np.abs(got - wanted).max()) <= TOLERANCE * float(np.abs(wanted).max())


def biased(model: TrainedModel) -> TrainedModel:
    """The same with biases of all signs: a map that is negative everywhere, one that is positive everywhere."""
    for each in model.extractor.stack():
        largest = float(each.encoder.detach().abs().sum((1, 2, 3)).max())
        with torch.no_grad():
            each.encoder_bias[:] = torch.linspace(-3 * largest, 3 * largest, len(each.encoder_bias))
    return model


@pytest.mark.parametrize(
    ("size", "first"),
    [
        ((32, 32), PAPER),
        ((13, 28), PAPER),
        ((20, 18), dataclasses.replace(PAPER, pool_width=4)),
        ((20, 19), dataclasses.replace(PAPER, pool_width=6)),
        ((20, 20), dataclasses.replace(PAPER, pool_width=7)),
        ((16, 15), dataclasses.replace(PAPER, kernel=11)),
        ((16, 31), dataclasses.replace(PAPER, kernel=15)),
        ((9, 11), dataclasses.replace(PAPER, kernel=13)),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else f"{value.kernel}-{value.pool_width}",
)
@pytest.mark.parametrize("bias", [False, True], ids=["", "biased"])
def test_it_computes_what_torch_does(size: tuple[int, int], first: LayerConfig, bias: bool) -> None:
    model = untrained.model(config("separable", layers=(first,)), dataset(*size, 3, train=60, test=1))
    data = build(biased(model) if bias else model)
    assert "Conv" not in operators(data)
    run, images = OnnxModel(data, threads=1), photos(9, *size, 3, seed=5).images
    for got, wanted in zip(run(images), torch_outputs(model, images), strict=True):
        assert_close(got, wanted)
    for alone, together in zip(run(images[8:]), run(images), strict=True):
        assert_close(alone, together[8:])


@pytest.mark.parametrize(
    ("first", "width", "channels"),
    [
        (dataclasses.replace(PAPER, kernel=7), 32, 3),
        (dataclasses.replace(PAPER, pool_stride=3), 32, 3),
        (dataclasses.replace(PAPER, pool_stride=4, pool_width=8), 32, 3),
        (PAPER, 32, 1),
        (PAPER, 30, 3),
        (PAPER, 32, 5),
    ],
    ids=[
        "narrow filters",
        "another stride",
        "wide windows",
        "one channel",
        "the last window is cut off",
        "many channels",
    ],
)
def test_where_it_does_not_fit_or_pay_it_is_left_out(first: LayerConfig, width: int, channels: int) -> None:
    model = untrained.model(config("contrast", layers=(first,)), dataset(12, width, channels, train=60, test=1))
    data = build(model)
    assert "Conv" in operators(data)
    images = photos(3, 12, width, channels, seed=5).images
    for got, wanted in zip(OnnxModel(data, 1)(images), torch_outputs(model, images), strict=True):
        assert_close(got, wanted)


@pytest.mark.parametrize(("least", "way"), [(PAPER.maps, "Gather"), (PAPER.maps + 1, "Conv")])
def test_few_maps_do_not_pay_for_the_way_there(least: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_winograd, "LEAST_MAPS", least)
    model = untrained.model(config("contrast", layers=(PAPER,)), dataset(16, 16, 3, train=60, test=1))
    assert [name for name in ("Gather", "Conv") if name in operators(build(model))] == [way]


def test_the_direct_form_is_the_same_function_in_convolutions() -> None:
    settings = config("separable", layers=(PAPER, layer(maps=20, kernel=3)), mirrored=True)
    model = biased(untrained.model(settings, dataset(16, 16, 3, train=60, test=1)))
    exact, direct = build(model), build(model, direct=True)
    assert (operators(exact).count("Conv"), operators(direct).count("Conv")) == (1, 2)
    assert "Gather" in operators(exact) and "Gather" not in operators(direct)
    images = photos(5, 16, 16, 3, seed=5).images
    for got, wanted in zip(OnnxModel(direct, 1)(images), OnnxModel(exact, 1)(images), strict=True):
        assert_close(got, wanted)
    described = [[(p.key, p.value) for p in onnx.load_from_string(data).metadata_props] for data in (exact, direct)]
    assert described[0] == described[1]


def test_deep_and_mirrored_networks_begin_with_it_too() -> None:
    settings = config("zca", layers=(PAPER, layer(maps=20, kernel=3)), mirrored=True)
    model = untrained.model(settings, dataset(16, 16, 3, train=60, test=1))
    images = photos(5, 16, 16, 3, seed=5).images
    assert operators(build(model)).count("Conv") == 1
    for got, wanted in zip(OnnxModel(build(model), 1)(images), torch_outputs(model, images), strict=True):
        assert_close(got, wanted)


def test_pairs_are_computed_view_by_view() -> None:
    model = untrained.model(config("none", layers=(PAPER,), window=Window(16)), drawn_pairs(20, 18, 3))
    samples = pairs(5, 20, 18, 3, seed=3)
    assert "Conv" not in operators(build(model))
    for got, wanted in zip(OnnxModel(build(model), 1)(samples), torch_outputs(model, samples), strict=True):
        assert_close(got, wanted)


def test_large_images_take_no_more_memory_at_a_time() -> None:
    wide = dataclasses.replace(PAPER, maps=96)
    model = untrained.model(config("contrast", layers=(wide,)), dataset(96, 96, 3, train=4, test=1))
    data = build(model)
    graph_of = onnx.shape_inference.infer_shapes(onnx.load_from_string(data), data_prop=True).graph
    products = [
        [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]]
        for value in graph_of.value_info
        if value.name.startswith("layer1.products")
    ]
    assert len(products) > 1 and all(0 < math.prod(shape) <= graph_winograd.PRODUCTS for shape in products), products
    images = photos(2, 96, 96, 3, seed=5).images
    for got, wanted in zip(OnnxModel(data, 1)(images), torch_outputs(model, images), strict=True):
        assert_close(got, wanted)


@pytest.mark.parametrize("at_once", [512, 5])
def test_it_can_be_brought_back(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_winograd, "MAPS_AT_ONCE", at_once)
    model = biased(untrained.model(config("contrast", layers=(PAPER,)), dataset(16, 16, 3, train=60, test=1)))
    data = build(model)
    assert operators(data).count("MaxPool") == -(-PAPER.maps // at_once)
    back = Graph(onnx.load_from_string(data))
    kinds = [node.op_type for node in back.model.graph.node]
    assert (kinds.count("Conv"), kinds.count("MatMul"), kinds.count("Gather")) == (1, 0, 0)
    first = model.extractor.stack()[0]
    for name, weights in (("encoder", first.encoder), ("encoder_bias", first.encoder_bias)):
        assert_close(back.constants[f"layer1.{name}"], weights.detach().numpy())
    images = photos(4, 16, 16, 3, seed=5).images
    plain = OnnxModel(back.model.SerializeToString(), 1)
    for got, wanted in zip(OnnxModel(data, 1)(images), plain(images), strict=True):
        assert_close(got, wanted)
