"""A PNG that needs no conversion → its pixels, without an image object: half the interpreter's work.

Most small images that a service sees are of this kind: 8 bits, of the model's own size and colours, nothing but pixels
in them. Whatever is unusual is left to `images.decode`, errors and odd files included, so that there is one place that
judges them.
"""

import functools
import struct
import zlib

import numpy as np
import pyspng
from numpy.typing import NDArray

_COLOUR_TYPES = {"L": 0, "RGB": 2}
_EIGHT_BITS = 8
_CHUNK = struct.Struct(">I4s")
_CHECKSUM = struct.Struct(">I")


def decode_plain_png(data: bytes, height: int, width: int, mode: str) -> NDArray[np.uint8] | None:
    """Decodes a plain PNG.

    Args:
        data: The whole file; anything is allowed.
        height: H that it must have.
        width: W that it must have.
        mode: `L` or `RGB`, which it must be in.

    Returns:
        uint8 (H, W, C), or None if the file is anything but whole and plain: every checksum right, all rows there.
    """
    start, end = _frame(height, width, mode)
    if not data.startswith(start):
        return None
    stream = _compressed(data, len(start))
    if stream is None:
        return None
    rows = _decompressed(stream, height * (1 + width * len(mode)))
    if rows is None:
        return None
    # libspng is here for the rows' filters alone: by itself it would miss most of the checksums.
    try:
        pixels: NDArray[np.uint8] = pyspng.load(b"".join((start, _chunk(b"IDAT", zlib.compress(rows, 0)), end)))
    except RuntimeError:  # there is no such filter
        return None
    return pixels.reshape(height, width, len(mode))


def _compressed(data: bytes, position: int) -> bytes | None:
    """Returns the compressed pixels if all chunks from `position` on hold pixels, and their checksums are right."""
    parts: list[bytes] = []
    while position + 12 <= len(data):
        length, kind = _CHUNK.unpack_from(data, position)
        end = position + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[position + 4 : end]) != _CHECKSUM.unpack_from(data, end)[0]:
            return None
        if kind == b"IEND":
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if kind != b"IDAT":
            return None
        parts.append(data[position + 8 : end])
        position = end + 4
    return None


def _decompressed(stream: bytes, size: int) -> bytes | None:
    """Returns what a stream holds if that is `size` bytes, its checksum is right, and nothing is behind it."""
    decompressor = zlib.decompressobj()
    try:
        rows = decompressor.decompress(stream, size + 1)  # no more, whatever it holds
    except zlib.error:
        return None
    return rows if decompressor.eof and len(rows) == size and not decompressor.unused_data else None


@functools.lru_cache(maxsize=64)
def _frame(height: int, width: int, mode: str) -> tuple[bytes, bytes]:
    """Returns what a plain file begins with, up to its pixels, and what it ends with."""
    header = struct.pack(">IIBBBBB", width, height, _EIGHT_BITS, _COLOUR_TYPES[mode], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header), _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join((_CHUNK.pack(len(body), kind), body, _CHECKSUM.pack(zlib.crc32(kind + body))))
