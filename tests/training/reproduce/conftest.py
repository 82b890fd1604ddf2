"""A bench with drawn pictures, and rows that are measured in seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.drawn import dataset
from training import datasets
from training.reproduce import cost
from training.reproduce.bench import Bench

NewBench = Callable[[Path], Bench]


@pytest.fixture(autouse=True)
def drawn_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the drawn set one that can be loaded by name, and another one that is missing."""

    def missing(data_dir: Path, download: bool) -> datasets.Dataset:
        raise datasets.DataError(f"elsewhere is not under {data_dir}")

    monkeypatch.setitem(datasets.DATASETS, "drawn", lambda data_dir, download: dataset())
    monkeypatch.setitem(datasets.DATASETS, "elsewhere", missing)
    for name in ("drawn", "elsewhere"):
        monkeypatch.setitem(cost.SIZES, name, (256, 64, 12, 3))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Where nothing has been measured yet."""
    return Bench(tmp_path / "data", tmp_path / "runs", download=False, command="the command")
