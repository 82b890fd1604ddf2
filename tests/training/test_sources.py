"""Folders of image files as data sets: decoded when asked for, in order, like the service does."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.drawn import config, layer, photos
from training.commands import recorded_command
from training.datasets import DataError, Dataset
from training.folders import load_folder
from training.pipeline import Pipeline
from training.sources import FolderSource, ImageError, decode, prefetch, reorder

IMAGES, LABELS = photos(24, 16, 16, 3)


def write_folder(folder: Path) -> None:
    """Lossless files under `train/<label>/` and `test/<label>/`, in three formats."""
    for split in ("train", "test"):
        for index, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
            suffix = ("png", "BMP", "webp")[index % 3]
            path = folder / split / f"class-{label}" / f"{index:03}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, lossless=True)
        (folder / split / "class-0" / "notes.txt").write_text("no image")


@pytest.fixture
def own(tmp_path: Path) -> Dataset:
    write_folder(tmp_path / "own")
    return load_folder("own", tmp_path / "own", 16, "RGB")


def test_a_folders_images_and_labels_belong_together(own: Dataset) -> None:
    assert own.label_names == ("class-0", "class-1", "class-2", "class-3") and own.train.images.shape == (24, 16, 16, 3)
    order = np.argsort(LABELS, kind="stable")
    np.testing.assert_array_equal(own.train.labels, LABELS[order])
    np.testing.assert_array_equal(own.train.images[:], IMAGES[order])
    np.testing.assert_array_equal(own.train.images[5:9], IMAGES[order][5:9])
    picks = np.array([23, 0, 7])
    np.testing.assert_array_equal(own.train.images[picks], IMAGES[order][picks])


def test_shuffling_keeps_pairs(own: Dataset) -> None:
    mixed = own.train.shuffled(3)
    known = {image.tobytes(): label for image, label in zip(own.train.images[:], own.train.labels, strict=True)}
    pairs = [(image.tobytes(), label) for image, label in zip(mixed.images[:], mixed.labels, strict=True)]
    assert all(known[image] == label for image, label in pairs) and len({image for image, _ in pairs}) == 24
    assert not np.array_equal(mixed.labels, own.train.labels)
    np.testing.assert_array_equal(mixed.images[:], own.train.shuffled(3).images[:])


@pytest.mark.parametrize("kind", ["array", "folder"])
def test_batches_made_ahead_are_those_asked_for(kind: str, own: Dataset) -> None:
    source = own.train.images if kind == "folder" else own.train.images[:]
    assert isinstance(source, FolderSource) == (kind == "folder")
    mixed = reorder(source, np.arange(24)[::-1].copy())
    batches = [np.array([1, 5]), np.array([0]), np.array([22, 23, 3])]
    got = list(prefetch(mixed, iter(batches)))
    for indices, batch in zip(batches, got, strict=True):
        np.testing.assert_array_equal(batch, source[23 - indices])
    assert list(prefetch(mixed, iter([]))) == []


def test_a_run_learns_from_a_folder_as_from_an_array(own: Dataset, tmp_path: Path) -> None:
    arrays = Dataset(
        own.name,
        type(own.train)(own.train.images[:], own.train.labels),
        type(own.test)(own.test.images[:], own.test.labels),
        own.label_names,
        own.color_mode,
        own.license,
    )
    settings = config("separable", layers=(layer(epochs=2, batch_images=8),))
    bundles = [
        Pipeline(settings, data, tmp_path / name / "run", tmp_path / name / "models", "").run().bundle
        for name, data in (("files", own), ("arrays", arrays))
    ]
    assert (bundles[0] / "filters.npz").read_bytes() == (bundles[1] / "filters.npz").read_bytes()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_other_sizes_and_modes_are_brought_to_the_models(mode: str, tmp_path: Path) -> None:
    bands = len(mode)
    wide = np.zeros((20, 60, 4), np.uint8)
    wide[:, 20:40] = 255
    wide[:, :20, 3] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    got = decode(tmp_path / "wide.png", 10, mode)
    assert got.shape == (10, 10, bands) and got.dtype == np.uint8
    assert got[:, 2:8].min() == 255, "the middle square is kept"


def test_a_folder_that_is_no_data_set_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "own")
    with pytest.raises(DataError, match="train does not hold a folder of images"):
        load_folder("own", tmp_path / "own" / "train", 16, "RGB")
    (tmp_path / "own" / "test" / "class-9").mkdir()
    with pytest.raises(DataError, match="not hold the same label folders: only test has class-9$"):
        load_folder("own", tmp_path / "own", 16, "RGB")
    (tmp_path / "own" / "train" / "class-9").mkdir()
    with pytest.raises(DataError, match="class-9 holds no images"):
        load_folder("own", tmp_path / "own", 16, "RGB")


def test_a_name_that_is_not_utf8_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    write_folder(tmp_path / "own")
    latin = os.fsdecode(b"caf\xe9")
    for split in ("train", "test"):
        (tmp_path / "own" / split / "class-1").rename(tmp_path / "own" / split / latin)
    with pytest.raises(DataError, match=r"own/train': the name 'caf\\udce9' is not UTF-8"):
        load_folder("own", tmp_path / "own", 16, "RGB")
    shutil.rmtree(tmp_path / "own")
    write_folder(tmp_path / latin)
    with pytest.raises(DataError, match=r"the name 'caf\\udce9' is not UTF-8"):
        load_folder(latin, tmp_path / latin, 16, "RGB")
    assert recorded_command("training.run", [latin]).encode() == b"python -m training.run 'caf\\udce9'"


def test_a_broken_image_file_is_named(own: Dataset, tmp_path: Path) -> None:
    broken = next((tmp_path / "own" / "train" / "class-1").iterdir())
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(ImageError, match=broken.name):
        own.train.images[:]


def test_all_broken_image_files_are_counted_and_ten_named(own: Dataset) -> None:
    source = own.train.images
    assert isinstance(source, FolderSource)
    for path in source.paths[::2]:
        Path(path).write_bytes(b"no image")
    with pytest.raises(ImageError) as raised:
        source[:4]
    head, *named, rest = str(raised.value).split("\n  ")
    assert head == "12 of 24 images cannot be decoded:" and rest == "and 2 more"
    assert [line.split(":")[0] for line in named] == sorted(source.paths[::2])[:10]


def test_what_other_programs_hide_is_no_label_and_no_image(own: Dataset, tmp_path: Path) -> None:
    hidden = tmp_path / "own" / "train" / ".thumbs"
    hidden.mkdir()
    (tmp_path / "own" / "train" / "class-1" / "._001.png").write_bytes(b"a Mac's notes on 001.png")
    again = load_folder("own", tmp_path / "own", 16, "RGB")
    assert again.label_names == own.label_names and again.train.digest() == own.train.digest()


def test_images_in_folders_below_the_labels_are_counted_once(
    own: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, below in (("train", "more/of/it"), ("train", "more"), ("test", "more"), ("test", ".thumbs")):
        folder = tmp_path / "own" / split / "class-1" / below
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(folder / "1.png")
    again = load_folder("own", tmp_path / "own", 16, "RGB")
    assert again.train.digest() == own.train.digest()
    assert capsys.readouterr().err == "warning: 3 images lie in folders below the labels' and will not be seen\n"


def test_a_folder_is_another_one_when_a_picture_has_changed(own: Dataset, tmp_path: Path) -> None:
    source = own.train.images
    assert isinstance(source, FolderSource)
    folder = Path(os.path.commonpath(source.paths))
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    paths = [str(copied / Path(path).relative_to(folder)) for path in source.paths]
    there = FolderSource(paths, source.size, source.color_mode)
    assert there.identity() == source.identity(), "where it lies is no matter"
    assert FolderSource([os.path.relpath(path) for path in paths], source.size, source.color_mode).identity() == (
        source.identity()
    )
    Image.new("RGB", (9, 9)).save(paths[0], "PNG")
    assert there.identity() != source.identity()
