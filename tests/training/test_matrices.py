"""Binary matrices: what is written is what small NORB's authors wrote, and what is no such file is refused."""

import gzip
import hashlib
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from training import matrices, norb
from training.datasets import DataError

BYTES = np.arange(3 * 2 * 4 * 5, dtype=np.uint8).reshape(3, 2, 4, 5)
INTEGERS = np.array([[3, -7], [2**31 - 1, 0]], np.int32)


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_the_published_categories_are_written_to_the_byte(tmp_path: Path) -> None:
    # both splits go through the five categories 4,860 times
    matrices.write(tmp_path / "cat.mat", np.tile(np.arange(5, dtype=np.int32), 4860))
    for split in (norb.TRAIN, norb.TEST):
        assert md5_of(tmp_path / "cat.mat") == norb.FILES[f"{split}-cat.mat"][1]


def test_the_published_poses_are_written_to_the_byte(tmp_path: Path) -> None:
    # the test split goes through its objects, elevations, azimuths and lightings in this order; the other is shuffled
    rows = list(itertools.product((0, 1, 2, 3, 5), range(9), range(0, 36, 2), range(6)))
    matrices.write(tmp_path / "info.mat", np.repeat(np.array(rows, np.int32), 5, axis=0))
    assert md5_of(tmp_path / "info.mat") == norb.FILES[f"{norb.TEST}-info.mat"][1]


@pytest.mark.parametrize("matrix", [BYTES, INTEGERS, INTEGERS[0], BYTES[:1]], ids=["4d", "2d", "1d", "one"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_what_is_written_is_read(matrix: npt.NDArray[Any], packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "some.mat"
    matrices.write(path, matrix)
    digest = md5_of(path)
    if packed:
        path = tmp_path / "some.mat.gz"
        path.write_bytes(gzip.compress((tmp_path / "some.mat").read_bytes()))
    got = matrices.read(path, digest)
    assert got.dtype == matrix.dtype and got.flags.writeable
    np.testing.assert_array_equal(got, matrix)


def test_a_matrix_larger_than_a_chunk_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "CHUNK_BYTES", 7)
    matrices.write(tmp_path / "some.mat", BYTES)
    np.testing.assert_array_equal(matrices.read(tmp_path / "some.mat", md5_of(tmp_path / "some.mat")), BYTES)


def bytes_of(matrix: npt.NDArray[Any]) -> bytes:
    return matrices.header(matrix.dtype, matrix.shape) + matrix.tobytes()


WHOLE = bytes_of(BYTES)
FLOATS = struct.pack("<Ii3i", 0x1E3D4C51, 1, 1, 1, 1) + b"\0\0\0\0"
BIG_ENDIAN = struct.pack(">Ii4i", 0x1E3D4C55, 4, *BYTES.shape) + BYTES.tobytes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a binary matrix"),
        (WHOLE[:7], "not a binary matrix"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a binary matrix"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "not a binary matrix"),
        (FLOATS, "not a binary matrix"),
        (BIG_ENDIAN, "not a binary matrix"),
        (struct.pack("<Ii3i", 0x1E3D4C55, 0, 1, 1, 1), "not a binary matrix"),
        (struct.pack("<Ii", 0x1E3D4C55, 2**31 - 1) + bytes(64), "not a binary matrix"),
        (WHOLE[:20], "ends within its header"),
        (WHOLE[:-1], r"announces \(3, 2, 4, 5\), which it cannot hold|ends 1 bytes before"),
        (WHOLE + b"\0", r"announces \(3, 2, 4, 5\), but goes on"),
        (struct.pack("<Ii4i", 0x1E3D4C55, 4, 2**31 - 1, 2**31 - 1, 2, 2), "cannot hold"),
        (struct.pack("<Ii3i", 0x1E3D4C54, 1, -4, 1, 1) + bytes(4), "cannot hold"),
        (struct.pack("<Ii3i", 0x1E3D4C54, 1, 0, 1, 1), "cannot hold"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_other_files_are_refused_by_name(data: bytes, words: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / ("some-dat.mat.gz" if packed else "some-dat.mat")
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=rf"some-dat\.mat.*({words})"):
        matrices.read(path)


@pytest.mark.parametrize("harm", ["cut", "garbled", "junk", "empty"])
def test_a_broken_archive_is_refused_by_name(harm: str, tmp_path: Path) -> None:
    packed = gzip.compress(bytes_of(np.random.default_rng(0).integers(0, 256, (50, 2, 9, 9)).astype(np.uint8)))
    middle = len(packed) // 2
    path = tmp_path / "some-dat.mat.gz"
    path.write_bytes(
        {
            "cut": packed[:middle],
            "garbled": packed[:middle] + b"\xff" * 64 + packed[middle + 64 :],
            "junk": b"not gzip",
            "empty": b"",
        }[harm]
    )
    with pytest.raises(DataError, match=r"some-dat\.mat\.gz"):
        matrices.read(path)


def test_another_file_than_the_published_one_is_refused(tmp_path: Path) -> None:
    matrices.write(tmp_path / "some-cat.mat", INTEGERS)
    with pytest.raises(DataError, match=r"does not hold the published some-cat\.mat \(MD5 0123"):
        matrices.read(tmp_path / "some-cat.mat", "0123456789abcdef0123456789abcdef")
