"""Whole runs: the stages in order, interrupted anywhere and resumed to the same bundle."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.drawn import config, dataset, layer
from tests.training.stereo import stereo_config, write_rendered
from training import checkpoints, figures, fit, pipeline, probe, whitening, winners
from training.config import RunConfig
from training.datasets import Dataset, Split, load
from training.export import OnnxModel
from training.fit import LayerFit
from training.pipeline import Pipeline
from training.runfolder import ConfigError
from training.summary import Summary

SHALLOW = config("separable")
DEEP = config("none", layers=(layer(maps=8, epochs=2), layer(maps=10, kernel=3, epochs=2)))
DATA = dataset()
WEIGHTS = ("model.onnx", "model.fast.onnx", "filters.npz", "golden.npz")


def run(settings: RunConfig, folder: Path, version: str | None = None) -> Summary:
    return Pipeline(settings, DATA, folder / "run", folder / "models", "the command", version).run()


def weights(folder: Path, settings: RunConfig) -> dict[str, bytes]:
    """The files of the bundle that do not tell the time."""
    return {name: (folder / "models" / settings.name / "1" / name).read_bytes() for name in WEIGHTS}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Uninterrupted runs, by the bundle's name."""
    folders = {settings.name: tmp_path_factory.mktemp(settings.name) for settings in (SHALLOW, DEEP)}
    for settings in (SHALLOW, DEEP):
        run(settings, folders[settings.name])
    return folders


def test_a_run_ends_with_a_bundle_that_classifies(finished: dict[str, Path]) -> None:
    bundle = finished[SHALLOW.name] / "models" / SHALLOW.name / "1"
    manifest = json.loads((bundle / "manifest.json").read_text())
    accuracy, training = manifest["accuracy"], manifest["training"]
    _, logits = OnnxModel((bundle / "model.onnx").read_bytes(), 1)(DATA.test.images[:])
    assert accuracy["value"] == pytest.approx(100 * (logits.argmax(1) == DATA.test.labels).mean(), abs=1e-4)
    assert accuracy["value"] > 80 and accuracy["paper"] == 72.7 and accuracy["images"] == 64
    assert training["dead_maps"] == 0 and training["command"] == "the command" and training["seed"] == 0
    assert training["stages_seconds"].keys() >= {"whitening", "layer1", "probe"}
    assert "the command" in (bundle / "README.md").read_text()


def test_what_validates_is_a_random_part_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    order = np.argsort(DATA.train.labels, kind="stable")
    by_class = Split(DATA.train.images[order], DATA.train.labels[order])
    training = Pipeline(SHALLOW, replace(DATA, train=by_class), tmp_path / "run", tmp_path / "models", "")
    count = training.train.held_out
    assert count == round(0.2 * len(order))
    classes = set(by_class.labels.tolist())
    assert set(training.train.labels[-count:].tolist()) == set(training.train.labels[:-count].tolist()) == classes


def test_of_groups_whole_ones_validate(tmp_path: Path) -> None:
    groups = (np.arange(len(DATA.train.labels)) % 7).astype(np.int64)
    grouped = replace(DATA, train=replace(DATA.train, groups=groups))
    training = Pipeline(SHALLOW, grouped, tmp_path / "run", tmp_path / "models", "")
    _, ranges = training._probed()
    assert training.train.groups is not None
    fitting, validating = (set(training.train.groups[start:stop].tolist()) for start, stop in ranges)
    assert len(validating) == 1 and fitting.isdisjoint(validating) and len(fitting) == 6


def test_a_run_shows_filters_and_curves(finished: dict[str, Path]) -> None:
    folder = finished[DEEP.name] / "run" / "figures"
    names = {file.name for file in folder.iterdir()}
    assert names == {
        *(f"layer1-{kind}.png" for kind in ("decoder", "encoder", "loss", "pixels")),
        "layer2-loss.png",
        "layer2-pixels.png",
    }
    for file in folder.iterdir():
        with Image.open(file) as picture:
            picture.load()


def test_a_deep_run_trains_the_second_layer_on_the_first(finished: dict[str, Path]) -> None:
    bundle = finished[DEEP.name] / "models" / DEEP.name / "1"
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert [entry["output_shape"] for entry in manifest["layers"]] == [[8, 6, 6], [10, 3, 3]]
    assert manifest["layers"][1]["channels"] == 8 and manifest["feature_dim"] == 90
    assert manifest["accuracy"]["value"] > 50  # of four classes


def test_a_layer_may_learn_from_some_of_the_images(tmp_path: Path, finished: dict[str, Path]) -> None:
    few = config("none", name="few", layers=(DEEP.layers[0], replace(DEEP.layers[1], images=96)))
    run(few, tmp_path)
    one, other = (
        checkpoints.load(folder / "run" / "layer1.npz")["layer.encoder"] for folder in (tmp_path, finished[DEEP.name])
    )
    assert torch.equal(one, other)
    # two epochs of three batches
    assert checkpoints.load(tmp_path / "run" / "layer2.npz")["progress"][0] == 6


def test_settings_are_chosen_without_the_test_set(tmp_path: Path, finished: dict[str, Path]) -> None:
    blind = replace(DATA, test=Split(DATA.test.images[:0], DATA.test.labels[:0]))
    pipeline = Pipeline(SHALLOW, blind, tmp_path / "run", tmp_path / "models", "")
    trials = pipeline.validate()
    training = json.loads((finished[SHALLOW.name] / "run" / "trials.json").read_text())
    assert [asdict(trial) for trial in trials] == training["trials"]
    assert not (tmp_path / "models").exists()
    assert pipeline.validate() == trials


def kill(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, call: int) -> None:
    """Raise instead of the n-th call of `module.name`."""
    plain, calls = getattr(module, name), 0

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return plain(*given, **named)

    monkeypatch.setattr(module, name, counted)


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (whitening, "fit", 1),
        (winners, "step", 1),
        (winners, "step", 17),
        (figures, "save_curve", 1),
        (pipeline, "extract", 1),
        (probe, "minimise", 2),
        (checkpoints, "write_json", 6),
        (pipeline, "build_checked", 1),
        (pipeline, "write_bundle", 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_interrupted_anywhere_it_ends_with_the_same_bundle(
    module: Any, name: str, call: int, finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(fit, "CHECKPOINT_SHARE", float("inf"))
    with monkeypatch.context() as patch:
        kill(patch, module, name, call)
        with pytest.raises(KeyboardInterrupt):
            run(SHALLOW, tmp_path)
    run(SHALLOW, tmp_path)
    assert weights(tmp_path, SHALLOW) == weights(finished[SHALLOW.name], SHALLOW)


@pytest.mark.parametrize("call", [5, 20, 31])
def test_a_deep_run_interrupted_in_either_layer_ends_with_the_same_bundle(
    call: int, finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill(patch, winners, "step", call)
        with pytest.raises(KeyboardInterrupt):
            run(DEEP, tmp_path)
    run(DEEP, tmp_path)
    assert weights(tmp_path, DEEP) == weights(finished[DEEP.name], DEEP)


def test_a_finished_run_writes_its_bundle_again_and_no_other(
    tmp_path: Path, finished: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished[SHALLOW.name]
    before = weights(folder, SHALLOW)
    kill(monkeypatch, winners, "step", 1)
    kill(monkeypatch, probe, "minimise", 1)
    assert run(SHALLOW, folder).bundle == folder / "models" / SHALLOW.name / "1"
    assert weights(folder, SHALLOW) == before
    assert [entry.name for entry in (folder / "models" / SHALLOW.name).iterdir()] == ["1"]


def test_a_run_with_other_settings_is_not_resumed(tmp_path: Path, finished: dict[str, Path]) -> None:
    folder = finished[SHALLOW.name]
    for change in ({"seed": 1}, {"whitening_epsilon": 0.2}, {"layers": (layer(epochs=4),)}):
        with pytest.raises(ConfigError, match=r"config\.json is of a run with other settings.*--fresh"):
            Pipeline(config("separable", **change), DATA, folder / "run", tmp_path, "", None)


def test_the_seed_changes_the_weights(tmp_path: Path, finished: dict[str, Path]) -> None:
    other = config("separable", seed=1)
    run(other, tmp_path, version="1")
    assert weights(tmp_path, other)["filters.npz"] != weights(finished[SHALLOW.name], SHALLOW)["filters.npz"]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load("rendered-stereo", write_rendered(tmp_path_factory.mktemp("rendered")))


def test_pairs_are_learnt_view_by_view_and_told_apart_by_both(
    rendered: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(layer: Any, images: Any, *rest: Any) -> LayerFit:
        seen.append(images.shape)
        return LayerFit(layer, images, *rest)

    monkeypatch.setattr(pipeline, "LayerFit", watched)
    small = layer(maps=16, kernel=5, pool_width=6, pool_stride=4, epochs=6)
    settings = stereo_config(layers=(small, layer(maps=24, kernel=3)))
    manifest = Pipeline(settings, rendered, tmp_path / "run", tmp_path / "models", "", None).run().manifest
    assert seen == [(300, 16, 16, 1)] * 2, "150 pairs are 300 images"
    assert [one["channels"] for one in manifest["layers"]] == [1, 16]
    assert manifest["layers"][1]["output_shape"] == [24, 3, 3] and manifest["feature_dim"] == 2 * 24 * 3 * 3
    assert manifest["accuracy"]["value"] < 50, "five categories, toys that training has not seen"


def test_the_probe_validates_on_toys_that_it_is_not_fitted_to(rendered: Dataset, tmp_path: Path) -> None:
    run = Pipeline(stereo_config(), rendered, tmp_path / "run", tmp_path / "models", "", None)
    groups = run.train.groups
    assert groups is not None and len(set(groups[120:].tolist())) == 1
    assert set(groups[120:].tolist()).isdisjoint(groups[:120].tolist())


def test_golden_images_are_real_training_images(finished: dict[str, Path]) -> None:
    with np.load(finished[SHALLOW.name] / "models" / SHALLOW.name / "1" / "golden.npz") as golden:
        known = {image.tobytes() for image in DATA.train.images[:]}
        assert all(image.tobytes() in known for image in golden["images"]) and len(golden["images"]) == 16


def test_the_most_memory_of_all_attempts_is_reported(tmp_path: Path) -> None:
    run(SHALLOW, tmp_path)
    (tmp_path / "run" / "peak_memory_mib.json").write_text("123456")
    training = run(SHALLOW, tmp_path).manifest["training"]
    assert training["peak_memory_mib"] == 123456
