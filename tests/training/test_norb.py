"""Small NORB's six files: read as pairs, found where users keep them, and refused when they do not fit together."""

import gzip
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.training.stereo import write_rendered
from training import datasets, matrices, norb, rendered
from training.datasets import DataError, load

Matrix = npt.NDArray[Any]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small rendered set."""
    return write_rendered(tmp_path_factory.mktemp("drawn"))


def official(drawn: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The rendered files under small NORB's names, passing for the published ones."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, own in zip(norb.FILES, rendered.FILES, strict=True):
        data = (drawn / own).read_bytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(data, 1, mtime=0))
        packed = hashlib.sha256((folder / f"{name}.gz").read_bytes()).hexdigest()
        digests[name] = (packed, hashlib.md5(data, usedforsecurity=False).hexdigest())
    monkeypatch.setattr(norb, "FILES", digests)
    return folder


def test_the_file_names_follow_each_other_in_both_sets() -> None:
    assert [name.rsplit("-", 2)[1:] for name in norb.FILES] == [name.rsplit("-", 2)[1:] for name in rendered.FILES]


@pytest.mark.parametrize("layout", [".", "smallnorb"])
@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_pairs_and_labels_come_as_they_are_in_the_files(
    layout: str, packed: bool, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = official(drawn, tmp_path / layout, monkeypatch)
    if not packed:
        for name in norb.FILES:
            (folder / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))
            (folder / f"{name}.gz").unlink()
    got = load("norb", tmp_path, download=False)
    assert got.name == "norb" and got.views == 2 and got.color_mode == "L" and got.samples == "pairs of images"
    assert got.label_names == ("animal", "human", "airplane", "truck", "car") and "research only" in got.license
    for split, start in ((got.train, rendered.TRAIN), (got.test, rendered.TEST)):
        views, categories = (matrices.read(drawn / f"{start}-{kind}.mat") for kind in ("dat", "cat"))
        assert split.images.shape == (150, 96, 96, 2) and split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.images[7:9][..., 0], views[7:9, 0])
        np.testing.assert_array_equal(split.images[7:9][..., 1], views[7:9, 1])
        np.testing.assert_array_equal(split.labels, categories)
        assert split.groups is not None
        assert sorted(set(split.groups.tolist())) == list(rendered.INSTANCES[start])


def test_the_rendered_set_is_no_small_norb(drawn: Path, tmp_path: Path) -> None:
    for name, own in zip(norb.FILES, rendered.FILES, strict=True):
        shutil.copy(drawn / own, tmp_path / name)
    with pytest.raises(
        DataError, match="does not hold the published smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat"
    ):
        load("norb", tmp_path, download=False)


def test_a_missing_file_is_named(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = official(drawn, tmp_path, monkeypatch)
    (folder / f"{norb.TEST}-info.mat.gz").unlink()
    with pytest.raises(DataError, match=r"small NORB.*testing-info\.mat\.gz.*downloading is off.*--data-dir"):
        load("norb", tmp_path, download=False)


def test_missing_files_are_fetched_by_their_digests(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = official(drawn, tmp_path / "smallnorb", monkeypatch)
    away = tmp_path / "server"
    away.mkdir()
    names = [f"{norb.TRAIN}-dat.mat", f"{norb.TEST}-cat.mat"]
    for name in names:
        (folder / f"{name}.gz").rename(away / f"{name}.gz")
    asked = []

    def fetch(url: str, sha256: str, target: Path) -> Path:
        name = url.rsplit("/", 1)[-1]
        asked.append((url, sha256, target))
        return Path(shutil.copy(away / name, target / name))

    monkeypatch.setattr(datasets, "fetch", fetch)
    assert len(load("norb", tmp_path).train.labels) == 150
    page = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
    assert asked == [(f"{page}{name}.gz", norb.FILES[name][0], folder) for name in names]


def test_a_set_that_is_not_drawn_yet_says_how(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"python -m training\.rendered {tmp_path}/rendered-stereo"):
        load("rendered-stereo", tmp_path)


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("dat", lambda m: m[:-1], "-cat.mat holds int32"),
        ("dat", lambda m: m[:, :1], "not pairs of images"),
        ("dat", lambda m: m[:, :, 0], "not pairs of images"),
        ("dat", lambda m: m.astype(np.int32), "holds int32"),
        ("cat", lambda m: m[:-1], "-cat.mat holds int32"),
        ("cat", lambda m: m.astype(np.uint8), "-cat.mat holds uint8"),
        ("cat", lambda m: m + 1, "other categories than 0 to 4"),
        ("cat", lambda m: m - 1, "other categories than 0 to 4"),
        ("info", lambda m: m[:, :3], "-info.mat holds int32"),
        ("info", lambda m: m + np.array([0, 0, 36, 0], np.int32), "-info.mat holds instances"),
        ("info", lambda m: m - np.array([0, 0, 0, 1], np.int32), "-info.mat holds instances"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    kind: str, change: Callable[[Matrix], Matrix], words: str, drawn: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(drawn, tmp_path / "set"))
    path = folder / f"{rendered.TRAIN}-{kind}.mat"
    matrices.write(path, change(matrices.read(path)))
    with pytest.raises(DataError, match=words):
        load("rendered-stereo", folder)


def test_objects_of_the_training_set_may_not_be_in_the_test_set(drawn: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn, tmp_path / "set"))
    path = folder / f"{rendered.TEST}-info.mat"
    info = matrices.read(path)
    info[info[:, 0] == 5, 0] = 4
    matrices.write(path, info)
    with pytest.raises(DataError, match="shows objects that are in the training set"):
        load("rendered-stereo", folder)
