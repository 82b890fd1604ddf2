"""Any image's samples → 8-bit grey or RGB without transparency."""

import numpy as np
from PIL import Image

_SAMPLE_LIMITS = {"I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "I;16N": 65535, "F": 1}


def coloured(image: Image.Image, mode: str, background: str) -> Image.Image:
    """Converts to a model's colours: wide samples to 8 bits, transparency over the background, CMYK through RGB.

    Args:
        image: Any; loaded.
        mode: `L` or `RGB`.
        background: What transparent pixels are composed over, as Pillow names colours.

    Returns:
        The image in that mode.

    Raises:
        ValueError: Its samples have no agreed scale.
    """
    if image.mode in _SAMPLE_LIMITS:
        image = _narrowed(image)
    if image.has_transparency_data:
        # RGBA also resolves palettes and colour-keyed transparency, exactly.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    elif image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _narrowed(image: Image.Image) -> Image.Image:
    """Scales wide grey samples to 8 bits: 16-bit integers by their high byte, floats from 0…1.

    Integers beyond 16 bits and floats outside 0…1 have no agreed white, so they are refused rather than guessed.
    """
    samples = np.asarray(image)
    top = _SAMPLE_LIMITS[image.mode]
    if not (samples.min() >= 0 and samples.max() <= top):
        raise ValueError(f"samples outside 0…{top} have no defined scale")
    if image.mode == "F":
        return Image.fromarray(np.rint(samples * 255).astype(np.uint8))
    narrow = Image.fromarray((samples.astype(np.uint32) >> 8).astype(np.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):
        narrow.putalpha(Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8)))
    return narrow


def scale_key(image: Image.Image, depth: int) -> None:
    """Brings a PNG's transparent colour to the scale of the decoded samples, which Pillow leaves as the file has it.

    Of colours of 16 bits a sample Pillow keeps the high bytes; those that differ from the key below are taken for it.
    """
    key = image.info.get("transparency")
    if image.mode == "L" and isinstance(key, int) and depth < 8:
        top = (1 << depth) - 1
        image.info["transparency"] = (key & top) * (255 // top)
    elif image.mode == "RGB" and isinstance(key, tuple) and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)
