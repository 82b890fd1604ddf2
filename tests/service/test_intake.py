"""Broken requests are refused with the right status and a problem, whatever is wrong with them."""

import io
import json
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from tests.conftest import NewClient, TestClient, metric
from tests.pictures import png

PNG = {"Content-Type": "image/png"}
NPY = {"Content-Type": "application/x-npy"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=cut"}


def problem(client: TestClient, status: int, content: bytes, headers: dict[str, str], path: str = "/features") -> dict:  # type: ignore[type-arg]  # any JSON
    answer = client.post(path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict = answer.json()  # type: ignore[type-arg]  # any JSON
    assert body["status"] == status and body["title"] and body["detail"] and body["type"].startswith("/errors/")
    assert client.get(body["type"]).json()["status"] == status
    return body


def npy_header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    header = text.encode() + b"\n"
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + header


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", PNG),
        (b"", {}),
        (b"", JSON),
        (b"{", JSON),
        (b"[]", JSON),
        (b"null", JSON),
        (b"\xff\xfe{}", JSON),
        (b'{"images": []}', JSON),
        (b'{"images": "aGk="}', JSON),
        (b'{"images": {"a": "aGk="}}', JSON),
        (b'{"images": [1]}', JSON),
        (b'{"images": [null]}', JSON),
        (b'{"images": ["aGk"]}', JSON),
        (b'{"images": ["a$k="]}', JSON),
        (b'{"images": ["data:image/png,abc"]}', JSON),
        (b'{"images": ["\\u00e9\\u00e9\\u00e9\\u00e9"]}', JSON),
        (b'{"images": ["http://127.0.0.1/x.png"]}', JSON),
        (b'{"images": ["aGk="], "url": "http://x"}', JSON),
        (b'{"images":' * 2000 + b"1" + b"}" * 2000, JSON),
        (b"[" * 100_000, JSON),
        (b"", FORM),
        (b"--cut--\r\n", FORM),
        (b"--other\r\n\r\n--other--\r\n", FORM),
        (b'--cut\r\nContent-Disposition: form-data; name="images"\r\n\r\nabc', FORM),
        (b'--cut\r\nContent-Disposition: form-data; name="photo"\r\n\r\nabc\r\n--cut--\r\n', FORM),
        (b"--cut\r\nContent-Type: image/png\r\n\r\nabc\r\n--cut--\r\n", FORM),
        (b"--cut\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100)) + b"\r\nabc\r\n--cut--\r\n", FORM),
        (b"--cut\r\nX: " + b"y" * 100_000 + b"\r\n\r\nabc\r\n--cut--\r\n", FORM),
        (b"x", {"Content-Type": "multipart/form-data"}),
        (b"x", {"Content-Type": "multipart/form-data; boundary="}),
        (b"x", {"Content-Type": "multipart/form-data; boundary=" + "b" * 5000}),
        (b"", NPY),
        (b"\x93NUMPY", NPY),
        (b"\x93NUMPY\x01\x00\xff\xff{}", NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 12, 12, 3)}"), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 12, 12, 3)}") + bytes(433), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 12, 12, 3)}") + bytes(432), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 12, 12, 3)}"), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 12, 12)}") + bytes(432), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 12, 12, 1)}") + bytes(144), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (12, 12)}") + bytes(144), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': ()}") + bytes(1), NPY),
        (npy_header("{'descr': '|i1', 'fortran_order': False, 'shape': (1, 12, 12, 3)}") + bytes(432), NPY),
        (npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (1, 12, 12, 3)}") + b"cos\nsystem\n", NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 12, 12, 3)}", (9, 0)), NPY),
        (npy_header("(" * 900), NPY),
        (npy_header("{'a': " * 150), NPY),
        (npy_header("[1, 2]"), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False}"), NPY),
        (npy_header("{'descr': [('x', '|u1')], 'fortran_order': False, 'shape': (1, 12, 12, 3)}"), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': 0, 'shape': (1, 12, 12, 3)}"), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (True, 12, 12, 3)}"), NPY),
        (npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 400 + ", 12, 12, 3)}"), NPY),
        (npy_header("__import__('os').system('true')"), NPY),
    ],
)
def test_malformed_bodies(client: TestClient, content: bytes, headers: dict[str, str]) -> None:
    problem(client, 400, content, headers)


def test_bad_base64_names_the_image(client: TestClient) -> None:
    body = problem(client, 400, b'{"images": ["aGk=", "%%%"]}', JSON)
    assert [(error["index"], error["code"]) for error in body["errors"]] == [(1, "bad-base64")]


@pytest.mark.parametrize("floats", [np.float32, np.float64, np.uint16, np.bool_])
def test_arrays_of_another_type(client: TestClient, floats: type) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros((1, 12, 12, 3), floats))
    problem(client, 400, stream.getvalue(), NPY)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/octet-stream"},
        {"Content-Type": "multipart/mixed; boundary=cut"},
        {"Content-Type": "image/png", "Content-Encoding": "gzip"},
        {"Content-Type": "\xff/\xff"},
    ],
)
def test_request_types_that_are_not_accepted(client: TestClient, headers: dict[str, str]) -> None:
    raw = {key: value.encode("latin-1") for key, value in headers.items()}
    problem(client, 415, png(), raw)  # type: ignore[arg-type]  # bytes, as ASCII would not do


@pytest.mark.parametrize(
    "content", [b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS", b"<html>", b"\x00"]
)
def test_image_types_that_are_not_accepted(client: TestClient, content: bytes) -> None:
    body = problem(client, 415, content, PNG)
    assert body["errors"] == [{"index": 0, "code": "unsupported-type", "detail": body["errors"][0]["detail"]}]
    problem(client, 415, content, {})


def test_an_empty_part_is_no_image(client: TestClient) -> None:
    answer = client.post("/features", files=[("images", ("", b""))])
    assert answer.status_code == 415


def test_a_body_over_the_limit_is_refused_unread(new_client: NewClient) -> None:
    client = new_client(max_body_bytes=1000)

    def never() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = client.post("/features", content=never(), headers=PNG | {"Content-Length": "1001"})
    assert answer.status_code == 413
    assert (answer.json()["limit"], answer.json()["actual"]) == (1000, 1001)
    assert metric(client, "sca_rejected_total", reason="body") == 1
    assert client.post("/features", content=png(), headers=PNG).status_code == 200


def test_a_body_that_passes_the_limit_without_saying_so_is_refused(new_client: NewClient) -> None:
    client = new_client(max_body_bytes=1000)
    answer = client.post("/features", content=iter([b"x" * 600] * 2), headers=PNG)
    assert answer.status_code == 413
    assert (answer.json()["limit"], answer.json()["actual"]) == (1000, 1200)


@pytest.mark.parametrize("way", ["multipart", "json", "npy"])
def test_too_many_images(new_client: NewClient, way: str) -> None:
    client = new_client(max_images=3)
    for count, status in ((3, 200), (4, 413)):
        if way == "multipart":
            answer = client.post("/features", files=[("images", png(n)) for n in range(count)])
        elif way == "json":
            texts = ["data:;base64," + __import__("base64").b64encode(png(n)).decode() for n in range(count)]
            answer = client.post("/features", content=json.dumps({"images": texts}), headers=JSON)
        else:
            stream = io.BytesIO()
            np.save(stream, np.zeros((count, 12, 12, 3), np.uint8))
            answer = client.post("/features", content=stream.getvalue(), headers=NPY)
        assert answer.status_code == status
    assert (answer.json()["limit"], answer.json()["actual"]) == (3, 4)
    assert metric(client, "sca_rejected_total", reason="images") == 1


@pytest.mark.parametrize("value", [b"[]", b"1.5", b'"ab"', b"{}"])
@pytest.mark.parametrize("path", ["/features", "/v2/models/cifar10-shallow/infer", "/v2/repository/index"])
def test_json_that_would_fill_the_memory_is_refused_unparsed(client: TestClient, path: str, value: bytes) -> None:
    body = b'{"images": [' + value + (b"," + value) * 1_500_000 + b"]}"
    tracemalloc.start()
    try:
        answer = client.post(path, content=body, headers=JSON)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 413 and "values" in answer.text
    assert peak < 4 * len(body), "parsed, it takes five times its bytes or more"


def test_a_thousand_parts_are_refused(client: TestClient) -> None:
    answer = client.post("/features", files=[("images", b"x")] * 1001)
    assert answer.status_code == 413 and (answer.json()["limit"], answer.json()["actual"]) == (256, 1001)


def test_too_many_pixels(new_client: NewClient) -> None:
    client = new_client(max_image_pixels=143)
    answer = client.post("/features", content=png(), headers=PNG)
    assert answer.status_code == 413
    assert (answer.json()["limit"], answer.json()["actual"]) == (143, 144)
    assert answer.json()["errors"][0] | {"detail": ""} == {
        "index": 0,
        "code": "too-many-pixels",
        "detail": "",
        "limit": 143,
        "actual": 144,
    }
    assert metric(client, "sca_rejected_total", reason="pixels") == 1


def test_junk_is_never_a_server_error(client: TestClient) -> None:
    rng = np.random.default_rng(0)
    types = ["image/png", "application/json", "application/x-npy", "multipart/form-data; boundary=cut", "text/x"]
    starts = [
        png(),
        b'{"images": ["',
        npy_header("{'descr': '|u1', 'shape': (1,"),
        b"--cut\r\nContent-Disposition: ",
        b"",
    ]
    for _ in range(500):
        start = starts[rng.integers(len(starts))]
        body = start[: rng.integers(0, len(start) + 1)] + rng.bytes(int(rng.integers(0, 300)))
        answer = client.post("/features", content=body, headers={"Content-Type": types[rng.integers(len(types))]})
        assert 200 <= answer.status_code < 500
