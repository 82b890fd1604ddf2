"""Bytes → image format, size and wholeness, from the container alone: nothing is decoded, no decoder is called.

Pillow opens most cut files without a word (a PNG without its last chunk, a JPEG without its end), so each container is
walked to its end here, and its header gives the pixel count before any decoder may allocate for it.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Container:
    """What the container says of the image inside, as far as it has been walked.

    Attributes:
        format: Pillow's name of the format.
        width: Pixels; 0 if only the decoder knows (TIFF).
        height: Pixels; 0 if only the decoder knows (TIFF).
    """

    format: str
    width: int = 0
    height: int = 0


class Broken(Exception):
    """The container is cut or inconsistent; the message says where.

    Attributes:
        pixels: Width and height, if the header said them before it broke; else 0.
    """

    pixels = (0, 0)


PNG = b"\x89PNG\r\n\x1a\n"
_UNTIL_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INFLATE_BYTES = 1 << 20
_MOST_SCANS = 100
"""Of a JPEG: encoders make up to some dozens, and each, however short, takes a pass over all pixels."""
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def inspect(data: bytes) -> Container | None:
    """Recognises a format by its first bytes and walks the container to its end.

    Args:
        data: The whole file.

    Returns:
        What the container says, or None if it is none of PNG, JPEG, WebP, GIF, BMP, TIFF.

    Raises:
        Broken: It is one of them, but cut or inconsistent.
    """
    name, walk = next(((name, walk) for starts, name, walk in _FORMATS if data.startswith(starts)), (None, None))
    if name is None or walk is None:
        return None
    found = Container(name)
    try:
        return found if walk(data, found) else None
    except (IndexError, struct.error):
        broken = Broken("the file ends inside its header")
    except Broken as error:
        broken = error
    broken.pixels = (found.width, found.height)
    raise broken from None


def _png(data: bytes, found: Container) -> bool:
    """Checks every chunk and its CRC up to IEND."""
    found.width, found.height = struct.unpack_from(">II", data, 16)
    position, pixels_seen = 8, False
    view = memoryview(data)
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise Broken(f"chunk {kind.decode('latin-1')!r} is cut")
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise Broken(f"chunk {kind.decode('latin-1')!r} has a wrong checksum")
        if (position == 8) != (kind == b"IHDR"):  # of several, decoders take the last one's size
            raise Broken("its first chunk, and no other, must be IHDR")
        pixels_seen = pixels_seen or kind == b"IDAT"
        if kind == b"IEND":
            if not pixels_seen:
                raise Broken("there are no pixels in it")
            return True
        position = end + 4


def png_is_full(data: bytes) -> bool:
    """Inflates the pixels of a PNG that `inspect` accepted, and tells whether there are as many as its header says.

    Pillow takes a stream that ends early, in whole chunks, for a picture whose other rows are black.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    missing = 0
    for left, top, step_x, step_y in passes:
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        missing += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    inflate = zlib.decompressobj()
    position = 8
    while missing > 0 and not inflate.eof:
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":
            break
        piece = data[position + 8 : position + 8 + length] if kind == b"IDAT" else b""
        while piece and missing > 0:
            missing -= len(inflate.decompress(piece, _INFLATE_BYTES))
            piece = inflate.unconsumed_tail
        position += 12 + length
    return missing <= 0


def _jpeg(data: bytes, found: Container) -> bool:
    """Walks the segments and scans up to the end-of-image marker; size from the first frame header."""
    position, scans = 2, 0
    while True:
        while data[position] == 0xFF and data[position + 1] == 0xFF:  # fill bytes
            position += 1
        if data[position] != 0xFF:
            raise Broken(f"there is no marker at byte {position}")
        marker = data[position + 1]
        if marker == 0xD9:
            if not found.width:
                raise Broken("there is no frame in it")
            return True
        length = struct.unpack_from(">H", data, position + 2)[0]
        if marker in _JPEG_FRAMES and not found.width:
            found.height, found.width = struct.unpack_from(">HH", data, position + 5)
        position += 2 + length
        if marker == 0xDA:
            scans += 1
            if scans > _MOST_SCANS:
                raise Broken(f"it has more than {_MOST_SCANS} scans")
            next_marker = _UNTIL_MARKER.search(data, position)
            if next_marker is None:
                raise Broken("the end-of-image marker is missing")
            position = next_marker.start()


def _webp(data: bytes, found: Container) -> bool:
    """Checks that the RIFF length and every chunk fit; size from the first chunk (VP8X, VP8L or VP8)."""
    if data[8:12] != b"WEBP":
        return False
    kind = data[12:16]
    if kind == b"VP8X":
        found.width, found.height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        found.width, found.height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        found.width, found.height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    else:
        raise Broken("its first chunk is no image")
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise Broken(f"{end - len(data)} bytes are missing at the end")
    position = 12
    while position + 8 <= end:
        position += 8 + (struct.unpack_from("<I", data, position + 4)[0] + 1 & ~1)
    # An odd last chunk may come without its padding byte.
    if position not in (end, end + 1):
        raise Broken("a chunk is cut")
    return True


def _gif(data: bytes, found: Container) -> bool:
    """Walks all blocks to the trailer; the size covers the screen and every frame."""
    found.width, found.height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _gif_palette(flags)
    frames = 0
    while True:
        kind = data[position]
        if kind == 0x3B:
            if not frames:
                raise Broken("there is no frame in it")
            return True
        if kind == 0x21:
            position += 2
        elif kind == 0x2C:
            left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", data, position + 1)
            found.width, found.height = max(found.width, left + frame_width), max(found.height, top + frame_height)
            position += 11 + _gif_palette(flags)
            frames += 1
        else:
            raise Broken(f"there is no block at byte {position}")
        while data[position]:
            position += 1 + data[position]
        position += 1


def _gif_palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


_BMP_HEADERS = frozenset(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))


def _bmp(data: bytes, found: Container) -> bool:
    """Checks that the rows fit, or for run-length coding that the end-of-bitmap code is there."""
    if data[14:18] not in _BMP_HEADERS:
        return False
    start, header = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, depth, compression = struct.unpack_from("<iiHHI", data, 18)
    found.width, found.height = max(width, 0), abs(height)
    if compression in (1, 2):
        size = struct.unpack_from("<I", data, 2)[0]
        if size > len(data) or not data.rstrip(b"\x00").endswith(b"\x01"):
            raise Broken("the end-of-bitmap code is missing")
    elif start + (width * depth + 31) // 32 * 4 * found.height > len(data):
        raise Broken("rows are missing at the end")
    return True


def _tiff(data: bytes, found: Container) -> bool:
    """Checks that the first directory is whole; images.py compares the pixels it points to with the end."""
    order = "<" if data.startswith(b"II") else ">"
    if data[2:4] in (b"*\x00", b"\x00*"):
        start = struct.unpack_from(order + "I", data, 4)[0]
        end = start + 2 + 12 * struct.unpack_from(order + "H", data, start)[0] + 4
    else:
        start = struct.unpack_from(order + "Q", data, 8)[0]
        end = start + 8 + 20 * struct.unpack_from(order + "Q", data, start)[0] + 8
    if end > len(data):
        raise Broken("its directory is cut")
    return True


_Walk = Callable[[bytes, Container], bool]
_FORMATS: tuple[tuple[bytes | tuple[bytes, ...], str, _Walk], ...] = (
    (PNG, "PNG", _png),
    (b"\xff\xd8\xff", "JPEG", _jpeg),
    (b"RIFF", "WEBP", _webp),
    ((b"GIF87a", b"GIF89a"), "GIF", _gif),
    (b"BM", "BMP", _bmp),
    ((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), "TIFF", _tiff),
)
"""First bytes, Pillow's name, and what walks the file to its end; False if it is something else after all."""
