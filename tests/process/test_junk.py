"""Junk of every kind: each request is answered with a 4xx problem, and the server is as it was."""

import random

import httpx

from tests.pictures import png
from tests.process.conftest import Running

REQUESTS = 400
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
