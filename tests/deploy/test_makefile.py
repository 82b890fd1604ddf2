"""The Makefile's verbs: which environment each one uses, and what an unfit Python is told."""

import os
import re
import subprocess
from pathlib import Path

import pytest

VERBS = ["help", "serve", "test", "lint", "format", "train", "bench", "peers", "up", "down", "clean"]


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    return subprocess.run(["make", *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=30)


def test_help_lists_every_verb(root: Path) -> None:
    assert re.findall(r"^  make (\w+)", make(root, "help").stdout, re.MULTILINE) == VERBS


def fresh_install(root: Path, tmp_path: Path, verb: str) -> str:
    """Returns the commands that `make <verb>` would run in a clone without environments."""
    (tmp_path / "Makefile").write_text((root / "Makefile").read_text())
    (tmp_path / "pyproject.toml").touch()
    return make(tmp_path, "--dry-run", verb).stdout


def test_serve_installs_the_service_alone(root: Path, tmp_path: Path) -> None:
    commands = fresh_install(root, tmp_path, "serve")
    assert re.findall(r"'\.\[(\w+)\]'", commands) == ["cpu"]
    assert ".venv/bin/python -m service" in commands and ".venv-dev" not in commands


@pytest.mark.parametrize(("verb", "extra"), [("test", "dev"), ("lint", "dev"), ("train", "training")])
def test_other_verbs_leave_the_serving_environment_alone(root: Path, tmp_path: Path, verb: str, extra: str) -> None:
    commands = fresh_install(root, tmp_path, verb)
    assert re.findall(r"'\.\[(\w+)\]'", commands) == [extra]
    assert ".venv/" not in commands


def test_train_passes_its_arguments(root: Path, tmp_path: Path) -> None:
    commands = make(root, "--dry-run", "train", "DATASET=mnist", "DATA_DIR=/a b", "ARGS=--seed 1").stdout
    assert "-m training.run --dataset mnist --data-dir '/a b' --seed 1" in commands


def test_bench_tunes_the_service_alone_or_runs_a_benchmark(root: Path, tmp_path: Path) -> None:
    commands = fresh_install(root, tmp_path, "bench")
    assert ".venv/bin/python -m service.bench" in commands and ".venv-dev" not in commands
    commands = make(root, "--dry-run", "bench", "BENCH=graph", "ARGS=--json x").stdout
    assert ".venv-dev/bin/python -m benchmarks.graph --json x" in commands and "service.bench" not in commands


def test_peers_have_an_environment_of_their_own(root: Path, tmp_path: Path) -> None:
    commands = fresh_install(root, tmp_path, "peers")
    assert ".venv-peers/bin/python -m pip install" in commands
    assert "--requirement benchmarks/peers/requirements.txt" in commands and "onnxruntime==" in commands


@pytest.mark.parametrize("python", ["no-such-python", "false"])
def test_an_unfit_python_is_named(root: Path, tmp_path: Path, python: str) -> None:
    fresh_install(root, tmp_path, "serve")
    answer = make(tmp_path, "serve", f"PYTHON={python}")
    assert answer.returncode != 0
    assert f'error: Python 3.11 or newer is needed and "{python}" is not' in answer.stderr
    assert not (tmp_path / ".venv").exists()
