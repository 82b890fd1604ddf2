"""Files become the pixels that the model was trained on, or a failure that says why; never half an image."""

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.images import ImageError, ImageRule, decode
from tests.bundles import smooth_images
from tests.pictures import encode, every_kind, pixels

RGB = ImageRule(12, 12, "RGB", "white", "stretch", "bicubic")
GREY = replace(RGB, color_mode="L", alpha_background="black")
KINDS = every_kind()
LIMIT = 1_000_000


def status(data: bytes, rule: ImageRule = RGB, limit: int = LIMIT) -> tuple[int, str]:
    with pytest.raises(ImageError) as caught:
        decode(data, rule, limit)
    return caught.value.failure.status, caught.value.failure.code


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_pixels_of_the_models_size_pass_bit_exactly(form: str) -> None:
    expected = pixels(3)
    for mode in ("stretch", "cover", "contain"):
        actual = decode(encode(expected, form), replace(RGB, resize_mode=mode), LIMIT)
        assert actual.dtype == np.uint8 and actual.flags.c_contiguous
        np.testing.assert_array_equal(actual, expected)


def test_grey_pixels_pass_bit_exactly_and_have_a_channel() -> None:
    expected = pixels(3, channels=1)
    np.testing.assert_array_equal(decode(encode(expected, "PNG"), GREY, LIMIT)[..., 0], expected)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_cut_at_every_percent_never_gives_pixels(name: str) -> None:
    data = KINDS[name]
    assert decode(data, RGB, LIMIT).shape == (12, 12, 3)
    for percent in range(100):
        code, _ = status(data[: len(data) * percent // 100])
        assert code == 422 or (code == 415 and percent < 5), percent


# One bit a pixel is another picture.
@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"tiff-fax"}))
def test_all_formats_show_the_same_picture(name: str) -> None:
    difference = decode(KINDS[name], RGB, LIMIT).astype(int) - decode(KINDS["png"], RGB, LIMIT)
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    upright = np.zeros((24, 24), np.uint8)
    upright[:12, :12], upright[:12, 12:], upright[12:, :12] = 255, 160, 80
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(stored).convert("RGB"), form, exif=exif)
    corners = decode(data, GREY, LIMIT)[[2, 2, 9, 9], [2, 9, 2, 9], 0]
    np.testing.assert_allclose(corners, [255, 160, 80, 0], atol=12)


def test_broken_exif_does_not_cost_the_picture() -> None:
    plain = encode(pixels(1), "JPEG")
    app1 = b"Exif\x00\x00II*\x00\xff\xff\xff\xff"
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 + plain[2:]
    np.testing.assert_array_equal(decode(data, RGB, LIMIT), decode(plain, RGB, LIMIT))


def test_transparency_is_composed_over_the_models_background() -> None:
    rgba = np.zeros((12, 12, 4), np.uint8)
    rgba[..., 0], rgba[:, 6:, 3] = 200, 255
    for form in ("PNG", "TIFF"):
        data = encode(rgba, form)
        white = decode(data, RGB, LIMIT)
        assert white[0, 0].tolist() == [255, 255, 255] and white[0, 11].tolist() == [200, 0, 0]
        black = decode(data, replace(RGB, alpha_background="black"), LIMIT)
        assert black[0, 0].tolist() == [0, 0, 0] and black[0, 11].tolist() == [200, 0, 0]


def test_half_transparency_is_half_the_background() -> None:
    la = np.dstack([np.full((12, 12), 100, np.uint8), np.full((12, 12), 128, np.uint8)])
    assert decode(encode(Image.fromarray(la, "LA"), "PNG"), GREY, LIMIT)[0, 0, 0] == 50
    assert abs(int(decode(encode(Image.fromarray(la, "LA"), "PNG"), RGB, LIMIT)[0, 0, 0]) - 177) <= 1


def test_palettes_with_and_without_transparency() -> None:
    image = Image.fromarray(pixels(2)).quantize(16)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(encode(image, "PNG"), RGB, LIMIT), expected)
    clear = int(np.asarray(image)[0, 0])
    for transparency in (clear, bytes(0 if index == clear else 255 for index in range(16))):
        actual = decode(encode(image, "PNG", transparency=transparency), RGB, LIMIT)
        assert actual[0, 0].tolist() == [255, 255, 255]
        solid = np.asarray(image) != clear
        np.testing.assert_array_equal(actual[solid], expected[solid])


def test_sixteen_bits_are_scaled_to_eight() -> None:
    grey = pixels(4, channels=1)
    wide = grey.astype(np.uint16) * 257
    for form in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(encode(wide, form), GREY, LIMIT)[..., 0], grey)
    np.testing.assert_array_equal(decode(encode(grey.astype(np.float32) / 255, "TIFF"), GREY, LIMIT)[..., 0], grey)
    np.testing.assert_array_equal(decode(encode(wide.astype(np.int32), "TIFF"), GREY, LIMIT)[..., 0], grey)


@pytest.mark.parametrize("value", [-1.0, 1.5, float("nan")])
def test_samples_without_an_agreed_scale_are_refused(value: float) -> None:
    assert status(encode(np.full((12, 12), value, np.float32), "TIFF"), GREY) == (422, "undecodable")


def test_sixteen_bit_colour_is_scaled_to_eight() -> None:
    colour = pixels(4)
    rows = b"".join(b"\x00" + row.astype(">u2").__mul__(257).astype(">u2").tobytes() for row in colour)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 12, 12, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    np.testing.assert_array_equal(decode(data, RGB, LIMIT), colour)


@pytest.mark.parametrize("mode", ["CMYK", "1", "YCbCr", "L", "RGB"])
def test_other_colours_go_through_rgb(mode: str) -> None:
    image = Image.fromarray(pixels(6)).convert(mode)
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    expected = np.asarray(Image.open(io.BytesIO(encode(image, form))).convert("RGB"))
    np.testing.assert_array_equal(decode(encode(image, form), RGB, LIMIT), expected)


def test_a_cmyk_photo_is_not_a_negative() -> None:
    bright = Image.new("RGB", (12, 12), (250, 240, 230)).convert("CMYK")
    assert decode(encode(bright, "JPEG"), RGB, LIMIT).mean() > 200


def test_resize_rules() -> None:
    # Left half black, right half white, twice as wide as high.
    wide = np.zeros((24, 48, 3), np.uint8)
    wide[:, 24:] = 255
    data = encode(wide, "PNG")
    stretched = decode(data, replace(RGB, resize_filter="box"), LIMIT)
    np.testing.assert_array_equal(stretched[:, :, 0], np.repeat([[0] * 6 + [255] * 6], 12, axis=0))
    covered = decode(data, replace(RGB, resize_mode="cover", resize_filter="box"), LIMIT)
    np.testing.assert_array_equal(covered, stretched)
    contained = decode(data, replace(RGB, resize_mode="contain", resize_filter="box", resize_background=77), LIMIT)
    assert (contained[:3] == 77).all() and (contained[9:] == 77).all()
    np.testing.assert_array_equal(contained[3:9], stretched[:6])


def test_cover_keeps_the_centre() -> None:
    image = np.zeros((12, 36, 3), np.uint8)
    image[:, 12:24] = 255
    assert (decode(encode(image, "PNG"), replace(RGB, resize_mode="cover"), LIMIT) == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3000, 2)])
@pytest.mark.parametrize("mode", ["stretch", "cover", "contain"])
def test_extreme_shapes(size: tuple[int, int], mode: Any) -> None:
    data = encode(Image.new("RGB", size, (9, 9, 9)), "PNG")
    assert decode(data, replace(RGB, resize_mode=mode), LIMIT).shape == (12, 12, 3)


@pytest.mark.parametrize("name", KINDS)
def test_too_many_pixels_are_refused_with_the_limit(name: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(KINDS[name], RGB, 37 * 23 - 1)
    failure = caught.value.failure
    assert (failure.status, failure.code, failure.limit, failure.actual) == (413, "too-many-pixels", 850, 851)
    assert decode(KINDS[name], RGB, 37 * 23).shape == (12, 12, 3)


@pytest.mark.parametrize("name", [name for name in KINDS if not name.startswith("tiff")])
def test_a_cut_file_that_announces_too_many_pixels_is_too_large_first(name: str) -> None:
    data = KINDS[name]
    assert status(data[:-2], limit=850) == (413, "too-many-pixels")
    assert status(data[:-2], limit=851) == (422, "undecodable")


@pytest.mark.parametrize("compression", ["tiff_lzw", "group4"])
def test_a_huge_tiff_is_told_its_size(compression: str) -> None:
    stream = io.BytesIO()
    Image.new("1" if compression == "group4" else "L", (20_000, 20_000)).save(stream, "TIFF", compression=compression)
    with pytest.raises(ImageError) as caught:
        decode(stream.getvalue(), RGB, 25_000_000)
    assert (caught.value.failure.status, caught.value.failure.actual) == (413, 400_000_000)


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4", b"<svg/>", b"%!PS-Adobe", b"hello"])
def test_other_content_is_unsupported(data: bytes) -> None:
    assert status(data) == (415, "unsupported-type")


def test_a_bomb_in_a_text_chunk_is_refused() -> None:
    body = b"k\x00\x00" + zlib.compress(bytes(100_000_000), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    plain = encode(pixels(), "PNG")
    assert status(plain[:33] + chunk + plain[33:]) == (422, "undecodable")


def test_a_small_tiff_with_huge_tiles_is_refused_before_it_is_decoded() -> None:
    data = zlib.compress(bytes(1000))
    tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32000, 323: 32000, 324: 0, 325: len(data)}
    end = 8 + 2 + 12 * len(tags) + 4
    file = b"II*\x00" + struct.pack("<IH", 8, len(tags))
    for tag, value in tags.items():
        file += struct.pack("<HHII", tag, 4, 1, end if tag == 324 else value)
    assert status(file + bytes(4) + data) == (413, "too-many-pixels")


def test_random_damage_is_a_failure_or_whole_pixels_never_anything_else() -> None:
    rng = np.random.default_rng(1)
    for data in KINDS.values():
        for _ in range(60):
            broken = bytearray(data)
            for position in rng.integers(0, len(data), 3):
                broken[position] = rng.integers(0, 256)
            try:
                assert decode(bytes(broken), RGB, LIMIT).shape == (12, 12, 3)
            except ImageError as error:
                assert error.failure.status in (413, 415, 422)


def test_smooth_images_are_not_flat() -> None:
    assert smooth_images(2, 12, 12, 3).std() > 20
