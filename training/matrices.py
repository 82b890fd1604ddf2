"""The NORB sets' binary matrices: files in, arrays out, and back.

A file is a magic number that tells the type, the number of dimensions, their sizes (three at least, missing ones 1),
all of them in 32 bits, little-endian; then the values, row by row.
"""

import gzip
import hashlib
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.splits import DataError

TYPES: dict[int, npt.DTypeLike] = {0x1E3D4C55: np.dtype(np.uint8), 0x1E3D4C54: np.dtype("<i4")}
"""Magic numbers of the types that the sets use; the format has more."""
MAX_DIMENSIONS = 4
GZIP_RATIO = 1032
"""No gzip file unpacks to more times its size (RFC 1951: 258 bytes from 2 bits)."""
CHUNK_BYTES = 1 << 22


def header(dtype: npt.DTypeLike, shape: tuple[int, ...]) -> bytes:
    """What comes before the values of a matrix; dtype is uint8 or int32."""
    (magic,) = (number for number, known in TYPES.items() if np.dtype(known) == np.dtype(dtype))
    sizes = (*shape, *[1] * (3 - len(shape)))
    return struct.pack(f"<Ii{len(sizes)}i", magic, len(shape), *sizes)


def write(path: Path, matrix: npt.NDArray[Any]) -> None:
    """Write a matrix of uint8 or int32."""
    with path.open("wb") as sink:
        sink.write(header(matrix.dtype, matrix.shape))
        sink.write(np.ascontiguousarray(matrix).data)


def read(path: Path, md5: str | None = None) -> npt.NDArray[Any]:
    """Read a matrix, gzipped if the name ends so.

    Args:
        path: the file.
        md5: what the unpacked file must have; by default it is not compared.

    Returns:
        uint8 or int32, of the shape that the file announces.

    Raises:
        DataError: it is no such file, is cut or goes on, or is another one than it should be; the message names it.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as source:
            matrix, found = _read(source, path.stat().st_size * (GZIP_RATIO if path.suffix == ".gz" else 1))
    except (OSError, EOFError, zlib.error, DataError) as error:
        raise DataError(f"{path}: {error}") from error
    if md5 not in (None, found):
        raise DataError(f"{path} does not hold the published {path.name.removesuffix('.gz')} (MD5 {md5})")
    return matrix


def _read(source: io.BufferedIOBase, most_bytes: int) -> tuple[npt.NDArray[Any], str]:
    """The matrix, and the MD5 of the whole file."""
    start = source.read(8)
    magic, dimensions = struct.unpack("<Ii", start) if len(start) == 8 else (0, 0)
    if magic not in TYPES or not 1 <= dimensions <= MAX_DIMENSIONS:
        raise DataError("not a binary matrix of bytes or integers")
    sizes = source.read(4 * max(3, dimensions))
    if len(sizes) < 4 * max(3, dimensions):
        raise DataError("ends within its header")
    shape = tuple(int(size) for size in np.frombuffer(sizes, "<i4", dimensions))
    dtype = np.dtype(TYPES[magic])
    if min(shape) < 1 or math.prod(shape) * dtype.itemsize > most_bytes:
        raise DataError(f"announces {shape}, which it cannot hold")
    digest = hashlib.md5(start + sizes, usedforsecurity=False)
    matrix = np.empty(shape, dtype)
    left = matrix.data.cast("B")
    while left:
        got = source.readinto(left[:CHUNK_BYTES])
        if not got:
            raise DataError(f"announces {shape}, but ends {len(left):,} bytes before")
        digest.update(left[:got])
        left = left[got:]
    if source.read(1):
        raise DataError(f"announces {shape}, but goes on after it")
    return matrix, digest.hexdigest()
