"""The tuner measures every setting, and picks the shortest runs among the fastest."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from service import bench
from service.bench import Measured, measure, recommend
from service.bundle import load_bundle
from service.settings import read_settings
from tests.bundles import write_bundle
from tests.conftest import settings


def test_every_setting_is_measured(models_dir: Path) -> None:
    bundle = load_bundle(models_dir / "mnist-shallow" / "1")
    table = measure(bundle, settings(models_dir, max_batch=3), 0.2, 2)
    shapes = [(1, 1), (2, 1), (2, 2)]
    assert [(row.threads, row.runs, row.batch) for row in table] == [(*s, batch) for s in shapes for batch in (1, 2, 3)]
    for row in table:
        assert row.images_s > 0 and 0 < row.p50_ms <= row.p99_ms


def test_nearly_the_same_throughput_is_won_by_the_shortest_run() -> None:
    slow = Measured(2, 1, 1, 90.0, 1.0, 2.0)
    large = Measured(2, 2, 32, 100.0, 40.0, 41.0)
    small = Measured(2, 2, 4, 98.0, 5.0, 6.0)
    assert recommend([slow, large, small]) == small
    assert recommend([slow, large]) == large


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_it_prints_and_writes_settings_that_the_service_takes(
    tmp_path: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path, "cifar10-shallow", fast=True)
    flags = ["--models-dir", str(tmp_path), "--max-batch", "2", "--threads", "1", "--device", "cpu"]
    file = tmp_path / "bench.json"
    assert bench.main(["--seconds", "0.1", "--json", str(file), *flags, "--precision", precision]) == 0
    title, header, *rows, empty, last = capsys.readouterr().out.splitlines()
    assert title == f"cifar10-shallow 1, {precision}"
    assert header.split() == ["threads", "runs", "batch", "images/s", "p50", "ms", "p99", "ms"]
    assert [row.split()[:3] for row in rows] == [["1", "1", "1"], ["1", "1", "2"]]
    assert not empty
    written = json.loads(file.read_text())
    assert (written["model"], written["precision"], len(written["rows"])) == ("cifar10-shallow", precision, 2)
    assert last == " ".join(f"{name}={value}" for name, value in written["settings"].items())
    chosen = read_settings(environ=written["settings"])
    assert (chosen.precision, chosen.threads, chosen.concurrent_runs) == (precision, 1, 1)
    assert chosen.max_batch in (1, 2)


def test_quick_is_quick() -> None:
    assert bench._parse(["--quick"])[0].seconds < bench._parse([])[0].seconds


@pytest.mark.parametrize(
    "flags",
    [
        ["--default-model", "nope"],
        ["--no-such-flag", "1"],
        ["--device", "abacus"],
        ["--precision", "fast"],
        ["--json", "/no/such/folder/bench.json"],
    ],
)
def test_what_is_not_there_is_named(models_dir: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--models-dir", str(models_dir), "--max-batch", "1", "--seconds", "0.01", *flags]) == 1
    assert flags[1] in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1", "soon"])
def test_seconds_have_to_end(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        bench.main(["--seconds", seconds])
    assert left.value.code == 2
    assert f"argument --seconds: '{seconds}' is not a number above 0" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_found_before_anything_is_measured(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure", None)
    for file in (tmp_path, tmp_path / "no" / "bench.json"):
        assert bench.main(["--models-dir", str(models_dir), "--json", str(file)]) == 1
        assert str(file) in capsys.readouterr().err


def test_ctrl_c_ends_it_at_once(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = threading.active_count()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert bench.main(["--models-dir", str(models_dir), "--seconds", "9000"]) == 130
    assert capsys.readouterr().err == "\nstopped\n"
    assert threading.active_count() <= others, "a run that nobody waits for goes on"
