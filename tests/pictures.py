"""Image files of every allowed kind, made in memory."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.bundles import smooth_images


def encode(image: Image.Image | NDArray[Any], form: str, **options: Any) -> bytes:
    """Writes an image or a uint8 (H, W) or (H, W, C) array as a file."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, form, **options)
    return stream.getvalue()


def raw_png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Writes a PNG of these chunks, by name; IEND comes by itself."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (*chunks, (b"IEND", b""))
    )


def png_header(width: int, height: int, depth: int, colour: int) -> tuple[bytes, bytes]:
    """The first chunk of a PNG that is not interlaced."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


def png(seed: int = 0, size: int = 12, channels: int = 3) -> bytes:
    """Draws a PNG that has the size of the tests' models."""
    return encode(pixels(seed, size, channels), "PNG")


def pixels(seed: int = 0, size: int = 12, channels: int = 3) -> NDArray[np.uint8]:
    """Draws uint8 (H, W, C), or (H, W) for one channel."""
    image: NDArray[np.uint8] = smooth_images(1, size, size, channels, seed)[0]
    return image.reshape(size, size) if channels == 1 else image


def every_kind() -> dict[str, bytes]:
    """Writes the same picture in all allowed formats and most of their variants, by name."""
    image = Image.fromarray(smooth_images(1, 23, 37, 3, seed=5)[0])
    more = {"save_all": True, "append_images": [image.rotate(90)]}
    return {
        "png": encode(image, "PNG"),
        "png-animated": encode(image, "PNG", **more),
        "jpeg": encode(image, "JPEG"),
        "jpeg-progressive": encode(image, "JPEG", progressive=True),
        "webp": encode(image, "WEBP"),
        "webp-lossless": encode(image, "WEBP", lossless=True),
        "webp-alpha": encode(image.convert("RGBA"), "WEBP"),
        "webp-animated": encode(image, "WEBP", **more),
        "gif": encode(image, "GIF"),
        "gif-animated": encode(image, "GIF", **more),
        "bmp": encode(image, "BMP"),
        "bmp-palette": encode(image.convert("P"), "BMP"),
        "tiff": encode(image, "TIFF"),
        "tiff-lzw": encode(image, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": encode(image, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-fax": encode(image.convert("1"), "TIFF", compression="group4"),
    }
