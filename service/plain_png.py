"""A PNG that needs no conversion → its pixels, by libspng: half the time of Pillow, most of which is the interpreter's.

Most small images that a service sees are of this kind: 8 bits, of the model's own size and colours, in one piece, with
nothing but pixels in them. Whatever is unusual is left to `images.decode`, errors and odd files included, so that there
is one place that judges them.
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
_BEGIN = 8 + 25
"""Where the pixels' chunk begins: signature and header are before it."""
_CHECKSUM = 16
"""So many bytes before the file's end stands the checksum of that chunk: four, and then the end's twelve."""


def decode_plain_png(data: bytes, height: int, width: int, mode: str) -> NDArray[np.uint8] | None:
    """Decodes a plain PNG.

    Args:
        data: The whole file; anything is allowed.
        height: H that it must have.
        width: W that it must have.
        mode: `L` or `RGB`, which it must be in.

    Returns:
        uint8 (H, W, C), or None if the file is anything but whole and plain. Whole means that each chunk's CRC-32 is
        right and all rows are there; the Adler-32 inside the compression is not looked at.
    """
    start, end = _frame(height, width, mode)
    if not (data.startswith(start) and data.endswith(end)) or len(data) < _BEGIN + _CHUNK.size + _CHECKSUM:
        return None
    length = len(data) - _BEGIN - _CHUNK.size - _CHECKSUM
    if _CHUNK.unpack_from(data, _BEGIN) != (length, b"IDAT"):
        return None
    # libspng reads no further than the last row, and so misses this checksum.
    if zlib.crc32(data[_BEGIN + 4 : -_CHECKSUM]) != int.from_bytes(data[-_CHECKSUM : -len(end)]):
        return None
    try:
        pixels: NDArray[np.uint8] = pyspng.load(data)
    except RuntimeError:  # rows are missing, or there is no such filter
        return None
    return pixels.reshape(height, width, len(mode))


@functools.lru_cache(maxsize=64)
def _frame(height: int, width: int, mode: str) -> tuple[bytes, bytes]:
    """Returns what a plain file begins with, up to its pixels, and what it ends with."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, _EIGHT_BITS, _COLOUR_TYPES[mode], 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header) - 4) + header + struct.pack(">I", zlib.crc32(header))
    return start, struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
