"""Any image file's samples → 8-bit grey or RGB without transparency, just as the service makes them.

The two halves share no code; `tests/contract/test_images.py` holds them to the same pixels.
"""

import numpy as np
from PIL import Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image of each EXIF orientation upright."""
ORIENTATION = 0x0112
LIMITS = {"I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "I;16N": 65535, "F": 1}
"""The value that is white, in modes of more than 8 bits."""


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; metadata that cannot be read is no reason to refuse good pixels."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises whatever comes up
        return image
    return image if turn is None else image.transpose(turn)


def scale_key(image: Image.Image, depth: int) -> None:
    """Bring a PNG's transparent colour to the scale of the decoded samples, which Pillow leaves as the file has it.

    Args:
        image: a decoded PNG.
        depth: bits a sample in the file.
    """
    key = image.info.get("transparency")
    if image.mode == "L" and isinstance(key, int) and depth < 8:
        top = (1 << depth) - 1
        image.info["transparency"] = (key & top) * (255 // top)
    elif image.mode == "RGB" and isinstance(key, tuple) and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)


def narrowed(image: Image.Image) -> Image.Image:
    """Scale wide grey samples to 8 bits: 16-bit integers by their high byte, floats from 0 to 1.

    Raises:
        ValueError: samples beyond that, which have no agreed white.
    """
    samples, top = np.asarray(image), LIMITS[image.mode]
    if not (samples.min() >= 0 and samples.max() <= top):
        raise ValueError(f"samples outside 0 to {top} have no defined scale")
    if image.mode == "F":
        return Image.fromarray(np.rint(samples * 255).astype(np.uint8))
    narrow = Image.fromarray((samples.astype(np.uint32) >> 8).astype(np.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):
        narrow.putalpha(Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8)))
    return narrow


def coloured(image: Image.Image, mode: str) -> Image.Image:
    """Convert to a model's colours, transparency over white.

    Args:
        image: any; loaded.
        mode: `L` or `RGB`.
    """
    if image.mode in LIMITS:
        image = narrowed(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    elif image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)
