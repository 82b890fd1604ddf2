"""A folder of image files in, a data set out: labels are the folders' names, pixels are decoded when needed."""

import os
import sys
from pathlib import Path

import numpy as np

from training import parallel
from training.datasets import DataError, Dataset, Split
from training.sources import SUFFIXES, FolderSource

MOST = 5
"""Labels that an error names."""


def load_folder(name: str, data_dir: Path, size: int, color_mode: str) -> Dataset:
    """A data set of your own: image files under `train/<label>/` and `test/<label>/`, decoded when they are needed.

    Names that begin with a dot are other programs' (thumbnails, say), and skipped. So are folders below the labels',
    with a warning if they hold images.

    Args:
        name: what to call it.
        data_dir: the folder that holds `train` and `test`.
        size: height and width to bring the images to, in pixels.
        color_mode: `L` or `RGB`.

    Raises:
        DataError: a folder or its images are missing, the two splits have other labels, or a name is not UTF-8.
    """
    _refuse_other_than_utf8(data_dir, name)
    names = _labels_under(data_dir / "train")
    others = _labels_under(data_dir / "test")
    if names != others:
        only = {"train": sorted({*names} - {*others}), "test": sorted({*others} - {*names})}
        told = "; ".join(f"only {split} has {_listed(labels)}" for split, labels in only.items() if labels)
        raise DataError(f"{data_dir}: train and test do not hold the same label folders: {told}")
    train, test = (_folder_split(data_dir / split, names, size, color_mode) for split in ("train", "test"))
    nested = sum(_nested(data_dir / split / label) for split in ("train", "test") for label in names)
    if nested and parallel.is_first():
        told = "1 image lies" if nested == 1 else f"{nested:,} images lie"
        print(f"warning: {told} in folders below the labels' and will not be seen", file=sys.stderr)
    return Dataset(name, train, test, label_names=names, color_mode=color_mode, license="unknown")


def _labels_under(folder: Path) -> tuple[str, ...]:
    entries = folder.iterdir() if folder.is_dir() else ()
    names = tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))
    if len(names) < 2:
        raise DataError(f"{folder} does not hold a folder of images for each of at least two labels")
    _refuse_other_than_utf8(folder, *names)
    return names


def _refuse_other_than_utf8(folder: Path, *names: str) -> None:
    """Refuse, before the hours, a name that neither a graph nor a manifest can hold."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{ascii(str(folder))}: the name {ascii(name)} is not UTF-8: rename the folder") from error


def _listed(labels: list[str]) -> str:
    more = [f"{len(labels) - MOST} more"] if len(labels) > MOST else []
    return ", ".join(labels[:MOST] + more)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _nested(label: Path) -> int:
    """How many images lie deeper than in a label's folder."""
    count = 0
    for folder, below, files in os.walk(label):
        below[:] = [name for name in below if not name.startswith(".")]
        if folder != str(label):
            count += sum(_is_image(name) for name in files)
    return count


def _folder_split(folder: Path, names: tuple[str, ...], size: int, color_mode: str) -> Split:
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        files = sorted(entry.path for entry in os.scandir(folder / name) if _is_image(entry.name))
        if not files:
            raise DataError(f"{folder / name} holds no images")
        paths += files
        labels += [label] * len(files)
    return Split(FolderSource(paths, size, color_mode), np.array(labels, np.int64))
