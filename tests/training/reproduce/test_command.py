"""`python -m training.reproduce`: what it measures, what it leaves alone, and the report it writes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.drawn import config, dataset, layer
from tests.training.reproduce.rows import Broken, Counted, Missing, row
from training.commands import recorded_command
from training.reproduce import __main__ as command
from training.reproduce import figure1c
from training.reproduce.catalogue.figures import POINTS, Point
from training.reproduce.jobs.sca import FinalRun, ValidationRun
from training.reproduce.rows import UNAVAILABLE, Difference, FactOf, Row

ROOT = Path(__file__).parents[3]
POINT_ROWS = tuple(Row(point.row, "figure 1", point.row, "accuracy %", None, Counted(point.maps)) for point in POINTS)
ROWS = (
    row("published", None, 71.0),
    row("first", Counted(70.0), 72.7),
    row("long", Counted(200.0)),
    row("unavailable", Missing(), 6.6, UNAVAILABLE),
    *POINT_ROWS,
    Row("gain", "claims", "Gain", "points", 12.0, Difference("long", "first"), note="the paper: up to 12"),
    Row("dead", "claims", "Dead maps", "of 64", 0.0, FactOf("first", "dead_maps")),
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ROWS", ROWS)
    Counted.runs.clear()


def call(home: Path, *arguments: str) -> int:
    folders = ["--data-dir", str(home / "data"), "--runs-dir", str(home / "runs"), "--docs-dir", str(home / "docs")]
    return command.main([*folders, "--no-download", *arguments])


def reported(home: Path) -> dict[str, dict[str, Any]]:
    return {entry["row"]: entry for entry in json.loads((home / "docs" / "paper.json").read_text())}


def page(home: Path) -> str:
    return (home / "docs" / "paper.md").read_text(encoding="utf-8")


def test_a_row_is_measured_once_a_seed_and_reported(tmp_path: Path) -> None:
    assert call(tmp_path, "--rows", "first") == 0
    assert Counted.runs == [(70.0, 0), (70.0, 1), (70.0, 2)]
    entry = reported(tmp_path)["first"]
    assert entry["paper"] == 72.7 and entry["ours"] == 71.0 and entry["std"] == 1.0 and entry["seeds"] == 3
    assert entry["unit"] == "accuracy %" and entry["command"] == "python -m training.reproduce --rows 'first' --seeds 3"
    assert "| **System first** | 72.7 | 71.00 ± 1.00 | 3 |" in page(tmp_path)
    assert call(tmp_path, "--rows", "first") == 0 and len(Counted.runs) == 3


@pytest.mark.parametrize("more", [(), ("--list",)])
def test_a_row_that_is_none_is_named(tmp_path: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--rows", "no such row", *more) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no row is called 'no such row'") and error.count("\n") == 1
    assert not (tmp_path / "docs").exists()


def test_rows_that_nothing_can_measure_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--rows", "published") == 0
    assert capsys.readouterr().err == "nothing to measure: these rows have published numbers only\n"
    assert call(tmp_path, "--report-only") == 0 and not capsys.readouterr().err
    with pytest.raises(SystemExit):
        call(tmp_path, "--all", "--threads", "99999")
    assert "--threads must be from 0 to 1024: 99999" in capsys.readouterr().err


def test_a_long_row_has_one_seed_unless_more_are_asked_for(tmp_path: Path) -> None:
    call(tmp_path, "--rows", "long")
    assert Counted.runs == [(200.0, 0)]
    assert "| **System long** |  | 200.00 | 1 |" in page(tmp_path)
    assert reported(tmp_path)["long"]["std"] is None
    call(tmp_path, "--rows", "long", "--seeds", "2")
    assert Counted.runs == [(200.0, 0), (200.0, 1)]


def test_what_has_no_number_says_why(tmp_path: Path) -> None:
    call(tmp_path, "--report-only")
    assert Counted.runs == []
    rows = reported(tmp_path)
    assert [entry["row"] for entry in rows.values()] == [row.name for row in ROWS]
    absent = {name: (entry["ours"], entry["absent"]) for name, entry in rows.items()}
    assert absent["published"] == (None, "published number only") and rows["published"]["command"] is None
    assert absent["first"] == (None, "not yet measured")
    assert absent["unavailable"] == (None, "not measured: data unavailable")
    text = page(tmp_path)
    assert "| **System unavailable** | 6.6 | not measured: data unavailable |" in text
    assert "| **System published** | 71.0 |  |" in text and "Nothing has been measured yet." in text


def test_a_row_that_fails_does_not_keep_others_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ROWS", (row("missing", Missing()), row("bug", Broken()), *POINT_ROWS, ROWS[1]))
    assert call(tmp_path, "--table", "1", "--seeds", "1") == 1
    out = capsys.readouterr().out
    assert "missing, seed 0: not yet measured: small NORB is not there" in out and "ZeroDivisionError: a bug" in out
    assert Counted.runs == [(70.0, 0)] and reported(tmp_path)["first"]["ours"] == 70.0


def test_a_number_says_which_images_its_job_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = config("none", layers=(layer(maps=4, epochs=1),))
    trial, final = row("trial", ValidationRun(run)), row("final", FinalRun(run))
    monkeypatch.setattr(command, "ROWS", (trial, final, *POINT_ROWS))
    assert call(tmp_path, "--table", "1", "--seeds", "1") == 0
    rows = reported(tmp_path)
    data = {name: rows[name]["measured"]["0"]["data"]["drawn"] for name in ("trial", "final")}
    assert data["trial"]["test_images"] == 0 and data["final"]["test_images"] == 64
    assert data["trial"]["training_images"] == 256
    assert data["trial"]["training_sha256"] == data["final"]["training_sha256"] == dataset().train.digest()
    assert rows["trial"]["split"] == "validation" and "held-out fifth" in rows["trial"]["measured"]["0"]["tuned"]


@pytest.mark.parametrize(("reason", "status"), [(UNAVAILABLE, 0), ("", 1)])
def test_only_data_that_should_be_there_is_a_failure(
    reason: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ROWS", (row("missing", Missing(), reason=reason), *POINT_ROWS))
    assert call(tmp_path, "--table", "1") == status


def test_rows_that_others_follow_from_are_measured_with_them(tmp_path: Path) -> None:
    call(tmp_path, "--claims", "--seeds", "1")
    assert Counted.runs == [(70.0, 0), (200.0, 0)]
    rows = reported(tmp_path)
    assert rows["gain"]["ours"] == 130.0 and rows["dead"]["ours"] == 3.0
    assert rows["gain"]["command"] == "python -m training.reproduce --rows 'long' --rows 'first' --seeds 1"
    assert "| Gain<br><sub>the paper: up to 12</sub> | points | 12 | 130.00 | 1 |" in page(tmp_path)
    assert "| Dead maps | of 64 | 0 | 3 | 1 |" in page(tmp_path)


def test_a_difference_is_taken_seed_by_seed(tmp_path: Path) -> None:
    call(tmp_path, "--rows", "first", "--seeds", "3")
    call(tmp_path, "--rows", "long", "--seeds", "2")
    entry = reported(tmp_path)["gain"]
    assert (entry["ours"], entry["std"], entry["seeds"]) == (130.0, 0.0, 2)


def test_an_interrupted_report_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Counted.run

    def cut(self: Counted, bench: Any, seed: int, folder: Path) -> Any:
        if seed == 1:
            raise KeyboardInterrupt
        return plain(self, bench, seed, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Counted, "run", cut)
        assert call(tmp_path, "--rows", "first") == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert reported(tmp_path)["first"]["seeds"] == 1  # written after each number
    assert call(tmp_path, "--rows", "first") == 0
    assert Counted.runs == [(70.0, 0), (70.0, 1), (70.0, 2)]


def test_pictures_stand_beside_the_report_and_state_that_served_is_gone(tmp_path: Path) -> None:
    call(tmp_path, "--rows", "first", "--seeds", "1")
    assert reported(tmp_path)["first"]["picture"] == "paper/first.png"
    assert (tmp_path / "docs" / "paper" / "first.png").exists()
    assert "![System first](paper/first.png)" in page(tmp_path)
    left = {path.name for path in (tmp_path / "runs" / "results" / "first").rglob("*") if path.is_file()}
    assert left == {"seed0.json", "picture.png"}


def test_a_picture_of_other_settings_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(tmp_path, "--rows", "first", "--seeds", "1")
    monkeypatch.setattr(command, "ROWS", (row("first", Counted(80.0)), *POINT_ROWS))
    call(tmp_path, "--report-only")
    assert reported(tmp_path)["first"]["picture"] is None and "first.png" not in page(tmp_path)


def test_figure_1c_is_drawn_of_what_is_known(tmp_path: Path) -> None:
    call(tmp_path, "--report-only")
    assert not (tmp_path / "docs" / "paper").exists() and "figure-1c.png" not in page(tmp_path)
    call(tmp_path, "--figure", "1", "--seeds", "2", "--rows", "figure 1c k-means whitened 1*")
    assert (tmp_path / "docs" / "paper" / "figure-1c.png").stat().st_size > 10_000
    text = page(tmp_path)
    assert "![Accuracy over the number of maps](paper/figure-1c.png)" in text
    column = figure1c.SERIES.index(("k-means", "whitened"))
    line = next(line for line in text.splitlines() if line.startswith("| 100 |"))
    assert line.split("|")[2 + column].strip() == "100.50 ± 0.71"


def test_the_point_that_is_also_in_table_2_is_measured_there() -> None:
    assert Point("sca", "whitened", 512).row == "cifar10 shallow 512"


def test_the_list_says_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(tmp_path, "--rows", "first", "--seeds", "1")
    Counted.runs.clear()
    capsys.readouterr()
    assert call(tmp_path, "--list", "--table", "1", "--seeds", "1") == 0
    head, first, long, _, total = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert head == "row in the report seeds here left to do here"
    assert first == "first 70.00 accuracy % 1 1/1 nothing"
    assert long == "long - 0 0/1 about 2.0 h"
    assert total == "all of these about 2.0 h" and Counted.runs == []
    # A checkout has the report, not the runs that it was measured in.
    shutil.rmtree(tmp_path / "runs")
    assert call(tmp_path, "--list", "--rows", "first") == 0
    assert "70.00 accuracy %  1      0/3" in capsys.readouterr().out and Counted.runs == []


def test_it_says_beforehand_how_long_a_job_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(tmp_path, "--rows", "long")
    assert "[1/1] long, seed 0: about 2.0 h" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("arguments", [[], ["--table", "4"], ["--figure", "0"], ["--all", "--seeds", "0"], ["--rows"]])
def test_a_command_that_makes_no_sense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command.main(arguments)
    assert left.value.code == 2 and "usage:" in capsys.readouterr().err


def test_the_whole_report_is_written_from_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "training.reproduce", "--report-only"]
        + ["--docs-dir", str(tmp_path / "docs"), "--runs-dir", str(tmp_path / "runs")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    for heading in ("Table 1", "Table 2", "Table 3", *(f"Figure {n}" for n in range(1, 6)), "Few labels", "Choices"):
        assert f"\n## {heading}" in page(tmp_path)


def test_a_number_remembers_its_command_without_folders() -> None:
    given = ["--rows", "first *", "--data-dir", "/home/me/data", "--runs-dir=/scratch/runs", "--seeds", "1"]
    assert recorded_command("some.module", given) == "python -m some.module --rows 'first *' --seeds 1"
    for folder in (["--folder", "/home/me/photos/"], ["--folder=/home/me/photos"]):
        told = recorded_command("some.module", [*folder, "--maps", "8"])
        assert told == "python -m some.module --folder photos --maps 8"
