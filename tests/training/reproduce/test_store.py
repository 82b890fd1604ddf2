"""What is kept of a measurement, and for how long it holds."""

import dataclasses
from pathlib import Path

import pytest

from tests.training.reproduce.rows import Counted, row
from training.features import CPU
from training.reproduce.conditions import conditions
from training.reproduce.rows import Outcome
from training.reproduce.store import Store, settings_of, slug

MORE = {"command": "the command", **conditions(CPU)}
JOB = Counted(7.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_number_is_kept_with_its_conditions(store: Store) -> None:
    store.put(row("one", JOB), JOB, 2, Outcome(7.5, {"dead_maps": 3}), 12.34, MORE)
    kept = store.get(row("one", JOB), JOB, 2)
    assert kept is not None
    assert (kept["row"], kept["seed"], kept["value"], kept["unit"]) == ("one", 2, 7.5, "accuracy %")
    assert (
        kept["tuned"] == "nothing"
        and kept["facts"] == {"dead_maps": 3}
        and kept["seconds"] == 12.3
        and kept["split"] == "test"
    )
    assert kept["machine"]["threads"] >= 1 and kept["machine"]["processor"]
    assert {"python", "torch", "numpy", "numba", "onnxruntime"} <= kept["versions"].keys()
    assert kept["command"] == "the command" and kept["settings"]["base"] == 7.0 and kept["finished"].endswith("Z")
    assert list(store.seeds(row("one", JOB), JOB)) == [2]


def test_the_time_of_all_attempts_goes_first(store: Store) -> None:
    assert store.put(row("one", JOB), JOB, 0, Outcome(1.0, seconds=99.0), 1.0, MORE)["seconds"] == 99.0


def test_a_number_holds_for_its_settings_only(store: Store) -> None:
    store.put(row("one", JOB), JOB, 0, Outcome(7.0), 1.0, MORE)
    other = dataclasses.replace(JOB, base=8.0)
    assert store.get(row("one", other), other, 0) is None and store.seeds(row("one", other), other) == {}
    assert store.get(row("two", JOB), JOB, 0) is None


def test_a_replaced_number_stays_on_record(store: Store) -> None:
    for base in (1.0, 2.0, 2.0, 3.0):
        job = Counted(base)
        store.put(row("one", job), job, 0, Outcome(base), 1.0, MORE)
    kept = store.get(row("one", job), job, 0)
    assert kept is not None and [old["value"] for old in kept["replaced"]] == [1.0, 2.0]
    assert kept["replaced"][0]["settings"]["base"] == 1.0


def test_another_value_of_the_same_settings_stays_on_record(store: Store) -> None:
    for value in (1.0, 2.0, 2.0):
        store.put(row("one", JOB), JOB, 0, Outcome(value), 1.0, MORE)
    kept = store.get(row("one", JOB), JOB, 0)
    assert kept is not None and [old["value"] for old in kept["replaced"]] == [1.0]


def test_settings_name_the_kind_of_job_and_every_field() -> None:
    assert settings_of(JOB) == {"job": "Counted", "base": 7.0, "split": "test"}


@pytest.mark.parametrize(
    ("name", "file"),
    [("cifar10 deep 512+4096", "cifar10-deep-512+4096"), ("Mnist (a), Ranzato et al.", "mnist-a-ranzato-et-al.")],
)
def test_a_rows_name_becomes_a_files(name: str, file: str) -> None:
    assert slug(name) == file
