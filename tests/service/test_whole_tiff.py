"""A TIFF whose strips are JPEG streams is refused if one of them is cut or damaged, as a JPEG file is."""

import io

import numpy as np
import pytest
from PIL import Image

from service.images import ImageError, decode
from tests.service.test_whole_jpeg import RULE, photograph


def tiff(mode: str) -> bytes:
    stream = io.BytesIO()
    photograph().convert(mode).save(stream, "TIFF", compression="jpeg", tiffinfo={278: 64})
    return stream.getvalue()


def strips(data: bytes) -> list[tuple[int, int]]:
    """Offsets and sizes of the strips."""
    with Image.open(io.BytesIO(data)) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]  # of TIFF files
        return list(zip(tags[273], tags[279], strict=True))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("last", [bytes(2), b"\xff\xd9"], ids=["zeros", "an early end"])
def test_each_strip_is_looked_at(mode: str, last: bytes) -> None:
    whole = tiff(mode)
    parts = strips(whole)
    assert len(parts) > 1
    decoded = decode(whole, RULE, 10**7)
    plain = io.BytesIO()
    photograph().convert(mode).save(plain, "TIFF")
    assert np.abs(decoded.astype(int) - decode(plain.getvalue(), RULE, 10**7)).mean() < 3
    for offset, size in parts:
        half, rest = offset + size // 2, size - size // 2
        damaged = whole[:half] + (last * rest)[: rest - 2] + b"\xff\xd9" + whole[offset + size :]
        Image.open(io.BytesIO(damaged)).load()  # by itself, the decoder sees nothing wrong
        with pytest.raises(ImageError) as caught:
            decode(damaged, RULE, 10**7)
        assert (caught.value.failure.status, caught.value.failure.code) == (422, "undecodable")


def test_a_strip_without_its_end_is_refused() -> None:
    whole = tiff("RGB")
    offset, size = strips(whole)[0]
    cut = whole[: offset + size - 2] + bytes(2) + whole[offset + size :]
    with pytest.raises(ImageError, match="end-of-image marker"):
        decode(cut, RULE, 10**7)
