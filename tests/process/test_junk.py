"""Junk of every kind: each request is answered with a 4xx problem, and the server is as it was."""

import json
import random
import struct

import httpx

from tests.pictures import png
from tests.process.conftest import Running

REQUESTS = 400
INFER = "/v2/models/cifar10-shallow/infer"
LENGTH = "Inference-Header-Content-Length"
TYPES = (
    "image/png",
    "image/svg+xml",
    "application/json",
    "application/x-npy",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/octet-stream",
    "",
)
QUERIES = ("", "?format=npy", "?format=%00", "?top_k=3", "?on_error=skip", "?model=none", "?encoding=base64")


def junk(rng: random.Random, good: bytes) -> bytes:
    """A body that is broken in one of six ways; now and then one of them leaves a picture whole."""
    cut = good[: rng.randrange(len(good))]
    flipped = bytearray(good)
    flipped[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    return rng.choice(
        (
            rng.randbytes(rng.randrange(400)),
            cut,
            bytes(flipped),
            b'{"images":' + b"[" * rng.randrange(2000) + b'"QUJD"',
            part + cut + b"\r\n--x--\r\n"[: rng.randrange(9)],
            b"\x93NUMPY\x01\x00" + rng.randbytes(rng.randrange(200)),
        )
    )


def v2_junk(rng: random.Random, good: bytes) -> tuple[bytes, dict[str, str]]:
    """A request of the v2 protocol with at least one thing changed, now and then into the same, and its headers."""
    numbers: tuple[object, ...] = (-1, 0, 1, 2, 12, 431, 432, 433, 2**31, 2**63, 2**64, 1.5, None, "1", [], True)
    tensor = {
        "name": rng.choice(("images", "files", "features", "", None)),
        "datatype": rng.choice(("UINT8", "BYTES", "FP32", 8)),
        "shape": [rng.choice(numbers) for _ in range(rng.randrange(6))] if rng.random() < 0.5 else [1, 12, 12, 3],
        "parameters": rng.choice((None, {}, [], {"binary_data_size": rng.choice(numbers)})),
        "data": rng.choice(
            (None, [], [7] * 432, [7] * 431 + [rng.choice(numbers)], ["aGk="], [[[[1]]]], {"b64": "aGk="})
        ),
    }
    document: dict[str, object] = {
        "id": rng.choice(("1", None, 1)),
        "inputs": rng.choice(([tensor], [tensor], [tensor], [tensor, tensor], [], None, tensor)),
        "outputs": rng.choice((None, [], [{"name": "logits"}], [{"name": "x"}], [{}], 1)),
        "parameters": rng.choice((None, {"binary_data_output": rng.choice((True, False, 1))}, 1)),
    }
    head = json.dumps(document).encode()
    if rng.random() < 0.2:
        head = head[: rng.randrange(len(head))]
    tail = rng.choice(
        (b"", bytes(432), bytes(rng.randrange(900)), struct.pack("<I", len(good)) + good, rng.randbytes(40))
    )
    length = rng.choice((None, len(head), len(head), rng.randrange(2000), 0, -1, 2**64))
    return head + tail, {} if length is None else {LENGTH: str(length)}


def test_v2_junk_is_refused_in_its_own_form(shared: Running) -> None:
    rng, good = random.Random(1), png()
    with httpx.Client(base_url=f"http://127.0.0.1:{shared.port}", timeout=20) as client:
        statuses = set()
        for _ in range(REQUESTS):
            body, headers = v2_junk(rng, good)
            answer = client.post(rng.choice((INFER, INFER, "/v2/repository/index")), content=body, headers=headers)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/json" and answer.json()["error"]
            statuses.add(answer.status_code)
        assert {200, 400} <= statuses
        assert client.post(INFER, content=good, headers={LENGTH: "0"}).status_code == 200
    assert shared.metric("sca_inflight_images") == 0


def test_junk_is_refused_and_leaves_nothing_behind(shared: Running) -> None:
    rng, good = random.Random(0), png()
    with httpx.Client(base_url=f"http://127.0.0.1:{shared.port}", timeout=20) as client:
        for _ in range(REQUESTS):
            path = rng.choice(("/features", "/predict")) + rng.choice(QUERIES)
            kind = rng.choice(TYPES)
            answer = client.post(path, content=junk(rng, good), headers={"Content-Type": kind} if kind else {})
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
        assert client.post("/predict", content=good, headers={"Content-Type": "image/png"}).status_code == 200
    assert shared.metric("sca_inflight_images") == 0
