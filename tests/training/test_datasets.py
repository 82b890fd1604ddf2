"""Official files in, images and labels out; files that are missing, cut or wrong are named."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.training import official
from tests.training.drawn import photos
from training import datasets
from training.datasets import DataError, load, parse_cifar10, parse_idx
from training.downloads import DownloadError


def test_idx_gives_back_what_was_written() -> None:
    array = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    got = parse_idx(official.idx(array))
    assert got.dtype == np.uint8 and got.flags.writeable
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x08", "not an IDX file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01" + b"1234", "not an IDX file"),
        (b"\x01\x00\x08\x01\x00\x00\x00\x01" + b"1", "not an IDX file"),
        (b"\x00\x00\x08\x03\x00\x00\x00\x01", "not an IDX file"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05" + b"1234", r"announces \(5,\), the file holds 4"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03" + b"1234", r"announces \(3,\), the file holds 4"),
        (b"\x00\x00\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff" + b"1234", "announces"),
    ],
    ids=["empty", "short", "floats", "magic", "header", "truncated", "too-long", "huge"],
)
def test_other_idx_bytes_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_idx(data)


def test_cifar10_records_are_label_then_planes() -> None:
    images = photos(3, 32, 32, 3).images
    data = b"".join(official.cifar10_record(label, image) for label, image in zip((9, 0, 4), images, strict=True))
    split = parse_cifar10(data)
    np.testing.assert_array_equal(split.images[:], images)
    assert split.labels.tolist() == [9, 0, 4] and split.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "0 bytes"), (bytes(3072), "3072 bytes"), (bytes(3073 * 2 - 1), "6145 bytes"), (b"\x0a" + bytes(3072), "10")],
    ids=["empty", "short", "cut", "label"],
)
def test_other_cifar10_bytes_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_cifar10(data)


@pytest.mark.parametrize("layout", [".", "MNIST/raw"])
def test_mnist_is_found_in_both_layouts(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official.publish_mnist(monkeypatch, tmp_path / layout)
    got = load("mnist", tmp_path, download=False)
    expected = photos(320, 28, 28, 1, seed=1)
    np.testing.assert_array_equal(got.train.images[:], expected.images)
    np.testing.assert_array_equal(got.train.labels, expected.labels)
    assert got.test.images.shape == (40, 28, 28, 1) and got.color_mode == "L" and len(got.label_names) == 10


def test_a_missing_mnist_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official.publish_mnist(monkeypatch, tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        DataError, match=r"looked for t10k-labels-idx1-ubyte\.gz.*downloading is off.*--data-dir"
    ) as info:
        load("mnist", tmp_path, download=False)
    assert str(tmp_path) in str(info.value)


@pytest.mark.parametrize("harm", ["cut", "garbled", "junk", "empty", "other"])
def test_a_broken_mnist_file_is_named(harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = official.publish_mnist(monkeypatch, tmp_path)
    name = "train-images-idx3-ubyte"
    path = tmp_path / f"{name}.gz"
    packed = path.read_bytes()
    middle = len(packed) // 2
    path.write_bytes(
        {
            "cut": packed[:middle],
            "garbled": packed[:10] + b"\xff" * 64 + packed[middle:],
            "junk": b"not gzip",
            "empty": b"",
            "other": gzip.compress(contents[name][:-1] + b"\x01"),
        }[harm]
    )
    with pytest.raises(DataError, match=name):
        load("mnist", tmp_path, download=False)


def test_a_local_mnist_file_may_be_packed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = official.publish_mnist(monkeypatch, tmp_path)
    for name, data in contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data, compresslevel=1, mtime=77))
    assert len(load("mnist", tmp_path, download=False).train.images) == 320


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `cifar-10-batches-bin/` with files of the official size."""
    folder = tmp_path_factory.mktemp("cifar10")
    official.write_cifar10(folder / "cifar-10-batches-bin", photos(1, 32, 32, 3).images[0])
    return folder


def check_cifar10(folder: Path, download: bool = False) -> None:
    got = load("cifar10", folder, download)
    assert got.train.images.shape == (50_000, 32, 32, 3) and got.test.images.shape == (10_000, 32, 32, 3)
    assert got.train.labels[1::10_000].tolist() == [0, 1, 2, 3, 4] and got.test.labels[1] == 5
    np.testing.assert_array_equal(got.train.images[20_001:20_002][0], photos(1, 32, 32, 3).images[0])
    assert got.label_names[3] == "cat" and got.color_mode == "RGB"


def test_cifar10_is_found_in_its_folder(cifar10: Path) -> None:
    check_cifar10(cifar10)


def test_cifar10_is_found_flat(cifar10: Path) -> None:
    check_cifar10(cifar10 / "cifar-10-batches-bin")


@pytest.mark.parametrize("download", [False, True])
def test_cifar10_is_read_from_the_published_archive(
    download: bool, cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = official.pack_cifar10(cifar10 / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archive)
    monkeypatch.setattr(datasets, "CIFAR10_SHA256", hashlib.sha256(archive).hexdigest())
    check_cifar10(tmp_path, download)  # it is there already: nothing is fetched
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archive[:-1])
    with pytest.raises(DataError, match="downloading is off"):
        check_cifar10(tmp_path, download=False)


def link(source: Path, target: Path) -> None:
    """The official files of `source` in a new folder, not copied."""
    target.mkdir()
    for name in official.CIFAR10_NAMES:
        (target / name).symlink_to(source / "cifar-10-batches-bin" / name)


@pytest.mark.parametrize("size", [3073 * 9_999, 3073 * 9_999 + 5, 0])
def test_a_cut_cifar10_file_is_refused_by_name(size: int, cifar10: Path, tmp_path: Path) -> None:
    link(cifar10, tmp_path / "flat")
    short = tmp_path / "flat" / "data_batch_3.bin"
    short.unlink()
    with short.open("wb") as sink:
        sink.truncate(size)
    with pytest.raises(DataError, match="data_batch_3"):
        load("cifar10", tmp_path / "flat", download=False)


def test_a_wrong_label_in_a_cifar10_file_is_refused_by_name(cifar10: Path, tmp_path: Path) -> None:
    link(cifar10, tmp_path / "flat")
    bad = tmp_path / "flat" / "data_batch_2.bin"
    bad.unlink()
    with bad.open("wb") as sink:
        sink.write(b"\x0b")
        sink.truncate(3073 * 10_000)
    with pytest.raises(DataError, match=r"data_batch_2.*label 11"):
        load("cifar10", tmp_path / "flat", download=False)


def test_missing_cifar10_is_named(cifar10: Path, tmp_path: Path) -> None:
    link(cifar10, tmp_path / "flat")
    (tmp_path / "flat" / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"CIFAR-10 is not under .*flat.*downloading is off"):
        load("cifar10", tmp_path / "flat", download=False)


def test_a_failed_download_says_what_was_looked_for_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> Path:
        raise DownloadError("could not download: no route")

    monkeypatch.setattr(datasets, "fetch", unreachable)
    for name, file in (("mnist", "train-images"), ("cifar10", "data_batch_1")):
        with pytest.raises(DataError, match=rf"{file}.*no route.*--data-dir"):
            load(name, tmp_path)


def test_an_unknown_data_set_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'svhn'.*cifar10.*mnist"):
        load("svhn", tmp_path)
