"""A JPEG whose data are cut or damaged is refused, however whole its frame looks; one that is only odd is not."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.images import ImageError, ImageRule, decode
from tests.conftest import TestClient

RULE = ImageRule(32, 32, "RGB", "white", "cover", "bicubic")
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.png"))
END = b"\xff\xd9"


def photograph() -> Image.Image:
    """Real photographs side by side, with the grain that a camera has."""
    photos = np.concatenate([np.asarray(Image.open(path).convert("RGB").resize((160, 160))) for path in EXAMPLES], 1)
    grain = np.random.default_rng(0).normal(0, 6, photos.shape)
    return Image.fromarray((photos + grain).clip(0, 255).astype(np.uint8))


def jpeg(kind: str) -> bytes:
    picture, stream = photograph(), io.BytesIO()
    picture = picture.convert({"grey": "L", "CMYK": "CMYK"}.get(kind, "RGB"))
    options: dict[str, Any] = {
        "progressive": {"progressive": True},
        "4:4:4": {"subsampling": 0},
        "restarts": {"restart_marker_rows": 1},
    }
    picture.save(stream, "JPEG", **options.get(kind, {}))
    return stream.getvalue()


def middle(data: bytes) -> int:
    """The middle of the last scan's data."""
    return (data.rfind(b"\xff\xda") + 16 + len(data)) // 2


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half of it, and an end": lambda data: data[: middle(data)] + END,
    "a third left out": lambda data: data[: middle(data) - len(data) // 6] + data[middle(data) + len(data) // 6 :],
    "the second half zero": lambda data: data[: middle(data)] + bytes(len(data) - middle(data) - 2) + END,
}
KINDS = ("baseline", "progressive", "4:4:4", "restarts", "grey", "CMYK")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_data_are_refused(kind: str, damage: str) -> None:
    data = DAMAGES[damage](jpeg(kind))
    Image.open(io.BytesIO(data)).load()  # by itself, the decoder sees nothing wrong
    with pytest.raises(ImageError) as caught:
        decode(data, RULE, 10**7)
    assert (caught.value.failure.status, caught.value.failure.code) == (422, "undecodable")
    assert "damaged or cut" in caught.value.failure.detail


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_whole_is_not(kind: str) -> None:
    data = jpeg(kind)
    plain = decode(data, RULE, 10**7)
    for odd in (data + b"a thumbnail, a film", data[:-2] + bytes(8) + END):
        np.testing.assert_array_equal(decode(odd, RULE, 10**7), plain)


def test_the_client_is_told_which_image_it_was(client: TestClient) -> None:
    whole = jpeg("baseline")
    files = [("images", whole), ("images", DAMAGES["half of it, and an end"](whole))]
    answer = client.post("/features", files=files)
    assert answer.status_code == 422 and [error["index"] for error in answer.json()["errors"]] == [1]
