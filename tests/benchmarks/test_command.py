"""What a benchmark says and returns when something is not as it should be, before it has measured anything."""

import argparse
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.command import output_file, positive_float, positive_int, run

DATA = ["--data-dir", "/no/such/folder"]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Puts the signals' handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def start(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> int:
    """Runs a benchmark in this process; returns its exit status."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    try:
        return run(importlib.import_module(f"benchmarks.{name}").main)
    except SystemExit as left:
        return int(str(left.code))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serving", "--rounds", "0"], "argument --rounds: '0' is not"),
        (["serving", "--clients", "0"], "argument --clients: '0' is not"),
        (["serving", "--seconds", "nan"], "argument --seconds: 'nan' is not"),
        (["arrivals", "--seconds", "-1"], "argument --seconds: '-1' is not"),
        (["formats", "--json", "/no/such/folder/x.json"], "there is no folder '/no/such/folder'"),
        (["graph", "--batch", "0"], "argument --batch: '0' is not"),
        (["graph", "--threads", "foo"], "argument --threads: 'foo' is neither"),
        (["graph", "--threads", "2x0"], "argument --threads: '2x0' is neither"),
        (["training_step", "--threads", "-2"], "argument --threads: '-2' is not"),
        (["triangle_kmeans", "--repeats", "many"], "argument --repeats: 'many' is not"),
        (["pipeline", "--images", "0"], "argument --images: '0' is not"),
    ],
    ids=" ".join,
)
def test_an_option_that_cannot_be_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert start(monkeypatch, *arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serving", "--server", "sca-features", *DATA], "CIFAR-10 is not under /no/such/folder"),
        (
            ["serving", "--server", "mosec", "--peers-python", "/no/python"],
            "mosec: there is no /no/python; `make peers`",
        ),
        (["arrivals", *DATA], "CIFAR-10 is not under /no/such/folder"),
        (["formats", *DATA], "CIFAR-10 is not under /no/such/folder"),
        (["graph", "--bundle", "/no/bundle"], "/no/bundle/manifest.json"),
        (["plain_export", "/no/bundle", "plain.onnx"], "/no/bundle/model.onnx"),
        (["accuracy", "--url", "http://127.0.0.1:1"], "http://127.0.0.1:1: no server of ours"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert start(monkeypatch, *arguments) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1 and says in errors


def test_cuda_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert start(monkeypatch, "training_step", "--device", "cuda", "--threads", str(torch.get_num_threads())) == 1
    assert capsys.readouterr().err == "error: --device cuda: this torch finds no CUDA device\n"


@pytest.mark.parametrize("name", ["serving", "arrivals", "formats"])
def test_without_wrk_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert start(monkeypatch, name) == 1
    assert capsys.readouterr().err == "error: wrk is not installed; on Debian or Ubuntu: apt install wrk\n"


def test_ctrl_c_and_sigterm_have_their_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: os.kill(os.getpid(), signal.SIGINT)) == 130
    with pytest.raises(SystemExit) as left:
        run(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN, "it leaves once"
    assert "Traceback" not in capsys.readouterr().err


def test_a_mistake_in_a_benchmark_keeps_its_traceback() -> None:
    def mistaken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(mistaken)
    assert run(mistaken, KeyError) == 1
    assert run(lambda: None) == 0 and run(lambda: 3) == 3


def test_values(tmp_path: Path) -> None:
    assert (positive_int("12"), positive_float("0.5")) == (12, 0.5)
    assert output_file(str(tmp_path / "new.json")) == tmp_path / "new.json"
    for text in ("inf", "0", "-0", "1e999", "two", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            positive_float(text)
    with pytest.raises(argparse.ArgumentTypeError, match="is a folder"):
        output_file(str(tmp_path))
