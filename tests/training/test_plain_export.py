"""The plain export, which rivals serve and ours is compared with, is the same model."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import plain_export as export
from benchmarks.plain_export import plain_export
from tests.training import untrained
from tests.training.drawn import config, dataset, layer, photos
from tests.training.stereo import drawn_pairs
from training import graph
from training.config import LayerConfig, Whitening
from training.export import OnnxModel, TrainedModel
from training.fast.patterns import attributes

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value."""
ONE = (layer(pool_width=5, pool_stride=4),)
DEEP = (layer(maps=8), layer(maps=20, kernel=3))
MODELS = Path(__file__).parents[2] / "models"


def exact(model: TrainedModel) -> bytes:
    return graph.build(model.extractor, model.probe, *model.size, model.facts())


def assert_equal_outputs(data: bytes, images: np.ndarray) -> None:
    ours, plain = (OnnxModel(each, 1)(images) for each in (data, plain_export(data)))
    for got, wanted in zip(ours, plain, strict=True):
        assert float(np.abs(got - wanted).max()) <= TOLERANCE * float(np.abs(wanted).max())


@pytest.mark.parametrize("layers", [ONE, DEEP], ids=["shallow", "deep"])
@pytest.mark.parametrize("kind", ["none", "contrast", "zca", "separable"])
def test_it_computes_the_same(kind: Whitening, layers: tuple[LayerConfig, ...]) -> None:
    model = untrained.model(config(kind, layers=layers), dataset(14, 11, 3, train=120, test=1))
    assert_equal_outputs(exact(model), photos(16, 14, 11, 3, seed=5).images)


@pytest.mark.parametrize("file", sorted(MODELS.glob("*/*/model.onnx")), ids=lambda path: path.parent.parent.name)
def test_of_what_is_shipped_too(file: Path) -> None:
    with np.load(file.parent / "golden.npz", allow_pickle=False) as golden:
        assert_equal_outputs(file.read_bytes(), golden["images"])


def test_it_is_plain() -> None:
    data = plain_export(exact(untrained.model(config("separable", layers=ONE), dataset(12, 12, 3, train=60, test=1))))
    model = onnx.load_from_string(data)
    operators = [node.op_type for node in model.graph.node]
    assert operators[-5:] == ["Conv", "Relu", "MaxPool", "Flatten", "Gemm"] and operators.count("MatMul") == 1
    conv, pool = (next(n for n in model.graph.node if n.op_type == kind) for kind in ("Conv", "MaxPool"))
    assert set(attributes(conv)["pads"]) == {2} and set(attributes(pool)["pads"]) == {2}, "all positions are computed"
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    assert sizes["matrix"] == (12 * 12 * 3,) * 2
    assert {json.loads(p.value) for p in model.metadata_props if p.key == "sca.name"} == {"drawn-separable"}


def test_where_nothing_whitens_there_is_no_matrix() -> None:
    model = untrained.model(config("contrast", layers=ONE), dataset(14, 11, 3, train=60, test=1))
    written = onnx.load_from_string(plain_export(exact(model))).graph
    contrast = ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div"]
    rest = ["Sub", "Conv", "Relu", "MaxPool", "Flatten", "Gemm"]
    assert [node.op_type for node in written.node] == ["Transpose", "Cast", *contrast, *rest]
    sizes = {tensor.name: tuple(tensor.dims) for tensor in written.initializer}
    assert sizes["mean_image"] == (3, 14, 11), "the training mean comes off"
    assert not {"matrix", "offset", "size"} & sizes.keys()


def test_large_images_of_even_contrast_have_a_plain_export() -> None:
    data = exact(untrained.model(config("contrast", layers=ONE), dataset(96, 96, 3, train=30, test=1)))
    assert_equal_outputs(data, photos(2, 96, 96, 3, seed=5).images)


def test_a_matrix_that_no_file_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LARGEST_BYTES", 4 * (12 * 12 * 3) ** 2)
    with pytest.raises(ValueError, match="432 x 432 matrix"):
        plain_export(exact(untrained.model(config("zca", layers=ONE), dataset(12, 12, 3, train=60, test=1))))


def test_layers_in_parts_come_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    model = untrained.model(config("separable", layers=(layer(maps=40),)), dataset(12, 12, 3, train=60, test=1))
    at_once = plain_export(exact(model))
    monkeypatch.setattr(graph, "MAPS_BYTES", 1)
    assert exact(model) != at_once
    assert plain_export(exact(model)) == at_once


def test_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="single images"):
        plain_export(exact(untrained.model(config("zca"), drawn_pairs())))
