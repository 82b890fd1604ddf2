"""A JPEG file → why its pixels are not all there, if they are not.

A decoder of JPEG makes a picture of anything: where data are missing or damaged it warns, and goes on with grey. Pillow
keeps the warnings to itself, so the file is read once more, at an eighth of its size, by a decoder that tells.
"""

import re

import simplejpeg

_DAMAGE = re.compile(
    r"premature end|bad Huffman code|bad progression|(?P<left>\d+) extraneous bytes before marker 0xd[0-79]"
)
"""libjpeg's warnings of lost data: what ends early, what is no code, what is left over when all pixels are there."""
_MOST_PADDING_BYTES = 64
"""Cameras fill the space before the last marker; damage leaves hundreds or thousands of bytes there."""


def find_damage(data: bytes, mode: str) -> str | None:
    """Looks for lost data.

    Args:
        data: A JPEG file that decodes.
        mode: Pillow's mode of it.

    Returns:
        The decoder's words; None if all pixels are there. One wrong bit may go unnoticed: the format has no checksums.
    """
    try:
        simplejpeg.decode_jpeg(
            data, "CMYK" if mode == "CMYK" else "GRAY", min_height=1, min_width=1, min_factor=8, strict=True
        )
    # Of a kind that this decoder does not know, Pillow has the say.
    except ValueError as error:
        found = _DAMAGE.search(str(error))
        if found and not (found["left"] and int(found["left"]) <= _MOST_PADDING_BYTES):
            return found[0]
    return None
