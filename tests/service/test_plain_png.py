"""The short way for plain PNGs gives what the long way gives, to the bit, and takes nothing that that one refuses."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from service import images
from service.images import ImageError, decode
from service.plain_png import decode_plain_png
from tests.bundles import smooth_images
from tests.pictures import encode, every_kind, png
from tests.service.test_images import GREY, LIMIT, RGB


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "decode_plain_png", lambda *_: None)


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 12 + length


def file(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


@pytest.mark.parametrize(("channels", "rule"), [(1, GREY), (3, RGB)])
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.usefixtures("long_way")
def test_both_ways_give_the_same_pixels(channels: int, rule: images.ImageRule, level: int) -> None:
    picture = smooth_images(1, 12, 12, channels, seed=level)[0]
    data = encode(picture.squeeze(), "PNG", compress_level=level)
    plain = decode_plain_png(data, 12, 12, rule.color_mode)
    assert plain is not None
    np.testing.assert_array_equal(plain, picture)
    np.testing.assert_array_equal(decode(data, rule, LIMIT), picture)


def test_pixels_in_several_chunks_are_joined() -> None:
    parts = dict(chunks(png()))
    stream = parts[b"IDAT"]
    split = [(b"IHDR", parts[b"IHDR"]), (b"IDAT", stream[:50]), (b"IDAT", stream[50:]), (b"IEND", b"")]
    plain = decode_plain_png(file(split), 12, 12, "RGB")
    assert plain is not None
    np.testing.assert_array_equal(plain, decode(png(), RGB, LIMIT))


@pytest.mark.parametrize("level", [0, 255])
def test_pictures_of_one_colour_are_plain_too(level: int) -> None:
    picture = np.full((12, 12, 3), level, np.uint8)
    plain = decode_plain_png(encode(picture, "PNG"), 12, 12, "RGB")
    assert plain is not None
    np.testing.assert_array_equal(plain, picture)


def test_what_is_not_plain_is_left_to_the_long_way() -> None:
    picture = Image.fromarray(smooth_images(1, 12, 12, 3)[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    header, (_, stream), end = chunks(png())
    rows = zlib.decompress(stream)
    wrong = (b"", zlib.compress(rows[:-37]), zlib.compress(rows + rows), stream + b" ", stream[:-1] + b" ")
    others = [
        *every_kind().values(),
        *(encode(picture.convert(mode), "PNG") for mode in ("L", "1", "P", "RGBA", "LA", "I;16")),
        encode(picture, "PNG", exif=exif),
        encode(picture, "PNG", transparency=(1, 2, 3)),
        encode(picture, "PNG", pnginfo=None, dpi=(72, 72)),
        encode(picture.resize((12, 11)), "PNG"),
        file([*chunks(png())][:-1]),
        file([(b"IHDR", dict(chunks(png()))[b"IHDR"]), *chunks(png())]),
        *(file([header, (b"IDAT", body), end]) for body in wrong),
        file([header, end]),
        b"",
    ]
    for data in others:
        assert decode_plain_png(data, 12, 12, "RGB") is None


@pytest.mark.usefixtures("long_way")
def test_random_damage_with_right_checksums_gets_no_pixels_that_the_long_way_refuses() -> None:
    rng = np.random.default_rng(3)
    taken = 0
    for seed in range(200):
        parts = [(kind, bytearray(body)) for kind, body in chunks(png(seed % 5))]
        for _ in range(int(rng.integers(1, 3))):
            body = parts[int(rng.integers(0, 2))][1]
            body[int(rng.integers(0, len(body)))] = rng.integers(0, 256)
        if seed % 2:  # damaged rows, and a compression that is right
            rows = bytearray(zlib.decompress(dict(chunks(png(seed % 5)))[b"IDAT"]))
            rows[int(rng.integers(0, len(rows)))] = rng.integers(0, 256)
            parts[1] = b"IDAT", bytearray(zlib.compress(rows))
        data = file([(kind, bytes(body)) for kind, body in parts])
        plain = decode_plain_png(data, 12, 12, "RGB")
        if plain is not None:
            taken += 1
            np.testing.assert_array_equal(plain, decode(data, RGB, LIMIT))
        cut = decode_plain_png(png(seed)[: int(rng.integers(0, len(png(seed))))], 12, 12, "RGB")
        assert cut is None
        damaged = bytearray(png(seed))
        damaged[int(rng.integers(0, len(damaged)))] ^= int(rng.integers(1, 256))
        assert decode_plain_png(bytes(damaged), 12, 12, "RGB") is None
    assert 0 < taken < 200


def test_the_pixel_limit_holds_for_plain_files_too() -> None:
    with pytest.raises(ImageError) as caught:
        decode(png(), RGB, 12 * 12 - 1)
    assert caught.value.failure.status == 413
