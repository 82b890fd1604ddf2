"""Numbers of other machines, other settings and other times: what stays in the report, and what it says of them."""

import json
from pathlib import Path

import pytest

from tests.training.reproduce.rows import Counted, row
from tests.training.reproduce.test_command import POINT_ROWS, call, page, reported, small
from training.reproduce import __main__ as command

__all__ = ["small"]  # the fixture that gives the command few rows


def test_changed_settings_are_measured_anew_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(tmp_path, "--rows", "first", "--seeds", "1")
    monkeypatch.setattr(command, "ROWS", (row("first", Counted(80.0)), *POINT_ROWS))
    call(tmp_path, "--report-only")
    assert reported(tmp_path)["first"]["ours"] is None
    call(tmp_path, "--rows", "first", "--seeds", "1")
    assert reported(tmp_path)["first"]["ours"] == 80.0
    assert "| first | test | 0 | 70.00 | 80.00 |" in page(tmp_path)


def test_a_number_that_another_machine_replaces_stays_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(tmp_path, "--rows", "first", "--seeds", "1")
    path = tmp_path / "docs" / "paper.json"
    entry = reported(tmp_path)["first"]
    entry["measured"]["0"] |= {"value": 69.0, "finished": "2014-09-01T00:00:00Z"}
    path.write_text(json.dumps([entry]))
    call(tmp_path, "--report-only")
    former = [{"seed": 0, "value": 69.0, "finished": "2014-09-01T00:00:00Z", "settings": entry["settings"]}]
    assert reported(tmp_path)["first"]["former"] == former and reported(tmp_path)["first"]["ours"] == 70.0
    assert "| first | test | 0 | 69.00 | 70.00 |" in page(tmp_path)
    monkeypatch.setattr(command, "ROWS", (row("first", Counted(80.0)), *POINT_ROWS))
    call(tmp_path, "--report-only")
    assert [reading["value"] for reading in reported(tmp_path)["first"]["former"]] == [69.0, 70.0]
    assert "| first | test | 0 | 70.00 |  |" in page(tmp_path)


def test_a_gpu_is_named_beside_the_time_and_in_the_command(tmp_path: Path) -> None:
    call(tmp_path, "--rows", "first", "--rows", "dead", "--seeds", "1")
    path = tmp_path / "runs" / "results" / "first" / "seed0.json"
    result = json.loads(path.read_text())
    result["machine"]["device"] = "NVIDIA H200"
    path.write_text(json.dumps(result))
    call(tmp_path, "--report-only")
    assert reported(tmp_path)["first"]["command"].endswith("--rows 'first' --seeds 1 --device cuda")
    assert "(NVIDIA H200) |" in page(tmp_path)


def test_the_time_is_that_of_the_device_which_is_named(tmp_path: Path) -> None:
    call(tmp_path, "--rows", "first", "--seeds", "3")
    for seed, (device, seconds) in enumerate([("cpu", 5440.0), ("NVIDIA H200", 184.0), ("NVIDIA H200", 148.0)]):
        path = tmp_path / "runs" / "results" / "first" / f"seed{seed}.json"
        result = json.loads(path.read_text())
        result["machine"]["device"], result["seconds"] = device, seconds
        path.write_text(json.dumps(result))
    call(tmp_path, "--report-only")
    assert reported(tmp_path)["first"]["seconds"] == 166.0
    assert "| 3 min (NVIDIA H200) |" in page(tmp_path)


def test_numbers_of_another_machine_stay_in_the_report(tmp_path: Path) -> None:
    call(tmp_path, "--rows", "first", "--seeds", "2")
    before = page(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    call(tmp_path, "--report-only")
    assert page(tmp_path) == before
    call(tmp_path, "--rows", "long")
    rows = reported(tmp_path)
    assert rows["first"]["ours"] == 70.5 and rows["long"]["ours"] == 200.0
