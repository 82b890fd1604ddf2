"""`POST /features`: every way in and every way out gives the same bits."""

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.bundles import smooth_images
from tests.conftest import NewClient, TestClient, metric, service_of
from tests.pictures import encode, png

BATCH = smooth_images(5, 12, 12, 3, seed=11)
FILES = [encode(image, "PNG") for image in BATCH]
NPY = {"Content-Type": "application/x-npy"}


def npy(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def vectors(client: TestClient, **kwargs: object) -> NDArray[np.float32]:
    """Posts and reads the answer as npy."""
    answer = client.post("/features?format=npy", **kwargs)
    assert answer.status_code == 200, answer.text
    rows: NDArray[np.float32] = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert rows.dtype == np.dtype("<f4")
    return rows


def test_several_accept_lines_are_one_list(client: TestClient) -> None:
    headers = [("Content-Type", "image/png"), ("Accept", "text/html"), ("Accept", "application/x-npy")]
    answer = client.post("/features", content=png(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-npy")


def test_the_vectors_are_the_models(client: TestClient) -> None:
    model = service_of(client).registry.get(None)
    golden = model.bundle.arrays("golden.npz")
    np.testing.assert_allclose(
        vectors(client, content=npy(golden["images"]), headers=NPY), golden["features"], rtol=1e-5
    )


def test_all_ways_in_agree(client: TestClient) -> None:
    expected = vectors(client, content=npy(BATCH), headers=NPY)
    texts = [base64.b64encode(data).decode() for data in FILES]
    wrapped = ["\n ".join(text[i : i + 60] for i in range(0, len(text), 60)) for text in texts]
    uris = [f"data:image/jpeg;base64,{text}" for text in texts]
    for listed in (texts, wrapped, uris):
        np.testing.assert_array_equal(vectors(client, json={"images": listed}), expected)
    for name in ("images", "image", "file"):
        parts = [(name, ("x.bin", data, "application/octet-stream")) for data in FILES]
        np.testing.assert_array_equal(vectors(client, files=parts), expected)
    fortran = npy(np.asfortranarray(BATCH))
    np.testing.assert_array_equal(vectors(client, content=fortran, headers=NPY), expected)
    for data, row in zip(FILES, expected, strict=True):
        alone = vectors(client, content=data, headers={"Content-Type": "image/png"})
        np.testing.assert_allclose(alone, row[None], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_the_content_decides_not_the_name(client: TestClient, form: str) -> None:
    headers = {"Content-Type": "image/x-anything"}
    assert vectors(client, content=encode(Image.fromarray(BATCH[0]), form), headers=headers).shape == (1, 288)


def test_an_image_without_a_type_is_recognised(client: TestClient) -> None:
    assert vectors(client, content=FILES[0]).shape == (1, 288)


def test_all_ways_out_carry_the_same_bits(client: TestClient) -> None:
    sent = {"content": npy(BATCH), "headers": NPY}
    expected = vectors(client, **sent)
    body = client.post("/features", **sent)
    assert body.headers["content-type"] == "application/json"
    document = body.json()
    assert {key: document[key] for key in document if key != "features"} == {
        "model": "cifar10-shallow",
        "version": "10",
        "shape": [5, 288],
        "dtype": "float32",
    }
    as_list = np.array(document["features"], np.float32)
    texts = client.post("/features?encoding=base64", **sent).json()["features"]
    as_base64 = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])
    octets = client.post("/features", content=npy(BATCH), headers=NPY | {"Accept": "application/octet-stream"})
    assert octets.headers["x-shape"] == "5,288"
    as_octets = np.frombuffer(octets.content, "<f4").reshape(5, 288)
    by_accept = client.post("/features", content=npy(BATCH), headers=NPY | {"Accept": "application/x-npy"})
    as_npy = np.load(io.BytesIO(by_accept.content))
    for actual in (as_list, as_base64, as_octets, as_npy):
        np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


def test_grey_models_take_grey_arrays(client: TestClient) -> None:
    grey = smooth_images(3, 12, 12, 1)
    four = client.post("/features?model=mnist-shallow&format=octet-stream", content=npy(grey), headers=NPY)
    three = client.post("/features?model=mnist-shallow&format=octet-stream", content=npy(grey[..., 0]), headers=NPY)
    assert four.status_code == 200 and four.content == three.content
    assert four.headers["x-model"] == "mnist-shallow" and four.headers["x-model-version"] == "1"


def test_one_and_many_agree_and_large_requests_are_split_in_order(new_client: NewClient) -> None:
    client = new_client(max_batch=4)
    many = smooth_images(11, 12, 12, 3, seed=3)
    together = vectors(client, content=npy(many), headers=NPY)
    alone = np.concatenate([vectors(client, content=npy(image[None]), headers=NPY) for image in many])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)
    assert metric(client, "sca_batch_images_sum", model="cifar10-shallow") == 22
    assert metric(client, "sca_batch_images_count", model="cifar10-shallow") == 14


def test_one_bad_image_fails_the_request_and_names_itself(client: TestClient) -> None:
    files = [("images", data) for data in (FILES[0], FILES[1][:-9], FILES[2])]
    answer = client.post("/features", files=files)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert [(error["index"], error["code"]) for error in body["errors"]] == [(1, "undecodable")]
    assert "Image 1" in body["detail"]


def test_skipping_answers_the_others_bit_equal_and_lists_what_failed(client: TestClient) -> None:
    good = vectors(client, files=[("images", FILES[0]), ("images", FILES[2])])
    files = [("images", data) for data in (FILES[0], FILES[1][:-9], FILES[2], b"%PDF-1.4")]
    body = client.post("/features?on_error=skip", files=files).json()
    np.testing.assert_array_equal(np.array(body["features"], np.float32), good)
    assert body["shape"] == [2, 288] and body["indices"] == [0, 2]
    assert [(error["index"], error["code"]) for error in body["errors"]] == [
        (1, "undecodable"),
        (3, "unsupported-type"),
    ]
    binary = client.post("/features?on_error=skip&format=npy", files=files)
    assert binary.headers["x-failed-indices"] == "1,3"
    np.testing.assert_array_equal(np.load(io.BytesIO(binary.content)), good)
    whole = client.post("/features?on_error=skip", files=files[:1]).json()
    assert whole["indices"] == [0] and whole["errors"] == []


@pytest.mark.parametrize(
    ("bad", "status"), [([b"%PDF"], 415), ([b"%PDF", FILES[0][:-9]], 422), ([FILES[0][:50]] * 2, 422)]
)
def test_skipping_everything_is_still_an_error(client: TestClient, bad: list[bytes], status: int) -> None:
    answer = client.post("/features?on_error=skip", files=[("images", data) for data in bad])
    assert answer.status_code == status
    assert len(answer.json()["errors"]) == len(bad)


def test_outcomes_are_counted(new_client: NewClient) -> None:
    client = new_client(max_image_pixels=400)
    files = [("images", data) for data in (FILES[0], FILES[1][:-9], b"%PDF", png(size=21))]
    assert client.post("/features?on_error=skip", files=files).status_code == 200
    for outcome in ("ok", "decode_error", "unsupported", "too_large"):
        assert metric(client, "sca_images_total", model="cifar10-shallow", outcome=outcome) == 1, outcome
    assert client.post("/features", files=files[:2]).status_code == 422
    assert metric(client, "sca_images_total", model="cifar10-shallow", outcome="rejected") == 1
    assert metric(client, "sca_inflight_images") == 0
    assert metric(client, "sca_queue_images", model="cifar10-shallow") == 0


@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        ("format=parquet", "*/*", 406),
        ("", "text/html", 406),
        ("", "application/json;q=0", 406),
        ("encoding=hex", "*/*", 400),
        ("encoding=base64&format=npy", "*/*", 400),
        ("dtype=float64", "*/*", 400),
        ("output=embedding", "*/*", 400),
        ("on_error=ignore", "*/*", 400),
        ("encoding=base64&format=arrow", "*/*", 400),
        ("output=embedding&model=none", "*/*", 404),
        ("model=none", "*/*", 404),
        ("model=../../etc", "*/*", 404),
        ("version=9", "*/*", 404),
        ("format=npy", "text/html", 200),
        ("version=10", "*/*", 200),
    ],
)
def test_query_values(client: TestClient, query: str, accept: str, status: int) -> None:
    headers = {"Content-Type": "image/png", "Accept": accept}
    answer = client.post(f"/features?{query}", content=FILES[0], headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status and answer.json()["request_id"] == answer.headers["x-request-id"]
