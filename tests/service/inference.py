"""Requests of the Open Inference Protocol, built and read without a client library."""

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bundles import smooth_images
from tests.conftest import TestClient
from tests.pictures import encode

MODEL = "cifar10-shallow"
INFER = f"/v2/models/{MODEL}/infer"
LENGTH = "Inference-Header-Content-Length"
BATCH = smooth_images(5, 12, 12, 3, seed=11)
FILES = [encode(image, "PNG") for image in BATCH]
PIXELS: dict[str, Any] = {"name": "images", "datatype": "UINT8", "shape": list(BATCH.shape)}


def elements(files: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(data)) + data for data in files)


def post(client: TestClient, document: Any, data: bytes | None = None, path: str = INFER) -> Any:
    """Posts JSON, or JSON and binary data with the header that tells where they part."""
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    if data is None:
        return client.post(path, content=head)
    return client.post(path, content=head + data, headers={LENGTH: str(len(head))})


def binary(tensor: dict[str, Any], data: bytes) -> dict[str, Any]:
    return {"inputs": [tensor | {"parameters": {"binary_data_size": len(data)}}]}


def features(client: TestClient, path: str = "/features?format=octet-stream", **sent: Any) -> NDArray[np.float32]:
    answer = client.post(path, **sent)
    assert answer.status_code == 200, answer.text
    shape = [int(size) for size in answer.headers["x-shape"].split(",")]
    return np.frombuffer(answer.content, "<f4").reshape(shape)


def tensors(answer: Any) -> dict[str, NDArray[Any]]:
    """Reads the outputs of an answer, JSON and binary; every byte must belong to one of them."""
    assert answer.status_code == 200, answer.text
    size = int(answer.headers.get(LENGTH, len(answer.content)))
    document, rest = json.loads(answer.content[:size]), answer.content[size:]
    found: dict[str, NDArray[Any]] = {}
    for tensor in document["outputs"]:
        length = tensor.get("parameters", {}).get("binary_data_size")
        if length is None:
            values: NDArray[Any] = np.array(tensor["data"], "<f4" if tensor["datatype"] == "FP32" else None)
        else:
            assert tensor["datatype"] == "FP32" and "data" not in tensor
            values, rest = np.frombuffer(rest[:length], "<f4"), rest[length:]
        found[tensor["name"]] = values.reshape(tensor["shape"])
    assert rest == b""
    return found


def refused(answer: Any, status: int) -> str:
    """The problem's text of an answer that has this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"] and body["error"]
    assert "x-request-id" in answer.headers
    return str(body["error"])
