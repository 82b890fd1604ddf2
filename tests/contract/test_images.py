"""Training on a folder reads an image file to the same pixels as the service that will get such files."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.images import ImageRule
from service.images import decode as served
from tests.bundles import smooth_images
from tests.pictures import encode, every_kind, png_header, raw_png
from tests.training.drawn import config
from tests.training.untrained import model
from training.export import TrainedModel
from training.folders import load_folder
from training.sources import decode as trained

PHOTO = Image.fromarray(smooth_images(1, 23, 37, 3, seed=5)[0])
GREY16 = np.linspace(0, 65535, 23 * 37, dtype=np.float64).astype(np.uint16).reshape(23, 37)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(PHOTO, "JPEG", exif=exif)


def see_through(mode: str) -> bytes:
    image = PHOTO.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encode(image.convert(mode), "PNG")


def oddly_tagged() -> bytes:
    entries = struct.pack(">HHIHHHHI", 0x0112, 3, 1, 6, 0, 0x0128, 2, 4) + b"odd\x00"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + struct.pack(">H", 2) + entries + bytes(4)
    return encode(PHOTO, "JPEG", exif=exif)


def keyed(depth: int) -> bytes:
    rows = zlib.compress(b"\x00\x1b\xe4" * 23)
    return raw_png(png_header(16 // depth, 23, depth, 0), (b"tRNS", b"\x00\x01"), (b"IDAT", rows))


SPECIAL: dict[str, Callable[[], bytes]] = {
    "alpha": lambda: see_through("RGBA"),
    "grey-alpha": lambda: see_through("LA"),
    "palette": lambda: encode(PHOTO.convert("P"), "PNG"),
    "palette-transparent": lambda: encode(PHOTO.convert("P"), "PNG", transparency=7),
    "bilevel": lambda: encode(PHOTO.convert("1"), "PNG"),
    "grey16": lambda: encode(GREY16, "PNG"),
    "grey16-keyed": lambda: encode(GREY16, "PNG", transparency=0),
    "grey2-keyed": lambda: keyed(2),
    "grey4-keyed": lambda: keyed(4),
    "float": lambda: encode(np.asarray(PHOTO.convert("L"), np.float32) / 255, "TIFF"),
    "rotated, odd tags": oddly_tagged,
    "cmyk": lambda: encode(PHOTO.convert("CMYK"), "JPEG"),
    "rotated": rotated,
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TrainedModel]:
    """Models of a folder of photos, by colour mode."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            PHOTO.rotate(40 * index).save(folder / name / f"{index}.png")
    return lambda mode: model(config("none"), load_folder("own", folder, 16, mode))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", [*every_kind(), *SPECIAL])
def test_both_halves_see_the_same_pixels(
    kind: str, mode: str, own: Callable[[str], TrainedModel], tmp_path: Path
) -> None:
    data = SPECIAL[kind]() if kind in SPECIAL else every_kind()[kind]
    (tmp_path / "file").write_bytes(data)
    facts = own(mode).facts()["input"]
    resize = facts["resize"]
    rule = ImageRule(
        facts["height"],
        facts["width"],
        facts["color_mode"],
        facts["alpha_background"],
        resize["mode"],
        resize["filter"],
        resize["background"],
    )
    expected = served(data, rule, 10_000)
    got = trained(tmp_path / "file", 16, mode)
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
