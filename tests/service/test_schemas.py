"""Real answers, and the document's own examples, are as the OpenAPI document's schemas say."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.openapi.models import OpenAPI
from jsonschema import Draft202012Validator, ValidationError

from service.golden import Golden
from service.render import JSON
from service.vectors import Vectors, as_rows
from tests.conftest import NewClient, TestClient, service_of
from tests.pictures import png
from tests.service.documented import Documented
from tests.service.inference import FILES, INFER, LENGTH, MODEL, PIXELS, binary, elements
from tests.service.serving import Serving, run

PNG = {"Content-Type": "image/png"}
GOOD, BAD = (base64.b64encode(data).decode() for data in (png(), png()[:60]))
ONE: dict[str, Any] = {"content": png(), "headers": PNG}
MIXED: dict[str, Any] = {"json": {"images": [GOOD, BAD, "!", GOOD]}}
FILE = {"name": "files", "datatype": "BYTES", "shape": [1]}
AS_JSON = json.dumps({"id": "7", "inputs": [FILE | {"data": [GOOD]}]})
BEST = [{"name": "logits", "parameters": {"classification": 2}}, {"name": "features"}]
RESTS = ("", "/ready", "/config", "/stats")
V2_PATHS = [
    *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/stats"),
    *(f"/v2/models/{MODEL}{version}{rest}" for version in ("", "/versions/10") for rest in RESTS),
]


def documented(client: TestClient) -> Documented:
    return Documented(client.get("/openapi.json").json())


@pytest.fixture(scope="module")
def judge(client: TestClient) -> Documented:
    return documented(client)


def check(client: TestClient, judge: Documented, method: str, url: str, status: int, **sent: Any) -> Any:
    """Sends a request, and holds the answer against the document."""
    answer = client.request(method, url, follow_redirects=False, **sent)
    assert answer.status_code == status, answer.text
    judge.check(method, answer.request.url.path, status, answer.headers, answer.content)
    return answer


def test_the_document_is_openapi_and_its_schemas_are_json_schema(judge: Documented) -> None:
    OpenAPI.model_validate(judge.document)
    for schema in judge.document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for operations in judge.document["paths"].values():
        for operation in operations.values():
            bodies = [operation["requestBody"]] if "requestBody" in operation else []
            for told in (*bodies, *operation["responses"].values()):
                for content in told.get("content", {}).values():
                    Draft202012Validator.check_schema(content["schema"])


def test_every_json_answer_has_a_schema_that_its_examples_keep(judge: Documented) -> None:
    for path, operations in judge.document["paths"].items():
        for operation in operations.values():
            for answer in operation["responses"].values():
                for kind, content in answer.get("content", {}).items():
                    if not kind.endswith("json"):
                        continue
                    assert content["schema"]
                    examples = content.get("examples", {})
                    assert examples or "V2Error" in str(content["schema"]) or path == "/openapi.json"
                    for example in examples.values():
                        judge.validate(content["schema"], example["value"])


def test_a_schema_is_no_rubber_stamp(judge: Documented) -> None:
    features = {"$ref": "#/components/schemas/Features"}
    body = {"model": "m", "version": "1", "shape": [1, 1], "dtype": "float32", "features": [[0.5]]}
    judge.validate(features, body)
    for change in ({"more": 1}, {"shape": [1]}, {"dtype": "int8"}, {"indices": [0]}, {"features": [["0.5"]]}):
        with pytest.raises(ValidationError):
            judge.validate(features, body | change)


@pytest.mark.parametrize(
    "query",
    ["", "encoding=base64", "dtype=float16", "dtype=float16&encoding=base64", "output=logits", "on_error=skip"]
    + [f"format={name}" for name in ("npy", "octet-stream", "arrow", "safetensors", "csr")],
)
def test_features(client: TestClient, judge: Documented, query: str) -> None:
    check(client, judge, "POST", f"/features?{query}", 200, **ONE)


def test_what_skip_leaves_out_is_listed(client: TestClient, judge: Documented) -> None:
    for path in ("/features?on_error=skip", "/features?on_error=skip&encoding=base64", "/predict?on_error=skip"):
        body = check(client, judge, "POST", path, 200, **MIXED).json()
        assert body["indices"] == [0, 3] and [one["index"] for one in body["errors"]] == [1, 2]


def test_infinities_of_float16(judge: Documented) -> None:
    rows = as_rows(np.array([[1e6, -1e6, 0.5]], np.float32), "float16")
    body = json.loads(bytes(JSON.write(Vectors("m", "1", "features", rows))))
    assert body["features"] == [[None, None, 0.5]]
    judge.validate({"$ref": "#/components/schemas/Features"}, body)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        *((url, 200) for url in ("/models", "/models/mnist-shallow", "/health/live", "/health/ready", "/metrics")),
        *((url, 200) for url in ("/docs", "/openapi.json", "/errors/queue-full", "/filters?columns=2", "/filters/0")),
        ("/", 307),
        *((url, 400) for url in ("/filters?nope=1", "/filters/0?scale=x")),
        *((url, 404) for url in ("/models/none", "/errors/none", "/filters?layer=9", "/filters/x")),
        *((url, 200) for url in V2_PATHS),
        *((f"/v2/models/none{rest}", 404) for rest in RESTS),
    ],
)
def test_what_is_read(client: TestClient, judge: Documented, url: str, status: int) -> None:
    check(client, judge, "GET", url, status)
    check(client, judge, "HEAD", url, status)


def test_metrics_in_the_newer_form_and_pictures_that_the_client_has(client: TestClient, judge: Documented) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert "openmetrics" in check(client, judge, "GET", "/metrics", 200, headers=accept).headers["content-type"]
    check(client, judge, "GET", "/filters", 304, headers={"If-None-Match": "*"})


def test_predictions(client: TestClient, judge: Documented) -> None:
    for query in ("", "?top_k=3", "?on_error=skip"):
        check(client, judge, "POST", f"/predict{query}", 200, **ONE)


@pytest.mark.parametrize("path", ["/features", "/predict"])
def test_problems(client: TestClient, judge: Documented, path: str) -> None:
    for query, status in (("?nope=1", 400), ("?model=none", 404), ("?format=xml", 406), ("?precision=fast", 400)):
        check(client, judge, "POST", path + query, status, **ONE)
    for images, status in ([], 400), (["!"], 400), ([GOOD, BAD], 422), ([GOOD] * 257, 413), (["R0lG"], 415):
        body = check(client, judge, "POST", path, status, json={"images": images}).json()
        assert body["status"] == status
    check(client, judge, "POST", path, 415, content=b"x", headers={"Content-Type": "text/plain"})


def test_v2_inference_and_its_errors(client: TestClient, judge: Documented) -> None:
    best = json.dumps({"inputs": [FILE | {"data": [GOOD]}], "outputs": BEST})
    for path in (INFER, f"/v2/models/{MODEL}/versions/10/infer"):
        assert check(client, judge, "POST", path, 200, content=AS_JSON).json()["id"] == "7"
        check(client, judge, "POST", path, 200, content=best)
        raw = check(client, judge, "POST", path, 200, content=FILES[0], headers={LENGTH: "0"})
        head = json.loads(raw.content[: int(raw.headers[LENGTH])])
        judge.validate({"$ref": "#/components/schemas/V2Inference"}, head)
        check(client, judge, "POST", path, 422, content=FILES[0][:60], headers={LENGTH: "0"})
        check(client, judge, "POST", path, 415, content=b"text", headers={LENGTH: "0"})
        check(client, judge, "POST", path, 400, content=b"{")
        check(client, judge, "POST", f"{path}?precision=x", 400, content=AS_JSON)
    check(client, judge, "POST", "/v2/models/none/infer", 404, content=AS_JSON)


def test_the_schema_of_the_v2_request_is_met_too(judge: Documented) -> None:
    told = judge.document["paths"]["/v2/models/{name}/infer"]["post"]["requestBody"]["content"]["application/json"]
    body = binary(PIXELS, elements(FILES)) | {"outputs": BEST, "parameters": {"binary_data_output": True}}
    Draft202012Validator(told["schema"]).validate(body)


def test_the_v2_index(client: TestClient, judge: Documented) -> None:
    for body in (b"", b'{"ready": true}'):
        check(client, judge, "POST", "/v2/repository/index", 200, content=body)
    check(client, judge, "POST", "/v2/repository/index", 400, content=b"[]")


def test_other_methods_are_refused_with_those_that_there_are(client: TestClient, judge: Documented) -> None:
    for route, operations in judge.document["paths"].items():
        path = route.format(name=MODEL, version="10", index=0, code="malformed")
        answer = check(client, judge, "PATCH", path, 405)
        methods = {method.upper() for method in operations}
        assert set(answer.headers["allow"].split(", ")) == methods | ({"HEAD"} if "GET" in methods else set())


def test_every_route_that_needs_a_key_says_so(new_client: NewClient) -> None:
    client = new_client(api_keys="secret")
    judge = documented(client)
    for route, operations in judge.document["paths"].items():
        path = route.format(name=MODEL, version="10", index=0, code="malformed")
        for method, operation in operations.items():
            needs_one = client.request(method, path, follow_redirects=False).status_code == 401
            assert needs_one == ("401" in operation["responses"]) == ("security" not in operation)
            if needs_one:
                answer = check(client, judge, method.upper(), path, 401)
                assert "www-authenticate" in answer.headers


def test_draining(new_client: NewClient) -> None:
    client = new_client()
    judge = documented(client)
    service_of(client).drain()
    for route, operations in judge.document["paths"].items():
        path = route.format(name=MODEL, version="10", index=0, code="malformed")
        for method, operation in operations.items():
            if "401" in operation["responses"]:
                assert check(client, judge, method.upper(), path, 503).headers["retry-after"] == "1"
    for path in ("/health/ready", "/v2/health/ready"):
        check(client, judge, "GET", path, 503)


def test_a_model_that_is_not_ready(new_client: NewClient) -> None:
    client = new_client()
    judge = documented(client)
    model = service_of(client).registry.get(None)
    model.golden = Golden(1.0, 1.0)
    for path in ("/health/ready", "/v2/health/ready", f"/v2/models/{MODEL}/ready"):
        check(client, judge, "GET", path, 503)
    for path, body in (("/features", png()), ("/predict", png()), (INFER, AS_JSON.encode())):
        assert check(client, judge, "POST", path, 503, content=body, headers=PNG).headers["retry-after"] == "1"
    for path in ("/models", "/v2/models/stats", f"/v2/models/{MODEL}"):
        check(client, judge, "GET", path, 200)
    check(client, judge, "POST", "/v2/repository/index", 200)
    assert model._batcher is not None
    model._batcher.close()
    check(client, judge, "GET", "/health/live", 503)
    check(client, judge, "GET", "/v2/health/live", 503)


def test_a_full_queue(new_client: NewClient) -> None:
    client = new_client(queue_images=1)
    judge = documented(client)
    for path in ("/features", "/predict"):
        answer = check(client, judge, "POST", path, 429, json={"images": [GOOD, GOOD]})
        assert answer.headers["retry-after"] == "1"
    two = json.dumps({"inputs": [FILE | {"shape": [2], "data": [GOOD, GOOD]}]})
    assert check(client, judge, "POST", INFER, 429, content=two).headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/v2", INFER])
def test_what_is_refused_before_its_path_is_looked_at(models_dir: Path, judge: Documented, path: str) -> None:
    async def scenario(running: Serving) -> None:
        for head, status in ((f"X: {70_000 * 'x'}\r\nHost: x\r\n", 431), ("", 400)):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
            answer, body = (await asyncio.wait_for(reader.read(), 10)).split(b"\r\n\r\n", 1)
            writer.close()
            first, *lines = answer.decode().split("\r\n")
            assert first.split()[1] == str(status)
            judge.check("POST", path, status, dict(line.lower().split(": ", 1) for line in lines), body)

    run(models_dir, scenario)
