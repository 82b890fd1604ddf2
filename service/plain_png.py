"""A PNG that needs no conversion → its pixels, without a plugin: the same decoder in C, half the interpreter's work.

Most small images that a service sees are of this kind: 8 bits, of the model's own size and colours, nothing but pixels
in them. Whatever is unusual is left to `images.decode`, errors and odd files included, so that there is one place that
judges them.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_HEADER = struct.Struct(">IIBBBBB")
_CHUNK = struct.Struct(">I4s")
_CHECKSUM = struct.Struct(">I")
_COLOUR_TYPES = {"L": 0, "RGB": 2}
_EIGHT_BITS = 8
_FIRST = 8
"""Where the first chunk begins."""


def decode_plain_png(data: bytes, height: int, width: int, mode: str) -> NDArray[np.uint8] | None:
    """Decodes a plain PNG.

    Args:
        data: The whole file; anything is allowed.
        height: H that it must have.
        width: W that it must have.
        mode: `L` or `RGB`, which it must be in.

    Returns:
        uint8 (H, W, C), or None if the file is anything but whole and plain.
    """
    if not data.startswith(_START) or len(data) < 33:
        return None
    if _HEADER.unpack_from(data, 16) != (width, height, _EIGHT_BITS, _COLOUR_TYPES[mode], 0, 0, 0):
        return None
    stream = _compressed(data)
    if stream is None:
        return None
    try:
        raw = Image.frombytes(mode, (width, height), stream, "zip", mode).tobytes()
    except (ValueError, OSError):
        return None
    # Rows that never came are zero, the last one first; a picture may also be black there.
    if raw.endswith(bytes(width * len(mode))):
        return None
    return np.frombuffer(raw, np.uint8).reshape(height, width, len(mode))


def _compressed(data: bytes) -> bytes | None:
    """Returns the compressed pixels of a file whose checksums are right and which holds nothing besides."""
    parts = []
    position, size = _FIRST, len(data)
    while position + 12 <= size:
        length, kind = _CHUNK.unpack_from(data, position)
        end = position + 8 + length
        if end + 4 > size or zlib.crc32(data[position + 4 : end]) != _CHECKSUM.unpack_from(data, end)[0]:
            return None
        if kind == b"IDAT":
            parts.append(data[position + 8 : end])
        elif kind == b"IEND":
            return parts[0] if len(parts) == 1 else b"".join(parts)
        elif position != _FIRST:
            return None
        position = end + 4
    return None
