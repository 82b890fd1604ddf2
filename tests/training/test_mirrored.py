"""Features of an image and its mirror image together: the same for both, in torch and in every graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from benchmarks.plain_export import plain_export
from tests.training import untrained
from tests.training.drawn import config, dataset, layer, photos
from tests.training.stereo import drawn_pairs
from tests.training.test_card import report
from training import graph
from training.card import write_card
from training.config import RunConfig, Whitening, Window
from training.export import OnnxModel, TrainedModel, torch_embedding, torch_outputs
from training.extraction import BatchExtractor
from training.fast import quantise
from training.options import config_of, parse
from training.pipeline import Pipeline
from training.presets import MIRRORED_PHOTOGRAPHS, PHOTOGRAPHS
from training.runfolder import ConfigError

DEEP = (layer(maps=8), layer(maps=20, kernel=3))
DATA = dataset(14, 11, 3, train=256, test=4)
IMAGES = photos(17, 14, 11, 3, seed=5).images
TOLERANCE = 1e-4
"""Largest difference, relative to the largest value."""


def mirrored(kind: Whitening = "separable", **changes: object) -> TrainedModel:
    return untrained.model(replace(config(kind, layers=DEEP, mirrored=True), **changes), DATA)  # type: ignore[arg-type]


def exact(model: TrainedModel) -> bytes:
    return graph.build(model.extractor, model.probe, *model.size, model.facts())


def near(got: np.ndarray, wanted: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    return got.shape == wanted.shape and bool(np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["none", "contrast", "zca", "separable"])
def test_features_are_the_mean_of_both(kind: Whitening) -> None:
    model = mirrored(kind)
    plain = untrained.model(replace(model.config, mirrored=False), DATA)
    one, other = (plain.extractor(torch.from_numpy(x.copy())).numpy() for x in (IMAGES, IMAGES[:, :, ::-1]))
    features, logits = torch_outputs(model, IMAGES)
    assert near(features, (one + other) / 2) and not near(features, one, 0.05)
    assert near(logits, (one + other) / 2 @ model.probe.weights.numpy() + model.probe.bias.numpy())
    batches = BatchExtractor(model.extractor, 14, 11)
    assert near(batches(torch.from_numpy(IMAGES)).flatten(1).numpy(), features)


@pytest.mark.parametrize("window", [None, Window(10, 2)])
@pytest.mark.parametrize("kind", ["none", "contrast", "zca", "separable"])
def test_the_graph_computes_what_torch_does(kind: Whitening, window: Window | None) -> None:
    model = mirrored(kind, window=window)
    run = OnnxModel(exact(model), threads=1)
    outputs = run(IMAGES)
    for got, wanted in zip(outputs, torch_outputs(model, IMAGES), strict=True):
        assert near(got, wanted)
    assert near(run.embedding(IMAGES), torch_embedding(model, IMAGES))
    assert near(run(np.ascontiguousarray(IMAGES[:, :, ::-1]))[0], outputs[0]), "both have the same features"
    for alone, together in zip(run(IMAGES[16:]), outputs, strict=True):
        assert near(alone, together[16:])


@pytest.mark.parametrize("kind", ["none", "separable"])
def test_so_do_the_fast_graph_and_the_plain_one(kind: Whitening) -> None:
    data = exact(mirrored(kind))
    wanted = OnnxModel(data, 1)(IMAGES)
    fast = quantise.build(data, DATA.train.images, threads=1)
    for got, plain, each in zip(
        OnnxModel(fast, 1)(IMAGES), OnnxModel(plain_export(data), 1)(IMAGES), wanted, strict=True
    ):
        assert near(plain, each)
        assert float(np.square(got - each).mean() / np.square(each).mean()) <= 0.03**2
    operators = [node.op_type for node in onnx.load_from_string(fast).graph.node]
    assert operators.count("QLinearConv") == 2 and "Conv" not in operators
    if kind == "none":  # grey levels are whole numbers, and stay them
        constants = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(fast).graph.initializer}
        assert set(np.unique(constants["input.unfold"])) == {0, 1} and constants["input.zero_point"] == 0


def test_layers_learn_from_the_images_as_they_are(tmp_path: Path) -> None:
    small = config("separable", layers=(layer(maps=6, epochs=1),))
    plain, both = (
        Pipeline(replace(small, mirrored=mirror), DATA, tmp_path / f"{mirror}", tmp_path / "models", "", "1")
        for mirror in (False, True)
    )
    one, other = plain.fit_layers(), both.fit_layers()
    assert torch.equal(one.stack()[0].encoder, other.stack()[0].encoder) and other.mirrored and not one.mirrored
    assert "mirrored" not in plain.config.to_json(), "a run of before goes on"
    assert both.config.to_json()["mirrored"] is True


def test_pairs_are_refused(tmp_path: Path) -> None:
    settings: RunConfig = replace(config("zca", window=Window(12, 2)), mirrored=True)
    with pytest.raises(ConfigError, match="pairs of images cannot be mirrored"):
        Pipeline(settings, drawn_pairs(20, 18), tmp_path / "run", tmp_path / "models", "")


def test_manifest_and_card_say_so() -> None:
    model = mirrored()
    assert model.facts()["input"]["mirrored"] is True
    assert "mirrored" not in untrained.model(config(), DATA).facts()["input"]
    card = " ".join(write_card(model, report("accuracy", 80.0, None)).split())
    assert "the mean of the image's and of its mirror image's" in card


@pytest.mark.parametrize(("option", "wanted"), [([], None), (["--mirrored"], True), (["--no-mirrored"], False)])
def test_the_command_line_chooses(option: list[str], wanted: bool | None) -> None:
    for preset in ("cifar10-shallow", "cifar10-deep"):
        default = config_of(parse(["--preset", preset])).mirrored
        assert config_of(parse(["--preset", preset, *option])).mirrored is (default if wanted is None else wanted)


def test_copies_for_mirrored_features_are_more_than_mirrored() -> None:
    def copies(*more: str) -> object:
        return config_of(parse(["--dataset", "cifar10", *more])).probe.augmentation

    assert copies() == PHOTOGRAPHS == copies("--no-mirrored")
    assert copies("--mirrored") == MIRRORED_PHOTOGRAPHS
    assert copies("--mirrored", "--copies", "3") == replace(MIRRORED_PHOTOGRAPHS, copies=3)
    assert copies("--mirrored", "--copies", "0") is None
