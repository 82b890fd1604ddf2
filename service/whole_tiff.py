"""A TIFF file → whether all parts of its pixels are there, as far as its decoder would not tell."""

from collections.abc import Iterator

from PIL import TiffImagePlugin

from service.containers import Broken, inspect
from service.whole_jpeg import find_damage

_COMPRESSION, _JPEG_TABLES = 259, 347
_JPEG = 7
_PARTS = ((273, 279), (324, 325))
"""Tags of the offsets and sizes of strips, and of tiles."""
_TILE_WIDTH, _TILE_HEIGHT = 322, 323


def tile_size(image: TiffImagePlugin.TiffImageFile) -> tuple[int, int]:
    """Returns a tile's width and height, 0 without tiles; a decoder fills whole ones, however small the image."""
    return _first(image.tag_v2.get(_TILE_WIDTH)), _first(image.tag_v2.get(_TILE_HEIGHT))


def check_extent(image: TiffImagePlugin.TiffImageFile, size: int) -> None:
    """Looks whether all strips or tiles end within a file of `size` bytes.

    Raises:
        Broken: One does not.
    """
    if any(offset + count > size for offset, count in _parts(image)):
        raise Broken("pixels are missing at the end")


def check_jpegs(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Looks for lost data in strips or tiles that are JPEG streams; their decoder goes on with grey, and says nothing.

    Args:
        image: The opened file.
        data: The file.

    Raises:
        Broken: Data are lost.
    """
    if image.tag_v2.get(_COMPRESSION) != _JPEG:
        return
    tables = image.tag_v2.get(_JPEG_TABLES)
    for offset, count in _parts(image):
        part = data[offset : offset + count]
        if isinstance(tables, bytes):  # a stream of its own (SOI … EOI), which goes between a part's SOI and the rest
            part = tables[:-2] + part[2:]
        inspect(part)
        if damage := find_damage(part, image.mode):
            raise Broken(f"its data is damaged or cut ({damage})")


def _parts(image: TiffImagePlugin.TiffImageFile) -> Iterator[tuple[int, int]]:
    for offsets, counts in _PARTS:
        yield from zip(_many(image.tag_v2.get(offsets, ())), _many(image.tag_v2.get(counts, ())), strict=False)


def _first(value: int | tuple[int, ...] | None) -> int:
    """Returns a tag's value, however the file counts it; 0 if it is not there."""
    return max(_many(value), default=0) if value is not None else 0


def _many(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)
