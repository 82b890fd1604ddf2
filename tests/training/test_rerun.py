"""Command lines one after the other: corrected, repeated, and with a name that is taken."""

import json
import shutil
from pathlib import Path

import pytest

from tests.training.test_sources import write_folder
from training import winners
from training.run import main
from training.runfolder import RunFolder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with images of its own in `photos`, for `models` and `runs` to be beside."""
    write_folder(tmp_path / "photos")
    return tmp_path


def train(home: Path, *more: str, photos: str = "photos") -> int:
    folders = ["--folder", str(home / photos), "--models-dir", str(home / "models"), "--runs-dir", str(home / "runs")]
    return main([*folders, "--size", "16", "--maps", "4", "--epochs", "1", "--threads", "1", *more])


def state(home: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of runs and bundles, with the time of its last change."""
    files = [path for part in ("models", "runs") for path in (home / part).rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def never(*_: object) -> None:
    raise AssertionError("it trains")


def test_a_name_that_is_another_models_is_refused_before_anything_is_done(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(home) == 0
    shutil.copytree(home / "photos", home / "other")
    before = state(home)
    monkeypatch.setattr(winners, "step", never)
    capsys.readouterr()
    assert train(home, "--fresh", photos="other") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {home / 'models' / 'custom-shallow' / '1'} holds a model of photos")
    assert line.endswith("give another --name or --models-dir") and state(home) == before


def test_the_end_says_what_will_be_served(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(home) == 0
    assert "served" not in capsys.readouterr().out
    assert train(home, "--seed", "1") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    bundle = home / "models" / "custom-shallow" / "2"
    assert last == f"{bundle}: served from the next start on, instead of version 1"


def test_a_finished_run_is_left_as_it_is(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(home) == 0
    first, before = capsys.readouterr().out, state(home)
    assert train(home) == 0
    captured = capsys.readouterr()
    assert captured.out == first + "already finished; --fresh trains again\n" and captured.err == ""
    assert state(home) == before
    (home / "models" / "custom-shallow" / "1" / "model.onnx").unlink()
    monkeypatch.setattr(winners, "step", never)
    assert train(home) == 0, "a bundle that is not whole is written again"
    assert (home / "models" / "custom-shallow" / "1" / "model.onnx").exists()
    assert "going on from what" in capsys.readouterr().err


def test_a_run_that_failed_before_it_learnt_is_corrected(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = home / "photos" / "train" / "class-1" / "0.png"
    for whitening in ("separable", "none"):
        broken.write_bytes(b"no image")
        assert train(home, "--whitening", whitening) == 1
        assert "0.png" in capsys.readouterr().err
        broken.unlink()
    assert train(home) == 0
    assert "going on" not in capsys.readouterr().err
    assert train(home, "--seed", "0", "--learning-rate", "0.1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "other settings (layer1.learning_rate 0.002 -> 0.1)" in line
    stages = json.loads((home / "runs" / "custom-shallow-seed0" / "stages.json").read_text())
    assert set(stages) == {"whitening", "layer1", "probe", "export"}


def test_fresh_does_not_take_the_folder_from_a_run_at_work(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(home / "runs" / "custom-shallow-seed0", {"seed": 0}).at_work():
        before = {path: content for path, (content, _) in state(home).items()}
        assert train(home, "--fresh") == 1
        assert "error: another process is at work in" in capsys.readouterr().err
        assert {path: content for path, (content, _) in state(home).items()} == before
    assert train(home, "--fresh") == 0
    assert "going on" not in capsys.readouterr().err


def test_a_broken_test_image_is_told_before_the_training(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(home) == 0
    broken = next((home / "photos" / "test" / "class-1").iterdir())
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    before = state(home)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(winners, "step", never)
        assert train(home, "--fresh") == 1 and state(home) == before
        assert train(home, "--seed", "1") == 1
        first, second = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        assert first == second and str(broken) in first
    broken.write_bytes(whole)
    assert train(home, "--seed", "1") == 0
