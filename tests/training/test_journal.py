"""A run's log: what goes in comes out, over several attempts."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.journal import Journal


def test_scalars_come_back_as_series_over_attempts(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.prefix = "layer1/"
        journal.scalars(50, {"loss": 0.5, "rate": 1.0})
        journal.scalars(100, {"loss": 0.4})
    with Journal(tmp_path) as journal:  # the second attempt does step 100 again
        journal.prefix = "layer1/"
        journal.scalars(100, {"loss": 0.41})
        journal.event("epoch", loss=9)
        assert journal.series("layer1/loss") == ([50, 100], [0.5, 0.41])
        assert journal.series("layer2/loss") == ([], [])


def test_a_line_that_a_crash_cut_off_does_not_end_the_next_attempt(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.scalars(1, {"loss": 0.5})
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"time": "2026-01-01T00:00:00Z", "event": "sca')
    with Journal(tmp_path) as journal:
        journal.scalars(2, {"loss": 0.4})
        assert journal.series("loss") == ([1, 2], [0.5, 0.4])


def test_every_line_is_json_and_is_there_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.event("begin", what="now")
        (line,) = (
            (tmp_path / "log.jsonl").read_text().splitlines()
        )  # before the journal is closed: a kill loses nothing
        record = json.loads(line)
    assert record["event"] == "begin" and record["what"] == "now" and record["time"].endswith("Z")


def test_warnings_are_logged_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(tmp_path) as journal:
        journal.warn("five maps are dead")
    assert "warning: five maps are dead" in capsys.readouterr().err
    assert "five maps are dead" in (tmp_path / "log.jsonl").read_text()


def test_tensorboard_gets_scalars_and_pictures(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.prefix = "layer1/"
        journal.scalars(1, {"loss": 0.5})
        journal.picture("filters", np.zeros((4, 5, 3), np.uint8))
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = file.read_bytes()
    assert b"layer1/loss" in content and b"filters" in content
