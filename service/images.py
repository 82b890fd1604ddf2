"""Image bytes → a checked, whole, oriented, resized array, uint8 (H, W, C); every cap is an argument.

The order is: recognise by content, check that the file is whole, check the pixel count, decode, apply the EXIF
orientation, compose transparency over the background, convert colours, resize. Colour profiles are not applied.
"""

import io
import struct
import zlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from service.colours import coloured, scale_key
from service.containers import PNG, Broken, Container, inspect, png_is_full
from service.errors import ImageFailure
from service.plain_png import decode_plain_png
from service.whole_jpeg import find_damage
from service.whole_tiff import check_extent, check_jpegs, tile_size

UInt8Image = NDArray[np.uint8]

# Pixels are counted here, before anything is decoded; a limit of its own would be in the way of a higher one.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image of each EXIF orientation upright."""
_SMALL_BYTES = 8 * 1024
_SMALL_PIXELS = 64 * 64
# What Pillow's plugins raise on files that lie. MemoryError and RecursionError are left out: those are ours to see.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Warning,  # where the interpreter is told to raise them
)


class ImageError(Exception):
    """The bytes give no image; carries the failure without its place in the request."""

    def __init__(
        self, status: int, code: str, detail: str, limit: int | None = None, actual: int | None = None
    ) -> None:
        """Keeps the failure; its place in the request is not known here."""
        super().__init__(detail)
        self.failure = ImageFailure(0, status, code, detail, limit, actual)

    def at(self, index: int) -> ImageFailure:
        """Returns the failure with its place in the request."""
        return replace(self.failure, index=index)


@dataclass(frozen=True, slots=True)
class ImageRule:
    """How a model wants its pixels.

    Attributes:
        height: H in pixels.
        width: W in pixels.
        color_mode: Pillow mode, `L` or `RGB`; gives C = 1 or 3.
        alpha_background: What transparent pixels are composed over.
        resize_mode: `stretch`, `cover` (fill, crop the centre) or `contain` (fit, pad with `resize_background`).
        resize_filter: Antialiased Pillow resampling filter.
        resize_background: Grey level of the padding, 0…255.
    """

    height: int
    width: int
    color_mode: Literal["L", "RGB"]
    alpha_background: Literal["black", "white"]
    resize_mode: Literal["stretch", "cover", "contain"]
    resize_filter: Literal["box", "bilinear", "bicubic", "lanczos"]
    resize_background: int = 0

    @property
    def bands(self) -> int:
        """C of one image: 1 or 3."""
        return len(self.color_mode)


def decode(data: bytes, rule: ImageRule, max_pixels: int) -> UInt8Image:
    """Decodes one image file as the model wants it.

    Args:
        data: The whole file: PNG, JPEG, WebP, GIF (its first frame), BMP or TIFF, by content.
        rule: Size, colours and resizing.
        max_pixels: Pixels allowed, compared with the file's header before anything is decoded.

    Returns:
        uint8 (H, W, C), C-contiguous, 0…255. A file that already has the model's size and colours passes bit-exactly.

    Raises:
        ImageError: 415 no allowed type, 413 too many pixels, 422 does not decode whole.
    """
    if rule.height * rule.width <= max_pixels:
        plain = decode_plain_png(data, rule.height, rule.width, rule.color_mode)
        if plain is not None:
            return plain
    try:
        container = inspect(data)
        if container is None:
            raise ImageError(415, "unsupported-type", "The content is none of PNG, JPEG, WebP, GIF, BMP, TIFF.")
        _check_pixels(container.width, container.height, max_pixels)
        image = _open(data, container, max_pixels)
        pixels = np.asarray(_resized(coloured(_oriented(image), rule.color_mode, rule.alpha_background), rule))
    except Broken as error:
        _check_pixels(*error.pixels, max_pixels)
        raise ImageError(422, "undecodable", f"The file is not whole: {error}.") from None
    except _DECODE_ERRORS as error:
        raise ImageError(422, "undecodable", f"The image does not decode: {_first_line(error)}.") from error
    return pixels.reshape(rule.height, rule.width, rule.bands)


def is_small(data: bytes) -> bool:
    """Tells from the container alone whether a file decodes in a fraction of a millisecond.

    Args:
        data: The whole file; anything is allowed.
    """
    if len(data) > _SMALL_BYTES:  # whatever is compressed in it can be a thousand times larger, and no more
        return False
    if data.startswith(PNG) and len(data) >= 24:
        return int.from_bytes(data[16:20]) * int.from_bytes(data[20:24]) <= _SMALL_PIXELS
    try:
        container = inspect(data)
    except Broken:
        return True  # then it is refused, without a decoder
    return container is None or 0 < container.width * container.height <= _SMALL_PIXELS


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        detail = f"The image is {width} x {height} = {width * height} pixels; the limit is {max_pixels}."
        raise ImageError(413, "too-many-pixels", detail, limit=max_pixels, actual=width * height)


def _open(data: bytes, container: Container, max_pixels: int) -> Image.Image:
    """Opens and fully loads the first frame with the one plugin that the content asks for."""
    image = Image.open(io.BytesIO(data), formats=[container.format])
    # Again, because a plugin may read the size from elsewhere than the container walk did.
    _check_pixels(*image.size, max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_pixels(*tile_size(image), max_pixels)
        check_extent(image, len(data))
    elif image.width * image.height > container.width * container.height:
        raise Broken("it states its size twice")
    image.load()
    if container.format == "JPEG" and (damage := find_damage(data, image.mode)):
        raise Broken(f"its data is damaged or cut ({damage})")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        check_jpegs(image, data)
    if container.format == "PNG":
        if _may_lack_rows(image) and not png_is_full(data):
            raise Broken("its pixels end early")
        scale_key(image, depth=data[24])
    return image


def _may_lack_rows(image: Image.Image) -> bool:
    """Tells cheaply whether a PNG's stream may have ended early: rows that never came are zero, the last one first."""
    if image.info.get("interlace"):
        return True
    last_row = image.crop((0, image.height - 1, image.width, image.height))
    return last_row.getbbox(alpha_only=False) is None


def _oriented(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; metadata that cannot be read is no reason to refuse good pixels."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except _DECODE_ERRORS:
        return image
    # Pillow's own `exif_transpose` also writes the other tags anew, and fails where one of them is odd.
    return image if turn is None else image.transpose(turn)


def _resized(image: Image.Image, rule: ImageRule) -> Image.Image:
    """Resizes with the model's rule; an image of the model's size is returned as it is."""
    size = (rule.width, rule.height)
    if image.size == size:
        return image
    resample = Image.Resampling[rule.resize_filter.upper()]
    width, height = image.size
    if rule.resize_mode == "stretch":
        return image.resize(size, resample)
    if rule.resize_mode == "cover":
        # One resampling of the centred box, which keeps fractions of a pixel that cropping first would round away.
        scale = max(rule.width / width, rule.height / height)
        box_width, box_height = min(width, rule.width / scale), min(height, rule.height / scale)
        left, top = (width - box_width) / 2, (height - box_height) / 2
        return image.resize(size, resample, box=(left, top, left + box_width, top + box_height))
    scale = min(rule.width / width, rule.height / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    level = rule.resize_background
    padded = Image.new(image.mode, size, level if image.mode == "L" else (level, level, level))
    padded.paste(image.resize(inner, resample), ((rule.width - inner[0]) // 2, (rule.height - inner[1]) // 2))
    return padded


def _first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    # Some plugins print the whole stream object, whose address is of no use to a client, and some say nothing.
    return text[:200].rstrip(".") if text and "<_io." not in text else "unreadable content"
