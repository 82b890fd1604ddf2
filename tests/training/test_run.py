"""The command line: what it does, what it says, and that a killed run ends the same."""

import json
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training import official
from tests.training.stereo import write_rendered
from training import datasets, winners
from training.options import config_of, parse
from training.presets import PRESETS
from training.run import main

ROOT = Path(__file__).parents[2]
STEPS = 320 // 64 * 2


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files that pass for the official MNIST."""
    official.publish_mnist(monkeypatch, tmp_path / "data")
    return tmp_path / "data"


def command(data: Path, home: Path, *more: str) -> list[str]:
    folders = ["--data-dir", str(data), "--models-dir", str(home / "models"), "--runs-dir", str(home / "runs")]
    return ["--dataset", "mnist", "--maps", "6", "--epochs", "2", "--threads", "1", "--no-download", *folders, *more]


def onnx_bytes(home: Path, version: str = "1") -> bytes:
    return (home / "models" / "mnist-shallow" / version / "model.onnx").read_bytes()


def test_it_trains_from_official_files_and_sums_up(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(data, tmp_path)) == 0
    manifest = json.loads((tmp_path / "models" / "mnist-shallow" / "1" / "manifest.json").read_text())
    out = capsys.readouterr().out
    for words in (
        f"{manifest['accuracy']['value']:.2f} %",
        "(paper: 0.64 % with 128 maps)",
        "600",
        "dead maps",
        "peak memory",
        "probe",
    ):
        assert words in out
    assert manifest["accuracy"]["metric"] == "error" and manifest["feature_dim"] == 600
    assert manifest["input"]["color_mode"] == "L" and manifest["labels"] == list("0123456789")
    assert manifest["training"]["command"].startswith("python -m training.run --dataset mnist --maps 6")


def test_a_deep_preset_goes_from_files_to_a_bundle(data: Path, tmp_path: Path) -> None:
    folders = ["--data-dir", str(data), "--runs-dir", str(tmp_path / "runs"), "--models-dir", str(tmp_path / "models")]
    sizes = ["--maps", "5", "--layer-images", "64", "--epochs", "1", "--threads", "1"]
    assert main(["--preset", "mnist-deep", "--no-download", *sizes, *folders]) == 0
    manifest = json.loads((tmp_path / "models" / "mnist-deep" / "1" / "manifest.json").read_text())
    assert [one["output_shape"] for one in manifest["layers"]] == [[128, 10, 10], [5, 5, 5]]
    assert manifest["feature_dim"] == 125 and manifest["accuracy"]["paper"] == 0.48
    assert [one["images"] for one in manifest["training"]["config"]["layers"]] == [None, 64]


def test_killed_by_the_kernel_and_started_again_it_ends_the_same(data: Path, tmp_path: Path) -> None:
    step = random.randrange(2, STEPS + 1)
    digests = json.dumps(datasets.MNIST_FILES)
    arguments = command(data, tmp_path / "killed")
    killed = subprocess.run(
        [sys.executable, "-m", "tests.training.killed", digests, str(step), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed" / "models").exists()
    assert main(arguments) == 0
    assert main(command(data, tmp_path / "whole")) == 0
    assert onnx_bytes(tmp_path / "killed") == onnx_bytes(tmp_path / "whole"), f"killed before step {step}"


def test_control_c_says_how_to_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(winners, "step", stop)
    assert main(command(data, tmp_path)) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_other_settings_in_the_same_folder_need_fresh(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(data, tmp_path)) == 0
    other = ["--epochs", "1"]
    assert main(command(data, tmp_path, *other)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "--fresh" in error
    assert main(command(data, tmp_path, *other, "--fresh")) == 0
    assert onnx_bytes(tmp_path, "2") != onnx_bytes(tmp_path, "1")


def test_a_version_may_be_named(data: Path, tmp_path: Path) -> None:
    assert main(command(data, tmp_path, "--version", "7")) == 0
    assert onnx_bytes(tmp_path, "7")


def test_missing_data_is_one_clear_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "training.run",
            "--dataset",
            "cifar10",
            "--no-download",
            "--data-dir",
            str(tmp_path / "none"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: CIFAR-10 is not under") and "--data-dir" in line


def test_it_trains_on_rendered_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--data-dir", str(tmp_path), "--models-dir", str(tmp_path / "m"), "--runs-dir", str(tmp_path / "r")]
    arguments = ["--dataset", "rendered-stereo", "--maps", "4", "--epochs", "1", "--threads", "1", *folders]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: rendered-stereo is not under") and "python -m training.rendered" in line
    write_rendered(tmp_path / "rendered-stereo")
    assert main(arguments) == 0
    manifest = json.loads((tmp_path / "m" / "rendered-stereo-shallow" / "1" / "manifest.json").read_text())
    assert manifest["input"]["views"] == 2 and manifest["feature_dim"] == 2 * 4 * 9 * 9
    assert manifest["accuracy"]["paper"] is None and manifest["accuracy"]["images"] == 150
    assert "on all 150 test pairs of images" in manifest["accuracy"]["conditions"]


@pytest.mark.parametrize("arguments", [[], ["--dataset", "svhn"], ["--dataset", "mnist", "--preset", "mnist-shallow"]])
def test_a_command_that_makes_no_sense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2 and "usage:" in capsys.readouterr().err


def test_the_command_line_changes_the_preset_and_nothing_else() -> None:
    assert config_of(parse(["--dataset", "cifar10"])) == PRESETS["cifar10-shallow"]
    named = config_of(parse(["--dataset", "cifar10", "--name", "trial"]))
    assert named == replace(PRESETS["cifar10-shallow"], name="trial")
    changed = config_of(parse(["--preset", "mnist-shallow", "--seed", "5", "--maps", "9", "--whitening", "zca"]))
    assert changed.seed == 5 and changed.layers[0].maps == 9 and changed.whitening == "zca"
    assert changed.layers[0].epochs == PRESETS["mnist-shallow"].layers[0].epochs
    narrow = config_of(parse(["--preset", "cifar10-deep", "--maps", "128,512"]))
    assert [layer.maps for layer in narrow.layers] == [128, 512]
    last = config_of(parse(["--preset", "cifar10-deep", "--maps", "64"]))
    assert [layer.maps for layer in last.layers] == [512, 64]
    deep = config_of(parse(["--preset", "mnist-deep", "--layer-images", "500"]))
    assert [one.images for one in deep.layers] == [None, 500]
    rates = [
        one.learning_rate for one in config_of(parse(["--preset", "cifar10-deep", "--learning-rate", "0.1"])).layers
    ]
    assert rates == [PRESETS["cifar10-deep"].layers[0].learning_rate, 0.1]
    probe = config_of(parse(["--dataset", "mnist", "--copies", "0"])).probe
    assert probe == replace(PRESETS["mnist-shallow"].probe, augmentation=None)
    more = config_of(parse(["--dataset", "mnist", "--copies", "6"])).probe.augmentation
    assert more and PRESETS["mnist-shallow"].probe.augmentation and more.copies == 6 and more.shift == 1.5


def test_pictures_of_ones_own_are_not_mirrored(tmp_path: Path) -> None:
    assert config_of(parse(["--folder", str(tmp_path)])).probe.augmentation is None


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--dataset", "cifar10", "--copies", "2"], "alike: only mirrored"),
        (["--dataset", "norb", "--copies", "1"], "norb"),
        (["--dataset", "mnist", "--maps", "8,9"], "2 numbers"),
    ],
)
def test_options_that_do_not_go_together_are_one_clear_line(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {arguments[2]}") and word in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--maps", "0", "maps must be at least 1: 0"),
        ("--layer-images", "0", "images must be at least 1: 0"),
        ("--layer-images", "-3", "images must be at least 1: -3"),
        ("--epochs", "0", "epochs must be at least 1: 0"),
        ("--learning-rate", "0", "learning_rate must be a number above 0: 0.0"),
        ("--learning-rate", "-1", "learning_rate must be a number above 0: -1.0"),
        ("--learning-rate", "nan", "learning_rate must be a number above 0: nan"),
        ("--threads", "-1", "--threads must be from 0 to 1024: -1"),
        ("--threads", "99999", "--threads must be from 0 to 1024: 99999"),
        ("--copies", "-1", "--copies must not be negative: -1"),
        ("--size", "0", "--size must be from 1 to 4096 pixels: 0"),
        ("--version", "0", "--version is a number from 1 on: '0'"),
        ("--version", "../2", "--version is a number from 1 on: '../2'"),
        ("--name", "../x", "--name may have letters, digits, dots, dashes and underscores: '../x'"),
        ("--seed", "-1", "seed must not be negative: -1"),
        ("--seed", str(1 << 63), f"seed must be below 2**63: {1 << 63}"),
        ("--size", "64", "--size goes with --folder"),
        ("--color-mode", "L", "--color-mode goes with --folder"),
    ],
)
def test_an_impossible_value_is_one_clear_line(
    option: str, value: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--models-dir", str(tmp_path / "models"), "--runs-dir", str(tmp_path / "runs")]
    assert main(["--dataset", "mnist", "--no-download", *folders, option, value]) == 1
    assert capsys.readouterr().err == f"error: {word}\n"
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_concern_a_folder_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path), "--data-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: --data-dir goes without --folder\n"


def test_more_images_than_there_are_is_one_clear_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(data, tmp_path, "--layer-images", "321")) == 1
    assert capsys.readouterr().err == "error: --layer-images 321: there are only 320\n"
