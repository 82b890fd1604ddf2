"""Layers that another run has trained: taken over where all that decides them is equal, and nowhere else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.drawn import config, dataset, layer
from training import winners
from training.config import RunConfig
from training.pipeline import Pipeline, settings_of
from training.reuse import take_over

DATA = dataset(train=96)
BELOW = layer(maps=6, epochs=1)
SHALLOW = config("none", name="shallow", layers=(BELOW,))
DEEP = config("none", name="deep", layers=(BELOW, layer(maps=8, kernel=3, epochs=1)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished shallow run."""
    folder = tmp_path_factory.mktemp("runs")
    Pipeline(SHALLOW, DATA, folder / "shallow-seed0", folder / "models", "").fit_layers()
    return folder


def onnx(config: RunConfig, runs: Path) -> bytes:
    folder = runs / f"{config.name}-seed0"
    bundle = Pipeline(config, DATA, folder, runs / "models", "").run().bundle
    return (bundle / "model.onnx").read_bytes()


def test_a_deep_run_goes_on_from_a_shallow_ones_layer(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = onnx(DEEP, tmp_path)
    steps = 0
    plain = winners.step

    def counted(*given, **named):  # type: ignore[no-untyped-def]  # whatever a step takes
        nonlocal steps
        steps += 1
        return plain(*given, **named)

    monkeypatch.setattr(winners, "step", counted)
    here = tmp_path / "here"
    shutil.copytree(runs, here)
    folder = here / "deep-seed0"
    assert take_over(folder, settings_of(DEEP, DATA), here) == 1
    assert onnx(DEEP, here) == whole
    assert steps == 3  # the second layer's
    stages = json.loads((folder / "stages.json").read_text())
    spent = json.loads((here / "shallow-seed0" / "stages.json").read_text())
    assert stages["layer1"] >= spent["layer1"] > 0
    assert json.loads((folder / "taken_over.json").read_text()) == {"from": "shallow-seed0", "layers": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"whitening": "zca"},
        {"contrast_epsilon": 1.0},
    ],
    ids=str,
)
def test_what_was_learnt_otherwise_is_left(change: dict[str, object], runs: Path, tmp_path: Path) -> None:
    other = replace(DEEP, **change)  # type: ignore[arg-type]  # one field each
    assert take_over(tmp_path / "run", settings_of(other, DATA), runs) == 0
    assert not (tmp_path / "run").exists()


def test_the_whitening_is_taken_over_where_the_layers_differ(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    other = replace(DEEP, layers=(replace(BELOW, epochs=2), DEEP.layers[1]))
    folder = tmp_path / "runs" / "other"
    assert take_over(folder, settings_of(other, DATA), tmp_path / "runs") == 0
    assert not list(folder.glob("layer*")) and (folder / "whitening.npz").exists()
    assert list(json.loads((folder / "stages.json").read_text())) == ["whitening"]


def test_other_images_are_another_run(runs: Path, tmp_path: Path) -> None:
    assert take_over(tmp_path / "run", settings_of(DEEP, dataset(train=97)), runs) == 0


def test_a_layer_that_is_not_finished_is_left(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    (tmp_path / "runs" / "shallow-seed0" / "layer1.json").unlink()
    assert take_over(tmp_path / "run", settings_of(DEEP, DATA), tmp_path / "runs") == 0
    assert not (tmp_path / "run" / "layer1.npz").exists()


def test_a_run_that_has_begun_is_left_as_it_is(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert take_over(tmp_path / "run", settings_of(DEEP, DATA), runs) == 0
    assert list((tmp_path / "run").iterdir()) == []
