"""Bundles' versions: a run keeps its own, and never takes another run's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.drawn import config, dataset, layer
from training import export, pipeline, winners
from training.config import RunConfig
from training.datasets import Split
from training.export import ParityError
from training.fast import bundle as bundle_of_fast
from training.pipeline import Pipeline
from training.runfolder import ConfigError, RunFolder
from training.versions import VersionNumber

QUICK = config("none", layers=(layer(maps=4, epochs=1),))
DATA = dataset()


def run(settings: RunConfig, folder: Path, models: Path) -> Path:
    return Pipeline(settings, DATA, folder, models, "the command").run().bundle


def seed_of(bundle: Path) -> int:
    seed: int = json.loads((bundle / "manifest.json").read_text())["training"]["seed"]
    return seed


def test_runs_take_one_version_after_the_other_and_keep_it(tmp_path: Path) -> None:
    settings = [replace(QUICK, seed=seed) for seed in (0, 1)]
    bundles = [run(each, tmp_path / f"run{each.seed}", tmp_path / "models") for each in settings]
    assert [(bundle.name, seed_of(bundle)) for bundle in bundles] == [("1", 0), ("2", 1)]
    assert run(settings[0], tmp_path / "run0", tmp_path / "models") == bundles[0]
    assert [seed_of(bundle) for bundle in bundles] == [0, 1]


def test_two_runs_at_a_time_take_different_versions(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path / name, {}) for name in "ab"]
    one, other = (VersionNumber(folder, tmp_path / "models" / "some") for folder in folders)
    assert (one.take(), other.take()) == ("1", "2")
    assert (one.take(), other.take()) == ("1", "2"), "an interrupted run has lost its number"


def test_what_somebody_else_has_filled_is_not_replaced(tmp_path: Path) -> None:
    bundles = tmp_path / "models" / "some"
    number = VersionNumber(RunFolder(tmp_path / "run", {}), bundles)
    assert number.take() == "1"
    (bundles / "1" / "manifest.json").write_text("{}")
    assert number.take() == "2"
    (bundles / "2").rmdir()
    assert number.take() == "2"
    elsewhere = VersionNumber(RunFolder(tmp_path / "run", {}), tmp_path / "others" / "some")
    assert elsewhere.take() == "1" and not (bundles / "3").exists()


def test_killed_when_its_bundle_is_in_place_a_run_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = export.write_bundle

    def killed(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    for _ in range(2):
        monkeypatch.setattr(pipeline, "write_bundle", killed)
        with pytest.raises(KeyboardInterrupt):
            run(QUICK, tmp_path / "run", tmp_path / "models")
        monkeypatch.setattr(pipeline, "write_bundle", real)
        assert run(QUICK, tmp_path / "run", tmp_path / "models").name == "1"


def test_a_folder_is_one_job_s_at_a_time(tmp_path: Path) -> None:
    training = Pipeline(QUICK, DATA, tmp_path / "run", tmp_path / "models", "the command")
    with training.folder.at_work(), pytest.raises(ConfigError, match="another process is at work in .*run"):
        run(QUICK, tmp_path / "run", tmp_path / "models")
    assert training.run().bundle.name == "1"


def test_a_run_is_finished_where_its_bundle_is_in_its_place_and_whole(tmp_path: Path) -> None:
    def finished(models: str = "models", version: str | None = None) -> Path | None:
        pipeline = Pipeline(QUICK, DATA, tmp_path / "run", tmp_path / models, "the command", version)
        summary = pipeline.finished()
        return summary.bundle if summary else None

    assert finished() is None
    bundle = run(QUICK, tmp_path / "run", tmp_path / "models")
    assert finished() == bundle == finished(version="1")
    assert finished(version="2") is None and finished("others") is None
    for name in ("model.onnx", "manifest.json"):
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content + b" ")
        assert finished() is None
        (bundle / name).write_bytes(content)
        assert finished() == bundle
    (bundle / "README.md").unlink()
    assert finished() is None


def test_another_test_set_is_measured_again_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(tested: int) -> Pipeline:
        test = Split(DATA.test.images[:tested], DATA.test.labels[:tested])
        return Pipeline(QUICK, replace(DATA, test=test), tmp_path / "run", tmp_path / "models", "the command")

    def measured(bundle: Path) -> Any:
        return json.loads((bundle / "manifest.json").read_text())["accuracy"]["images"]

    first = line(64).run().bundle
    assert line(64).finished() and not line(50).finished() and measured(first) == 64
    monkeypatch.setattr(winners, "step", None)  # nothing is trained
    real = VersionNumber.announce

    def killed(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(VersionNumber, "announce", killed)
        line(50).run()
    assert not line(50).finished(), "the earlier bundle is taken for one of this test set"
    assert line(50).run().bundle == first and measured(first) == 50
    assert line(50).finished() and not line(64).finished()


def test_a_run_of_before_that_has_not_noted_its_test_set_is_finished(tmp_path: Path) -> None:
    run(QUICK, tmp_path / "run", tmp_path / "models")
    note = tmp_path / "run" / "version.json"
    noted = json.loads(note.read_text())
    assert noted.pop("test") == DATA.test.digest()
    note.write_text(json.dumps(noted))
    assert Pipeline(QUICK, DATA, tmp_path / "run", tmp_path / "models", "the command").finished()


def test_a_run_in_another_models_folder_leaves_what_is_there(tmp_path: Path) -> None:
    there = run(replace(QUICK, seed=1), tmp_path / "run1", tmp_path / "other")
    run(QUICK, tmp_path / "run0", tmp_path / "models")
    assert run(QUICK, tmp_path / "run0", tmp_path / "other").name == "2"
    assert seed_of(there) == 1


def test_without_a_fast_variant_a_bundle_is_whole_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise ParityError("features of the fast graph deviate by 87.6% of their size")

    monkeypatch.setattr(bundle_of_fast, "extend", fails)
    bundle = run(QUICK, tmp_path / "run", tmp_path / "models")
    assert "fast" not in json.loads((bundle / "manifest.json").read_text())
    assert (bundle / "model.onnx").exists() and not (bundle / "model.fast.onnx").exists()
    assert "warning: the bundle gets no fast variant: features" in capsys.readouterr().err
