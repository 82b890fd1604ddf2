"""A name's place among the bundles: who may take it, and what the service makes of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.drawn import dataset
from training.served import PlaceError, announcement, refuse_other

DATA = dataset(train=4, test=4)


def put(bundles: Path, version: str, name: str = DATA.name, labels: tuple[str, ...] = DATA.label_names) -> Path:
    bundle = bundles / version
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_text(json.dumps({"dataset": name, "labels": labels}))
    return bundle


def test_a_name_is_free_or_of_the_same_images(tmp_path: Path) -> None:
    refuse_other(tmp_path / "new", DATA)
    put(tmp_path / "some", "9", "mnist", tuple("0123456789"))
    put(tmp_path / "some", "10")
    (tmp_path / "some" / "11").mkdir()  # another run's, not filled yet
    refuse_other(tmp_path / "some", DATA)


def test_a_model_of_other_images_keeps_its_name(tmp_path: Path) -> None:
    put(tmp_path / "some", "2")
    put(tmp_path / "some", "10", "mnist", tuple("0123456789"))
    there = r"some/10 holds a model of mnist \(10 labels: 0, 1, 2, …\), not of drawn \(4 labels: north, .*: give"
    with pytest.raises(PlaceError, match=there):
        refuse_other(tmp_path / "some", DATA)
    put(tmp_path / "labels", "1")
    with pytest.raises(PlaceError, match=r"of drawn \(4 labels.*not of drawn \(2 labels: a, b\): give another --name"):
        refuse_other(tmp_path / "labels", replace(DATA, label_names=("a", "b")))


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"dataset": "mnist", "labels": 3}'])
def test_what_is_no_bundle_keeps_no_name(manifest: str, tmp_path: Path) -> None:
    (put(tmp_path, "1") / "manifest.json").write_text(manifest)
    refuse_other(tmp_path, DATA)


def test_it_says_which_version_the_service_takes(tmp_path: Path) -> None:
    bundles = tmp_path / "some"
    first = put(bundles, "2")
    assert announcement(first) is None
    second = put(bundles, "10")
    (bundles / "11").mkdir()
    assert announcement(second) == f"{second}: served from the next start on, instead of version 2"
    assert announcement(first) == f"{first}: not served, as version 10 is higher"
