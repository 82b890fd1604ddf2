"""Servers side by side: which graph and settings each runs, and which of its rows counts."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.contestants import FAST, OURS, PEERS, contestants
from benchmarks.serving import best_settings


@pytest.mark.parametrize("graph", ["plain", "exact", "fast"])
def test_peers_run_the_graph_that_was_asked_for(graph: str) -> None:
    found = contestants([OURS, FAST, *PEERS, "mosec"], graph)
    assert {one.name: one.graph for one in found} == {OURS: "exact", FAST: "fast"} | dict.fromkeys(PEERS, graph)
    peer = found[2].environment("predict", Path("/graphs"))
    assert peer["PEER_MODEL"] == f"/graphs/{graph}.onnx"
    assert found[1].environment("predict", Path("/graphs"))["SCA_PRECISION"] == "fast"


def test_mosec_runs_in_both_of_its_settings() -> None:
    waits = [one.environment("predict", Path())["PEER_WAIT_MS"] for one in contestants(["mosec"], "plain")]
    assert waits == ["5", "0"]


def row(server: str, clients: int, rps: float, setting: str = "") -> dict[str, Any]:
    return {"server": server, "clients": clients, "rps": rps, "setting": setting}


def test_the_better_setting_counts_at_each_number_of_clients() -> None:
    few, many = row("mosec", 1, 90.0, "waits"), row("mosec", 8, 400.0, "waits")
    alone_few, alone_many = row("mosec", 1, 200.0, "alone"), row("mosec", 8, 300.0, "alone")
    ours = row("a", 8, 1.0)
    assert best_settings([many, few, alone_few, alone_many, ours]) == [alone_few, ours, many]
