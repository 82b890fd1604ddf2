"""A data set's name in, its images as uint8 (N, H, W, C) and labels out: official files, local or downloaded."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training import norb, rendered
from training.downloads import DownloadError, fetch
from training.splits import DataError, Dataset, Labels, Split

__all__ = ["DATASETS", "DataError", "Dataset", "Labels", "Split", "load", "parse_cifar10", "parse_idx"]

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# name of the published file: SHA-256 of the archive, MD5 of what it holds (a local file may have been packed again)
MNIST_FILES = {
    "train-images-idx3-ubyte": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "6bbc9ace898e44ae57da46a324031adb",
    ),
    "train-labels-idx1-ubyte": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "a25bea736e30d166cdddb491f175f624",
    ),
    "t10k-images-idx3-ubyte": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "2646ac647ad5339dbf082846283269ea",
    ),
    "t10k-labels-idx1-ubyte": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "27ae3e4e09519cfbb04c329615203637",
    ),
}
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR10_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
CIFAR10_TEST = ("test_batch.bin",)
CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load(name: str, data_dir: Path, download: bool = True) -> Dataset:
    """Read a published data set from its official files, fetching those that are missing.

    Args:
        name: a key of `DATASETS`.
        data_dir: the folder that holds the files, or is to hold them.
        download: whether missing files may be fetched.

    Raises:
        DataError: unknown name; files missing (and not to be had); a file that is not the published one.
    """
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}: choose from {', '.join(sorted(DATASETS))}")
    return DATASETS[name](data_dir, download)


def _missing(name: str, looked_for: str, data_dir: Path, why: str) -> DataError:
    return DataError(
        f"{name} is not under {data_dir} (looked for {looked_for}) and {why}. "
        f"Point --data-dir at a folder that holds the official files."
    )


def _obtain(name: str, looked_for: str, url: str, sha256: str, data_dir: Path, folder: Path, download: bool) -> Path:
    kept = folder / url.rsplit("/", 1)[-1]
    if kept.exists() and hashlib.sha256(kept.read_bytes()).hexdigest() == sha256:  # downloaded before
        return kept
    if not download:
        raise _missing(name, looked_for, data_dir, "downloading is off")
    try:
        return fetch(url, sha256, folder)
    except DownloadError as error:
        raise _missing(name, looked_for, data_dir, str(error)) from error


def parse_idx(data: bytes) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes (the format of the MNIST files).

    Raises:
        DataError: another magic number, or a length that its header does not announce.
    """
    dimensions = data[3] if len(data) >= 4 else 0
    if data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * dimensions:
        raise DataError("not an IDX file of unsigned bytes")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions)
    if values.size != int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"IDX header announces {shape}, the file holds {values.size} bytes")
    return values.reshape(shape).copy()  # what is read from bytes cannot be written to, and torch wants to


def _load_mnist(data_dir: Path, download: bool) -> Dataset:
    folder = next(
        (f for f in (data_dir, data_dir / "MNIST" / "raw") if any((f / f"{n}.gz").exists() for n in MNIST_FILES)),
        data_dir / "MNIST" / "raw",
    )
    arrays = []
    for name, (sha256, md5) in MNIST_FILES.items():
        path = folder / f"{name}.gz"
        if not path.exists():
            path = _obtain("MNIST", f"{name}.gz", f"{MNIST_URL}{name}.gz", sha256, data_dir, folder, download)
        try:
            data = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a whole gzip file: {error}") from error
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
            raise DataError(f"{path} does not hold the published {name} (MD5 {md5})")
        arrays.append(parse_idx(data))
    images, labels, test_images, test_labels = arrays
    return Dataset(
        name="mnist",
        train=Split(images[..., None], labels.astype(np.int64)),
        test=Split(test_images[..., None], test_labels.astype(np.int64)),
        label_names=tuple("0123456789"),
        color_mode="L",
        license="CC BY-SA 3.0 (Yann LeCun, Corinna Cortes)",
        alpha_background="black",
        resize_mode="contain",  # a digit must not lose its ends
    )


def parse_cifar10(data: bytes) -> Split:
    """Read records of the binary CIFAR-10 version: 1 label byte, 3072 bytes as R, G, B planes.

    Raises:
        DataError: not a whole number of records, or a label above 9.
    """
    if len(data) == 0 or len(data) % 3073:
        raise DataError(f"{len(data)} bytes are not a whole number of 3073-byte records")
    records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    if records[:, 0].max() > 9:
        raise DataError(f"label {records[:, 0].max()} is not one of CIFAR-10's 0 to 9")
    images = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Split(images, records[:, 0].astype(np.int64))


def _join(parts: list[Split]) -> Split:
    return Split(np.concatenate([part.images[:] for part in parts]), np.concatenate([part.labels for part in parts]))


def _load_cifar10(data_dir: Path, download: bool) -> Dataset:
    folders = (data_dir, data_dir / "cifar-10-batches-bin")
    folder = next((f for f in folders if all((f / n).exists() for n in CIFAR10_TRAIN + CIFAR10_TEST)), None)
    if folder is not None:
        files = {name: (folder / name).read_bytes() for name in CIFAR10_TRAIN + CIFAR10_TEST}
    else:
        looked_for = "cifar-10-batches-bin/data_batch_1.bin … test_batch.bin"
        archive = _obtain("CIFAR-10", looked_for, CIFAR10_URL, CIFAR10_SHA256, data_dir, data_dir, download)
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as tar:
            members = {Path(m.name).name: m for m in tar.getmembers() if m.isfile()}
            files = {}
            for name in CIFAR10_TRAIN + CIFAR10_TEST:
                member = tar.extractfile(members[name])
                assert member is not None  # isfile() above
                files[name] = member.read()
    parts = {}
    for name, data in files.items():
        try:
            parts[name] = parse_cifar10(data)
        except DataError as error:
            raise DataError(f"{name} under {data_dir}: {error}") from error
        if len(parts[name].labels) != 10_000:
            raise DataError(f"{name} under {data_dir} has {len(parts[name].labels)} images instead of 10,000")
    return Dataset(
        name="cifar10",
        train=_join([parts[name] for name in CIFAR10_TRAIN]),
        test=_join([parts[name] for name in CIFAR10_TEST]),
        label_names=CIFAR10_LABELS,
        color_mode="RGB",
        license="no licence stated; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    )


def _load_norb(data_dir: Path, download: bool) -> Dataset:
    folders = (data_dir, data_dir / "smallnorb")
    folder = next((f for f in folders if any(norb.find(f, name) for name in norb.FILES)), folders[-1])
    paths = {}
    for name, (sha256, _) in norb.FILES.items():
        path = norb.find(folder, name)
        url, looked_for = f"{norb.URL}{name}.gz", f"{name}.gz"
        paths[name] = path or _obtain("small NORB", looked_for, url, sha256, data_dir, folder, download)
    return norb.read("norb", paths, (norb.TRAIN, norb.TEST), norb.LABELS, norb.LICENSE)


def _load_rendered(data_dir: Path, _: bool) -> Dataset:
    folders = (data_dir, data_dir / rendered.NAME)
    folder = next((f for f in folders if any(norb.find(f, name) for name in rendered.FILES)), folders[-1])
    paths = {}
    for name in rendered.FILES:
        path = norb.find(folder, name)
        if path is None:
            raise DataError(
                f"{rendered.NAME} is not under {data_dir} (looked for {name}). It is drawn, not downloaded: "
                f"python -m training.rendered {folder}"
            )
        paths[name] = path
    return norb.read(rendered.NAME, paths, (rendered.TRAIN, rendered.TEST), rendered.LABELS, rendered.LICENSE)


DATASETS: dict[str, Callable[[Path, bool], Dataset]] = {
    "mnist": _load_mnist,
    "cifar10": _load_cifar10,
    "norb": _load_norb,
    "rendered-stereo": _load_rendered,
}
"""Loader of each data set."""
