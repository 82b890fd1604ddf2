"""`GET /filters`: pictures of the filters, each in its own contrast."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.bundle import load_bundle
from service.errors import Malformed, NotFound
from service.filters import draw_filter, draw_grid, paint, pick_filters
from tests.conftest import TestClient, service_of


def picture(client: TestClient, path: str) -> NDArray[np.uint8]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_one_filter_is_scaled_to_its_own_contrast(client: TestClient, kind: str) -> None:
    stored = service_of(client).registry.get(None).bundle.arrays("filters.npz")[f"layer1_{kind}"][3].transpose(1, 2, 0)
    expected = np.rint((stored - stored.min()) / (stored.max() - stored.min()) * 255)
    np.testing.assert_array_equal(picture(client, f"/filters/3?kind={kind}&scale=1"), expected)
    np.testing.assert_array_equal(
        picture(client, f"/filters/3?kind={kind}&scale=2"), expected.repeat(2, axis=0).repeat(2, axis=1)
    )


def test_the_grid_holds_all_filters_in_order(client: TestClient) -> None:
    grid = picture(client, "/filters?columns=3&scale=1")
    assert grid.shape == (3 * 6 + 1, 3 * 6 + 1, 3)
    for index in range(8):
        top, left = index // 3 * 6 + 1, index % 3 * 6 + 1
        np.testing.assert_array_equal(
            grid[top : top + 5, left : left + 5], picture(client, f"/filters/{index}?scale=1"), str(index)
        )
    assert picture(client, "/filters?model=mnist-shallow").shape == (4 * 19, 4 * 19)


def test_the_time_of_drawing_is_told(client: TestClient) -> None:
    timing = client.get("/filters?scale=7").headers["server-timing"]
    assert float(timing.split("encode;dur=")[1].split(",")[0]) > 0


def test_one_filter_takes_what_a_grid_takes(client: TestClient) -> None:
    np.testing.assert_array_equal(picture(client, "/filters/2?columns=3"), picture(client, "/filters/2"))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/filters?layer=2", 404),
        ("/filters?layer=0", 404),
        ("/filters?layer=-1", 404),
        ("/filters/0?layer=0", 404),
        ("/filters?layer=x", 400),
        ("/filters?kind=both", 400),
        ("/filters?scale=0", 400),
        ("/filters?scale=33", 400),
        ("/filters?columns=0", 400),
        ("/filters?columns=9", 400),
        ("/filters?model=none", 404),
        ("/filters/8", 404),
        ("/filters/-1", 404),
        ("/filters/x", 404),
        ("/filters/0?layer=2", 404),
        ("/filters/0?scale=1.5", 400),
    ],
)
def test_bad_values(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.json()["status"] == status


def test_a_client_that_has_the_picture_does_not_get_it_again(client: TestClient) -> None:
    first = client.get("/filters")
    again = client.get("/filters", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    assert client.get("/filters", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/filters", headers={"If-None-Match": "*"}).status_code == 304
    assert client.get("/filters/100000", headers={"If-None-Match": "*"}).status_code == 404
    documented = client.get("/openapi.json").json()["paths"]["/filters"]["get"]["responses"]
    assert "304" in documented and "ETag" in documented["200"]["headers"]


def test_a_constant_filter_is_grey_and_a_huge_grid_is_refused() -> None:
    flat = np.zeros((1, 3, 3, 1), np.float32)
    grid = np.asarray(Image.open(io.BytesIO(draw_grid(flat, 1, None))))
    assert (grid[1:4, 1:4] == 128).all()
    with pytest.raises(Malformed) as caught:
        draw_grid(np.zeros((1000, 31, 31, 1), np.float32), 32, None)
    assert caught.value.limit is not None and caught.value.actual is not None
    assert caught.value.actual > caught.value.limit


def test_not_found_is_not_malformed() -> None:
    assert not issubclass(NotFound, Malformed)


@pytest.mark.parametrize("name", ["cifar10-deep", "mnist-deep"])
def test_a_second_layer_is_drawn_in_pixels_both_ways(name: str) -> None:
    (path,) = (Path("models") / name).iterdir()
    bundle = load_bundle(path)
    decoder, encoder = (pick_filters(bundle, 2, kind) for kind in ("decoder", "encoder"))
    assert len(encoder) == len(decoder) == bundle.manifest.layers[1].maps
    assert encoder.shape[3] == decoder.shape[3] == bundle.manifest.input.channels and encoder.std() > 0
    # a decoder filter, painted the same way, is the picture that training has made of it but for what that cuts off
    arrays = bundle.arrays("filters.npz")
    stride = bundle.manifest.layers[0].pool_stride
    assert stride is not None
    painted = paint(arrays["layer2_decoder"], arrays["layer1_pixels"], stride).transpose(0, 2, 3, 1)
    assert painted.shape[1] >= decoder.shape[1]
    cut = (painted.shape[1] - decoder.shape[1]) // 2
    inner = painted[:, cut : cut + decoder.shape[1], cut : cut + decoder.shape[2]]
    alike = [float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) for one, other in zip(inner, decoder, strict=True)]
    assert np.median(alike) > 0.9, (name, np.median(alike))
    picture = Image.open(io.BytesIO(draw_filter(encoder, 0, 1)))
    assert picture.size == encoder.shape[2:0:-1]
