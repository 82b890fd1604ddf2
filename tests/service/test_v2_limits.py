"""The Open Inference Protocol under limits: sizes, the queue, keys, draining and deadlines are the other routes'."""

import json
from typing import Any

import pytest

from tests.conftest import NewClient, metric, service_of
from tests.pictures import png
from tests.service.inference import BATCH, FILES, INFER, LENGTH, MODEL, PIXELS, binary, post, refused
from tests.service.test_flow import Held

DATA = BATCH.tobytes()
BYTES: dict[str, Any] = {"name": "files", "datatype": "BYTES", "shape": [5]}
HUGE = 2**63


def test_limits_are_those_of_the_other_routes(new_client: NewClient) -> None:
    client = new_client(max_images=3, max_body_bytes=4000, max_image_pixels=144)
    four = BATCH[:4].tobytes()
    refused(post(client, binary(PIXELS | {"shape": [4, 12, 12, 3]}, four), four), 413)
    refused(post(client, binary(PIXELS | {"shape": [HUGE, 12, 12, 3]}, four), four), 400)
    refused(post(client, {"inputs": [BYTES | {"shape": [4], "data": ["aGk="] * 4}]}), 413)
    refused(post(client, {"inputs": [BYTES | {"shape": [HUGE], "data": ["aGk="]}]}), 400)
    refused(client.post(INFER, content=bytes(4001)), 413)
    refused(client.post("/v2/repository/index", content=bytes(4001)), 413)
    large = png(size=13)
    assert "pixels" in refused(client.post(INFER, content=large, headers={LENGTH: "0"}), 413)
    assert client.post(INFER, content=FILES[0], headers={LENGTH: "0"}).status_code == 200
    for reason, count in (("images", 2), ("body", 2), ("pixels", 1)):
        assert metric(client, "sca_rejected_total", reason=reason) == count


@pytest.mark.parametrize("length", ["0" * 5000 + "5", "0" * 30 + "9" * 18, "9" * 5000, "1" + "0" * 18])
def test_a_length_may_have_any_number_of_digits(new_client: NewClient, length: str) -> None:
    body = json.dumps({"inputs": []}).encode()
    refused(new_client().post(INFER, content=body, headers={LENGTH: length}), 400)


def test_the_queue_the_key_and_draining_refuse_here_too(new_client: NewClient) -> None:
    client = new_client(queue_images=4, api_keys="k")
    key = {"X-API-Key": "k", LENGTH: "0"}
    unauthorized = client.post(INFER, content=FILES[0], headers={LENGTH: "0"})
    refused(unauthorized, 401)
    assert unauthorized.headers["www-authenticate"].startswith("Bearer")
    data = json.dumps(binary(PIXELS, DATA)).encode()
    full = client.post(INFER, content=data + DATA, headers=key | {LENGTH: str(len(data))})
    refused(full, 429)
    assert full.headers["retry-after"]
    for path in ("", f"/models/{MODEL}", f"/models/{MODEL}/config", "/models/stats"):
        refused(client.get(f"/v2{path}"), 401)
    refused(client.post("/v2/repository/index"), 401)
    service_of(client).drain()
    refused(client.post(INFER, content=FILES[0], headers=key), 503)


def test_the_deadline_is_504_and_a_bug_is_500_without_its_cause(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = new_client(request_timeout_s=0.3)
    held = Held(client)
    refused(client.post(INFER, content=FILES[0], headers={LENGTH: "0"}), 504)
    held.open.set()

    def fail(*_: object) -> None:
        raise MemoryError("secret cause")

    monkeypatch.setattr("service.decoding.decode", fail)
    assert "secret" not in refused(client.post(INFER, content=FILES[0], headers={LENGTH: "0"}), 500)
