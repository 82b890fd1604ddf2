"""Broken v2 requests are refused in the protocol's form, with the status that the other routes have for it."""

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest

from tests.conftest import TestClient
from tests.service.inference import BATCH, FILES, INFER, LENGTH, MODEL, PIXELS, binary, elements, post, refused

DATA = BATCH.tobytes()
FLAT = BATCH.ravel().tolist()
GOOD = {"inputs": [PIXELS | {"data": FLAT}]}
BYTES: dict[str, Any] = {"name": "files", "datatype": "BYTES", "shape": [5]}
ELEMENTS = elements(FILES)
HUGE = 2**63
SHAPES: tuple[Any, ...] = (
    None,
    5,
    "5",
    [],
    [5],
    [5, 12, 12],
    [5, 432],
    [5, 3, 12, 12],
    [5, 12, 12, 3, 1],
    [4, 12, 12, 3],
    [6, 12, 12, 3],
    [0, 12, 12, 3],
    [-5, 12, 12, 3],
    [5, -12, -12, 3],
    [5.0, 12, 12, 3],
    ["5", 12, 12, 3],
    [True, 12, 12, 3],
    [None, 12, 12, 3],
    [[5], 12, 12, 3],
    [5, HUGE, 2, 3],
    [5, 10**40, 2, 3],
)
NOT_PIXELS: tuple[Any, ...] = (
    None,
    [],
    {},
    "AAAA",
    1,
    FLAT[:-1],
    [*FLAT, 0],
    [*FLAT[:-1], 256],
    [*FLAT[:-1], -1],
    [*FLAT[:-1], HUGE],
    [*FLAT[:-1], 1.0],
    [*FLAT[:-1], True],
    [*FLAT[:-1], None],
    [*FLAT[:-1], "1"],
    [*FLAT[:-1], [1]],
    [FLAT],
    BATCH.reshape(5, -1).tolist(),
    BATCH.tolist()[:4],
    [*BATCH.tolist()[:4], [1]],
    [*BATCH.tolist()[:4], 1],
    [[[[1]]]],
    [[[[[1]]]]],
)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"inputs":' * 3000 + b"1" + b"}" * 3000,
        {},
        {"inputs": None},
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [None]},
        {"inputs": [[]]},
        {"inputs": [{}]},
        GOOD | {"id": 42},
        GOOD | {"id": ["x"]},
        GOOD | {"parameters": []},
        GOOD | {"parameters": {"binary_data_output": "yes"}},
        GOOD | {"outputs": {}},
        GOOD | {"outputs": "features"},
        GOOD | {"outputs": ["features"]},
        GOOD | {"outputs": [{}]},
        GOOD | {"outputs": [{"name": "nope"}]},
        GOOD | {"outputs": [{"name": 1}]},
        GOOD | {"outputs": [{"name": "images"}]},
        GOOD | {"outputs": [{"name": "features"}, {"name": "features"}]},
        GOOD | {"outputs": [{"name": "features", "parameters": 1}]},
        GOOD | {"outputs": [{"name": "features", "parameters": {"binary_data": 1}}]},
        GOOD | {"outputs": [{"name": "logits", "parameters": {"classification": -1}}]},
        GOOD | {"outputs": [{"name": "logits", "parameters": {"classification": True}}]},
        GOOD | {"outputs": [{"name": "features", "parameters": {"classification": 1}}]},
        GOOD | {"outputs": [{"name": "features", "parameters": {"shared_memory_region": "x"}}]},
        {"inputs": GOOD["inputs"] * 2},
        {"inputs": [PIXELS | {"data": FLAT, "name": "nope"}]},
        {"inputs": [PIXELS | {"data": FLAT, "name": None}]},
        {"inputs": [PIXELS | {"data": FLAT, "name": ["images"]}]},
        {"inputs": [PIXELS | {"data": FLAT, "name": "files"}]},
        *(
            {"inputs": [PIXELS | {"data": FLAT, "datatype": datatype}]}
            for datatype in ("FP32", "uint8", "INT8", 8, None)
        ),
        *({"inputs": [PIXELS | {"data": FLAT, "shape": shape}]} for shape in SHAPES),
        *({"inputs": [PIXELS | {"data": data}]} for data in NOT_PIXELS),
        {"inputs": [PIXELS | {"data": FLAT, "parameters": 1}]},
        {"inputs": [PIXELS | {"data": FLAT, "parameters": {"binary_data_size": len(DATA)}}]},
        {"inputs": [PIXELS | {"parameters": {"binary_data_size": len(DATA)}}]},
        {"inputs": [PIXELS | {"parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 2160}}]},
        {"inputs": [BYTES | {"data": ["aGk="]}]},
        {"inputs": [BYTES | {"data": [["aGk="] * 5]}]},
        {"inputs": [BYTES | {"data": ["aGk="] * 4 + ["%"]}]},
        {"inputs": [BYTES | {"data": ["aGk="] * 4 + [None]}]},
        {"inputs": [BYTES | {"data": ["aGk="] * 4 + ["http://127.0.0.1/x.png"]}]},
        {"inputs": [BYTES | {"data": ["aGk="] * 5, "shape": [5, 2]}]},
        {"inputs": [BYTES | {"data": ["aGk="] * 5, "shape": [1, 5]}]},
        {"inputs": [BYTES | {"data": [], "shape": [0]}]},
        {"inputs": [BYTES | {"data": ["aGk="], "shape": []}]},
    ],
)
def test_broken_json_is_400(client: TestClient, document: Any) -> None:
    refused(post(client, document), 400)


@pytest.mark.parametrize(
    ("document", "data"),
    [
        (GOOD, b"x"),
        (binary(PIXELS, DATA), DATA[:-1]),
        (binary(PIXELS, DATA), DATA + b"x"),
        (binary(PIXELS, DATA[:-1]), DATA[:-1]),
        (binary(PIXELS | {"shape": [4, 12, 12, 3]}, DATA), DATA),
        (binary(PIXELS, DATA), b""),
        (binary(PIXELS | {"data": FLAT}, DATA), DATA),
        *(
            ({"inputs": [PIXELS | {"parameters": {"binary_data_size": size}}]}, DATA)
            for size in (-1, 0, HUGE, 2160.0, "2160", True, [2160])
        ),
        ({"inputs": [PIXELS]}, DATA),
        (binary(BYTES, ELEMENTS[:-1]), ELEMENTS[:-1]),
        (binary(BYTES, ELEMENTS + b"x"), ELEMENTS + b"x"),
        (binary(BYTES | {"shape": [4]}, ELEMENTS), ELEMENTS),
        (binary(BYTES | {"shape": [6]}, ELEMENTS), ELEMENTS),
        (binary(BYTES | {"shape": [1]}, b"\xff\xff\xff\xff"), b"\xff\xff\xff\xff"),
        (binary(BYTES | {"shape": [1]}, b"\x01\x00"), b"\x01\x00"),
        (binary(BYTES | {"shape": [2]}, struct.pack("<II", 4, 9)), struct.pack("<II", 4, 9)),
        (binary(BYTES | {"shape": [0]}, b""), b""),
    ],
)
def test_binary_data_that_do_not_add_up_are_400(client: TestClient, document: Any, data: bytes) -> None:
    refused(post(client, document, data), 400)


@pytest.mark.parametrize("length", ["-1", "+5", "1.5", "x", "0x10", "99999999", "9" * 400, "\xb2"])
def test_a_header_length_that_lies_is_400(client: TestClient, length: str) -> None:
    headers = {LENGTH: length.encode("latin-1")}
    assert "Inference-Header-Content-Length" in refused(
        client.post(INFER, content=json.dumps(GOOD), headers=headers),
        400,
    )
    refused(client.post(INFER, content=b"", headers={LENGTH: "0"}), 400)
    refused(client.post(INFER, content=json.dumps(GOOD), headers={LENGTH: "7"}), 400)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/none/infer",
        "/v2/models/../infer",
        f"/v2/models/{MODEL}/versions/9/infer",
        f"/v2/models/{MODEL}/versions/x/infer",
        f"/v2/models/{MODEL}/predict",
    ],
)
def test_unknown_models_versions_and_routes_are_404(client: TestClient, path: str) -> None:
    refused(post(client, GOOD, path=path), 404)


@pytest.mark.parametrize("path", ["none", "none/ready", "none/config", "none/stats", f"{MODEL}/versions/9/ready"])
def test_what_is_not_there_has_no_description(client: TestClient, path: str) -> None:
    refused(client.get(f"/v2/models/{path}"), 404)


@pytest.mark.parametrize("shape", [[2**62, 12, 12, 3], [2**62]])
def test_more_elements_than_there_are_bytes_are_a_lie_and_no_limit(client: TestClient, shape: list[int]) -> None:
    tensor = {"name": "images", "shape": shape, "datatype": "UINT8" if len(shape) == 4 else "BYTES"}
    refused(post(client, tensor | {"data": FLAT}), 400)
    refused(post(client, binary(tensor, DATA), DATA), 400)


def test_other_methods_are_405(client: TestClient) -> None:
    answer = client.get(INFER)
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"
    refused(client.post("/v2"), 405)


@pytest.mark.parametrize(("file", "status"), [(b"%PDF-1.7", 415), (b"", 415), (FILES[0][:-9], 422)])
def test_bad_images_are_named(client: TestClient, file: bytes, status: int) -> None:
    data = elements([FILES[0], file])
    error = refused(post(client, binary(BYTES | {"shape": [2]}, data), data), status)
    assert error.startswith("Image 1: ")
    texts = [base64.b64encode(one).decode() for one in (FILES[0], file)]
    assert refused(post(client, {"inputs": [BYTES | {"shape": [2], "data": texts}]}), status) == error


def test_pixels_are_no_file(client: TestClient) -> None:
    pixels = np.full((12, 12, 3), 7, np.uint8).tobytes()
    refused(client.post(INFER, content=pixels, headers={LENGTH: "0"}), 415)


def test_compressed_requests_are_415(client: TestClient) -> None:
    refused(client.post(INFER, content=b"x", headers={"Content-Encoding": "gzip"}), 415)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}', b"\xff"])
def test_a_broken_index_request_is_400(client: TestClient, body: bytes) -> None:
    refused(client.post("/v2/repository/index", content=body), 400)


def test_problems_stay_problems_beside_it(client: TestClient) -> None:
    for path in ("/v2x", "/v20/models", "/V2"):
        assert client.get(path).headers["content-type"] == "application/problem+json"
