"""Image files that are unusual or lie: colour keys of every depth, odd metadata, headers that contradict each other."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from service.images import ImageError, ImageRule, decode, is_small
from tests.conftest import NewClient, TestClient, metric
from tests.pictures import encode, pixels, png, png_header, raw_png
from tests.service.test_images import LIMIT, status

ROW = ImageRule(1, 4, "L", "white", "stretch", "bilinear")
COLOURS = replace(ROW, color_mode="RGB", width=2)


@pytest.mark.parametrize(
    ("depth", "row", "opaque", "key", "clear"),
    [
        (1, b"\x50", [0, 255, 0, 255], 1, {1, 3}),
        (1, b"\x50", [0, 255, 0, 255], 0, {0, 2}),
        (2, b"\x1b", [0, 85, 170, 255], 1, {1}),
        (2, b"\x1b", [0, 85, 170, 255], 2, {2}),
        (4, b"\x01\x5f", [0, 17, 85, 255], 5, {2}),
        (4, b"\x01\x5f", [0, 17, 85, 255], 0, {0}),
        (8, b"\x00\x01\x55\xff", [0, 1, 85, 255], 1, {1}),
        (16, b"\x00\x00\x12\x34\x12\x35\x80\x00", [0, 18, 18, 128], 0x1234, {1}),
    ],
)
def test_the_transparent_grey_of_a_png_is_one_of_its_samples(
    depth: int, row: bytes, opaque: list[int], key: int, clear: set[int]
) -> None:
    header, rows = png_header(4, 1, depth, 0), (b"IDAT", zlib.compress(b"\x00" + row))
    assert decode(raw_png(header, rows), ROW, LIMIT)[0, :, 0].tolist() == opaque
    keyed = raw_png(header, (b"tRNS", struct.pack(">H", key)), rows)
    for rule, level in ((ROW, 255), (replace(ROW, alpha_background="black"), 0)):
        expected = [level if index in clear else grey for index, grey in enumerate(opaque)]
        assert decode(keyed, rule, LIMIT)[0, :, 0].tolist() == expected


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_of_a_png_is_one_of_its_colours(depth: int) -> None:
    kind, scale = (">u1", 1) if depth == 8 else (">u2", 257)
    row = (np.array([18, 52, 86, 120, 154, 188]) * scale).astype(kind).tobytes()
    key = struct.pack(">HHH", *(value * scale for value in (120, 154, 188)))
    data = raw_png(png_header(2, 1, depth, 2), (b"tRNS", key), (b"IDAT", zlib.compress(b"\x00" + row)))
    assert decode(data, COLOURS, LIMIT)[0].tolist() == [[18, 52, 86], [255, 255, 255]]


def test_a_palette_image_without_a_palette_is_refused_and_counted(new_client: NewClient) -> None:
    data = raw_png(png_header(3, 1, 8, 3), (b"IDAT", zlib.compress(b"\x00\x00\x01\x02")))
    assert status(data) == (422, "undecodable")
    client = new_client()
    assert client.post("/predict", content=data, headers={"Content-Type": "image/png"}).status_code == 422
    skipped = client.post("/predict?on_error=skip", files=[("images", data), ("images", png())])
    assert skipped.status_code == 200 and [error["index"] for error in skipped.json()["errors"]] == [0]
    assert metric(client, "sca_images_total", model="cifar10-shallow", outcome="decode_error") == 2


def test_a_png_has_one_size() -> None:
    rows = zlib.compress(bytes(626) * 5000)
    data = raw_png(png_header(12, 12, 8, 2), png_header(5000, 5000, 1, 0), (b"IDAT", rows))
    assert len(data) < 8192 and is_small(data)
    assert status(data, limit=100_000_000) == (422, "undecodable")


def test_a_jpeg_has_one_size() -> None:
    data = encode(pixels(1), "JPEG")
    start = data.index(b"\xff\xc0")
    frame = data[start : start + 2 + int.from_bytes(data[start + 2 : start + 4])]
    larger = frame[:5] + struct.pack(">HH", 3000, 3000) + frame[9:]
    assert status(data[:start] + frame + larger + data[start + len(frame) :], limit=100_000_000)[0] == 422


@pytest.mark.parametrize("tag", [0x011A, 0x0128, 0x0131])
def test_odd_tags_do_not_cost_a_photo_its_orientation(tag: int) -> None:
    sideways = np.zeros((24, 24), np.uint8)
    sideways[:12] = 255
    entries = sorted([(0x0112, 3, 1, struct.pack(">HH", 6, 0)), (tag, 2, 4, b"odd\x00")])
    block = b"".join(struct.pack(">HHI", number, kind, count) + value for number, kind, count, value in entries)
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + struct.pack(">H", len(entries)) + block + bytes(4)
    data = encode(Image.fromarray(sideways).convert("RGB"), "JPEG", exif=exif)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6
    upright = decode(data, ImageRule(12, 12, "L", "black", "cover", "bilinear"), LIMIT)[..., 0]
    np.testing.assert_allclose(upright[6, [1, 10]], [0, 255], atol=12)


def many_scans(count: int) -> bytes:
    """A progressive JPEG, 64 x 64 grey, with so many scans of its first coefficients' last bits."""
    picture = Image.new("L", (64, 64), 128)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def test_a_jpeg_with_more_scans_than_any_encoder_makes_is_refused() -> None:
    """Each is a pass over all pixels, however few bytes it has: 240 kB of them take half a minute at 25 megapixels."""
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode(many_scans(1000), COLOURS, LIMIT)
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 90)).save(stream, "JPEG", progressive=True)
    assert decode(stream.getvalue(), COLOURS, LIMIT).shape == (1, 2, 3)


def test_a_plugin_that_fails_without_a_word_is_put_into_words(client: TestClient) -> None:
    header = png_header(8, 8, 8, 3)  # indexed, without its palette
    answer = client.post("/features", content=raw_png(header, (b"IDAT", zlib.compress(bytes(72)))))
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("does not decode: unreadable content.")
