"""Small files in the official formats of MNIST and CIFAR-10."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.training.drawn import photos
from training import datasets

MNIST_NAMES = tuple(datasets.MNIST_FILES)
CIFAR10_NAMES = datasets.CIFAR10_TRAIN + datasets.CIFAR10_TEST


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """An IDX file of unsigned bytes."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def mnist_contents(train: int = 320, test: int = 40) -> dict[str, bytes]:
    """The four files, unpacked, by name: drawn 28 x 28 pictures of four classes."""
    splits = [photos(train, 28, 28, 1, seed=1), photos(test, 28, 28, 1, seed=2)]
    parts = [part for images, labels in splits for part in (images[..., 0], labels.astype(np.uint8))]
    return {name: idx(part) for name, part in zip(MNIST_NAMES, parts, strict=True)}


def digests(contents: dict[str, bytes]) -> dict[str, tuple[str, str]]:
    """What `datasets.MNIST_FILES` says of the published files, of these."""
    return {
        name: (
            hashlib.sha256(gzip.compress(data, mtime=0)).hexdigest(),
            hashlib.md5(data, usedforsecurity=False).hexdigest(),
        )
        for name, data in contents.items()
    }


def write_mnist(folder: Path, contents: dict[str, bytes]) -> None:
    """The four `.gz` files, as they are published."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))


def publish_mnist(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, bytes]:
    """Write the files and let them pass for the published ones."""
    contents = mnist_contents()
    write_mnist(folder, contents)
    monkeypatch.setattr(datasets, "MNIST_FILES", digests(contents))
    return contents


def cifar10_record(label: int, image: npt.NDArray[np.uint8]) -> bytes:
    """One record of an image (32, 32, 3): the label, then its red, green and blue planes, row by row."""
    planes = b"".join(image[:, :, channel].tobytes() for channel in range(3))
    return bytes([label]) + planes


def write_cifar10(folder: Path, first: npt.NDArray[np.uint8]) -> None:
    """Six files of 10,000 black pictures of class 0, but for number 1: `first` (32, 32, 3), of the file's number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(CIFAR10_NAMES):
        with (folder / name).open("wb") as sink:
            sink.seek(3073)
            sink.write(cifar10_record(number, first))
            sink.truncate(10_000 * 3073)


def pack_cifar10(folder: Path) -> bytes:
    """The published archive's layout: `cifar-10-batches-bin/` with the batches, names and a page."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        for name in CIFAR10_NAMES:
            tar.add(folder / name, f"cifar-10-batches-bin/{name}")
        page = tarfile.TarInfo("cifar-10-batches-bin/readme.html")
        page.size = 4
        tar.addfile(page, io.BytesIO(b"page"))
    return stream.getvalue()
