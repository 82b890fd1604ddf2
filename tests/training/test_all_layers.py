"""Features of all layers side by side: the same in torch, and in every graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from benchmarks.plain_export import plain_export
from tests.training import untrained
from tests.training.drawn import config, dataset, layer, photos
from tests.training.stereo import drawn_pairs
from tests.training.test_card import report
from training import graph
from training.card import write_card
from training.config import Whitening, Window
from training.export import OnnxModel, TrainedModel, torch_embedding, torch_outputs
from training.extraction import BatchExtractor, extract
from training.fast import quantise
from training.options import OptionError, config_of, parse

DEEP = (layer(maps=8), layer(maps=20, kernel=3))
DATA = dataset(14, 11, 3, train=256, test=4)
IMAGES = photos(17, 14, 11, 3, seed=5).images
TOLERANCE = 1e-4
"""Largest difference, relative to the largest value."""


def both_layers(kind: Whitening = "separable", mirrored: bool = False) -> TrainedModel:
    return untrained.model(replace(config(kind, layers=DEEP), all_layers=True, mirrored=mirrored), DATA)


def exact(model: TrainedModel, direct: bool = False) -> bytes:
    return graph.build(model.extractor, model.probe, *model.size, model.facts(), direct)


def near(got: np.ndarray, wanted: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    return got.shape == wanted.shape and bool(np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("kind", ["none", "separable"])
def test_features_are_those_of_each_layer(kind: Whitening, mirrored: bool, tmp_path: Path) -> None:
    model = both_layers(kind, mirrored)
    alone = [
        untrained.model(replace(model.config, layers=DEEP[:count], all_layers=False), DATA).extractor
        for count in (1, 2)
    ]
    pixels = torch.from_numpy(IMAGES)
    wanted = torch.cat([network(pixels) for network in alone], 1)
    torch.testing.assert_close(model.extractor(pixels), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.extractor.maps(pixels), alone[1].maps(pixels), rtol=1e-5, atol=1e-5)
    batch = BatchExtractor(model.extractor, 14, 11).features(pixels)
    torch.testing.assert_close(batch.float(), wanted, rtol=1e-3, atol=1e-3)
    rows = extract(model.extractor, photos(17, 14, 11, 3, seed=5).images, [(3, 11)], tmp_path / "spill", "features")
    assert isinstance(rows, torch.Tensor)
    torch.testing.assert_close(rows.float(), wanted[3:11], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("kind", ["none", "contrast", "zca", "separable"])
def test_every_graph_computes_what_torch_does(kind: Whitening, mirrored: bool) -> None:
    model = both_layers(kind, mirrored)
    wanted = torch_outputs(model, IMAGES)
    data = exact(model)
    fast = OnnxModel(quantise.build(data, DATA.train.images, threads=1), 1)
    for run in (OnnxModel(data, 1), OnnxModel(exact(model, direct=True), 1), OnnxModel(plain_export(data), 1)):
        for got, each in zip(run(IMAGES), wanted, strict=True):
            assert near(got, each)
    assert near(OnnxModel(data, 1).embedding(IMAGES), torch_embedding(model, IMAGES))
    for got, each in zip(fast(IMAGES), wanted, strict=True):
        assert float(np.square(got - each).mean() / np.square(each).mean()) <= 0.03**2
    operators = [node.op_type for node in onnx.load_from_string(quantise.build(data, DATA.train.images, 1)).graph.node]
    assert operators.count("QLinearConv") == 2 and "Conv" not in operators


def test_views_of_a_pair_stay_together() -> None:
    pairs = drawn_pairs(20, 18)
    settings = replace(config("zca", window=Window(12, 2), layers=DEEP), all_layers=True)
    model = untrained.model(settings, pairs)
    images = np.asarray(pairs.train.images[:5])
    size = model.extractor.feature_count(18, 18)
    assert size == 2 * sum(maps * rows * columns for maps, rows, columns in model.extractor.shapes(18, 18))
    for got, wanted in zip(OnnxModel(exact(model), 1)(images), torch_outputs(model, images), strict=True):
        assert near(got, wanted)
    one, two = model.extractor.feature_maps(18, 18)
    assert one[0] == 16 and two[0] == 40


def test_a_run_of_before_goes_on_and_the_card_tells() -> None:
    model = both_layers()
    plain = replace(model.config, all_layers=False)
    assert "all_layers" not in plain.to_json() and model.config.to_json()["all_layers"] is True
    assert "all_layers" not in untrained.model(plain, DATA).facts() and model.facts()["all_layers"] is True
    card = " ".join(write_card(model, report("accuracy", 80.0, None)).split())
    assert "the pooled maps of all layers, side by side" in card


def test_the_command_line_chooses() -> None:
    assert config_of(parse(["--preset", "mnist-deep", "--all-layers"])).all_layers
    assert not config_of(parse(["--preset", "mnist-deep"])).all_layers
    with pytest.raises(OptionError, match="one layer"):
        config_of(parse(["--dataset", "mnist", "--all-layers"]))
    with pytest.raises(ValueError, match="one layer"):
        replace(config("none"), all_layers=True)
