"""A container is recognised by its first bytes, and a cut at any byte is noticed without decoding."""

import contextlib
import struct
import zlib

import pytest

from service.containers import Broken, Container, inspect
from tests.pictures import every_kind

KINDS = every_kind()


@pytest.mark.parametrize("name", [name for name in KINDS if not name.startswith("tiff")])
def test_a_cut_anywhere_is_noticed(name: str) -> None:
    data = KINDS[name]
    whole = inspect(data)
    assert whole is not None and (whole.width, whole.height) == (37, 23)
    for length in range(len(data)):
        with contextlib.suppress(Broken):
            # An empty or very short prefix is of no known type.
            assert inspect(data[:length]) is None and length < 26, length


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 64,
        b"%PDF-1.7\n%",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<!doctype html><html></html>",
        b"GIF88a" + bytes(20),
        b"RIFF\x10\x00\x00\x00WAVE" + bytes(20),
        b"BM just text that starts like a bitmap",
        b"\x00\x00\x00\x20ftypavif" + bytes(20),
        b" " + KINDS["png"],
    ],
)
def test_anything_else_is_no_image(data: bytes) -> None:
    assert inspect(data) is None


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(KINDS["png"])
    data[len(data) // 2] ^= 1
    with pytest.raises(Broken, match="checksum"):
        inspect(bytes(data))


def test_sizes_come_from_the_header_however_large() -> None:
    header = struct.pack(">IIBBBBB", 19000, 19000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    assert inspect(data) == Container("PNG", 19000, 19000)


def test_what_follows_the_end_does_not_matter() -> None:
    for name in ("png", "jpeg", "gif"):
        assert inspect(KINDS[name] + b"trailing") == inspect(KINDS[name])
