"""A run's folder: whose it is, and what other settings may take over."""

import json
from pathlib import Path

import pytest
import torch

from training import checkpoints
from training.runfolder import ConfigError, RunFolder


def begun(folder: Path, settings: dict[str, object]) -> RunFolder:
    """An attempt that has learnt nothing yet."""
    run = RunFolder(folder, settings)
    with run.at_work() as journal, run.timed("whitening"):
        journal.scalars(1, {"loss": 0.5})
    return run


def kept(folder: Path) -> object:
    return json.loads((folder / "config.json").read_text())


def test_other_settings_take_over_what_has_learnt_nothing(tmp_path: Path) -> None:
    begun(tmp_path, {"seed": 0})
    checkpoints.save(tmp_path / "whitening.npz", {})  # as a run without whitening leaves it
    other = RunFolder(tmp_path, {"seed": 1})
    assert kept(tmp_path) == {"seed": 1} and other.stages == {} and not other.has_learnt()
    with other.at_work() as journal:
        assert journal.series("loss") == ([], []), "the other attempt's curve"
    assert not (tmp_path / "whitening.npz").exists()


@pytest.mark.parametrize("name", ["whitening.npz", "layer1.npz"])
def test_what_was_learnt_is_kept_and_the_difference_named(name: str, tmp_path: Path) -> None:
    begun(tmp_path, {"seed": 0})
    checkpoints.save(tmp_path / name, {"mean": torch.zeros(2)})
    with pytest.raises(ConfigError, match=r"other settings \(seed 0 -> 1\): give --fresh"):
        RunFolder(tmp_path, {"seed": 1})
    assert kept(tmp_path) == {"seed": 0} and (tmp_path / "log.jsonl").exists()
    assert RunFolder(tmp_path, {"seed": 0}).has_learnt()


def test_a_run_that_is_at_work_is_not_taken_over(tmp_path: Path) -> None:
    with begun(tmp_path, {"seed": 0}).at_work(), pytest.raises(ConfigError, match="another process is at work"):
        RunFolder(tmp_path, {"seed": 1})
    assert kept(tmp_path) == {"seed": 0}
