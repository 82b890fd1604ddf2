"""The rows about requests that come on their own: what they say of refused ones."""

import pytest

from benchmarks import arrivals
from benchmarks.arrivals import paced_row, watch
from benchmarks.wrk import Load


def test_what_was_refused_is_told() -> None:
    load = Load(rps=90.0, p50_ms=1.0, p99_ms=2.0, refused=20, refused_rps=10.0)
    refused = paced_row("predict", True, load)
    assert (refused["status"], refused["rps"], refused["refused"]) == ("any", 90.0, 10.0)
    none = paced_row("predict", False, Load(90.0, 1.0, 2.0, 0, 0.0))
    assert (none["status"], none["refused"], none["load"]) == (200, 0.0, "70 %, random")


def test_rows_under_overload_tell_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers(self: arrivals.Client, rate: float, seconds: float) -> None:
        self.seconds |= {200: [0.1, 0.1], 429: [0.001] * 6, 0: [0.0]}

    monkeypatch.setattr(arrivals.Client, "run", answers)
    found = watch("http://127.0.0.1:1/predict", [b""], 9.0, 2.0)
    assert [(row["status"], row["rps"], row["refused"]) for row in found] == [
        (0, 0.5, 3.0),
        (200, 1.0, 3.0),
        (429, 3.0, 3.0),
    ]
    assert found[0].keys() == paced_row("predict", True, Load(1.0, 1.0, 1.0, 0, 0.0)).keys(), "one table holds both"
