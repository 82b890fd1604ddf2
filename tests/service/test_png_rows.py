"""A PNG whose pixels end early is refused, even in whole chunks; one that is really black is not."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from service.images import decode
from tests.pictures import encode
from tests.service.test_images import GREY, LIMIT, RGB, status


def test_a_short_stream_in_whole_chunks_is_refused() -> None:
    header = struct.pack(">IIBBBBB", 12, 12, 8, 0, 0, 0, 0)
    for stream in (zlib.compress(bytes(13 * 6)), zlib.compress(bytes(range(156)))[:40], b""):
        chunks = [(b"IHDR", header), (b"IDAT", stream), (b"IEND", b"")]
        data = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
        assert status(data) == (422, "undecodable")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("1", 1), ("P", 1), ("LA", 2)])
def test_black_rows_at_the_end_are_no_reason_to_refuse(mode: str, channels: int) -> None:
    for size in ((12, 12), (13, 7), (1, 1), (5, 3)):
        assert decode(encode(Image.new(mode, size), "PNG"), RGB, LIMIT).shape == (12, 12, 3)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (12, 12), (33, 17)])
def test_interlaced_pngs_are_counted_right(size: tuple[int, int]) -> None:
    width, height = size
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    grey = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    rows = [b"\x00" + row.tobytes() for x, y, dx, dy in passes for row in grey[y::dy, x::dx] if row.size]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)

    def file(rows: list[bytes]) -> bytes:
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )

    actual = decode(file(rows), replace(GREY, height=height, width=width), LIMIT)
    np.testing.assert_array_equal(actual[..., 0], grey)
    assert status(file(rows[:-1])) == (422, "undecodable")
