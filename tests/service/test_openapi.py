"""The OpenAPI document tells what the service does."""

import asyncio
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from service import problem_types
from service.app import create_app
from service.routes import health
from tests.conftest import TestClient, settings
from tests.service.serving import Serving, run
from tests.service.serving import client as connected

V2 = ("", "/ready", "/config", "/stats", "/infer")


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    body: dict[str, Any] = client.get("/openapi.json").json()
    return body


def test_every_route_answers_and_errors_are_documented(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/features",
        "/predict",
        "/filters",
        "/filters/{index}",
        "/models",
        "/models/{name}",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/errors/{code}",
        "/",
        "/docs",
        "/openapi.json",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/repository/index",
        "/v2/models/stats",
        *(f"/v2/models/{{name}}{rest}" for rest in V2),
        *(f"/v2/models/{{name}}/versions/{{version}}{rest}" for rest in V2),
    }
    post = document["paths"]["/features"]["post"]
    assert set(post["responses"]) == {
        *("200", "400", "401", "404", "405", "406", "408", "413", "415", "422", "429", "431", "500", "503", "504"),
    }
    assert set(post["responses"]["200"]["content"]) == {
        "application/json",
        "application/x-npy",
        "application/octet-stream",
        "application/vnd.apache.arrow.stream",
        "application/x-safetensors",
        "application/vnd.sca.csr+safetensors",
    }
    assert {"multipart/form-data", "application/json", "application/x-npy", "image/png"} <= set(
        post["requestBody"]["content"]
    )


def test_all_errors_are_problems_with_examples_and_pages(document: dict[str, Any], client: TestClient) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and "application/json" not in answer["content"]:
                    examples = answer["content"]["application/problem+json"]["examples"]
                    assert all(example["value"]["status"] == int(status) for example in examples.values())
                    assert len(examples) == len(answer["description"].split("; "))
    for kind in problem_types.ALL:
        assert client.get(f"/errors/{kind.code}").json()["status"] == kind.status
    assert client.get("/errors/none").status_code == 404


def test_the_v2_routes_tell_their_errors_in_that_protocols_form(document: dict[str, Any]) -> None:
    infer = document["paths"]["/v2/models/{name}/versions/{version}/infer"]["post"]
    assert {"200", "400", "401", "404", "413", "415", "422", "429", "503", "504"} <= set(infer["responses"])
    assert set(infer["responses"]["200"]["content"]) == {"application/json", "application/octet-stream"}
    assert {(one["name"], one["in"]) for one in infer["parameters"]} == {
        ("name", "path"),
        ("version", "path"),
        ("precision", "query"),
        ("Inference-Header-Content-Length", "header"),
    }
    told = document["components"]["schemas"]
    assert told["V2Error"]["required"] == ["error"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                # 431, and 400 where nothing else is malformed, come before the path is known.
                if path.startswith("/v2") and int(status) >= 400 and "application/json" in answer["content"]:
                    (name, *_) = re.findall(r"schemas/(\w+)", str(answer["content"]["application/json"]["schema"]))
                    assert "error" in told[name]["properties"]
                elif path.startswith("/v2") and int(status) >= 400:
                    assert status in ("400", "431")


def test_what_every_answer_and_every_refusal_carries(document: dict[str, Any]) -> None:
    told = document["components"]["headers"]
    assert told["X-Request-Id"]["required"] and told["Server-Timing"]["required"]
    carried = {"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After", "503": "Retry-After"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert {"400", "405", "431", "500"} <= set(operation["responses"])
            for status, answer in operation["responses"].items():
                assert {"X-Request-Id", "Server-Timing"} <= set(answer["headers"])
                if "/health/" not in path and status in carried:
                    assert answer["headers"][carried[status]] == {"$ref": f"#/components/headers/{carried[status]}"}


def test_only_the_routes_that_wait_for_a_model_tell_that_it_may_fail(document: dict[str, Any]) -> None:
    def unavailable(path: str, method: str = "get") -> set[str]:
        content = document["paths"][path][method]["responses"]["503"]["content"]
        return set(content["application/problem+json"]["examples"])

    assert unavailable("/features", "post") == {"not-ready", "draining", "overloaded", "inference-failed"}
    assert unavailable("/filters") == unavailable("/models") == {"not-ready", "draining", "overloaded"}
    assert unavailable("/metrics") == {"draining", "overloaded"}
    # a connection too many is refused before its path is looked at
    assert unavailable("/errors/{code}") == unavailable("/v2/models/{name}") == {"overloaded"}


def test_references_lead_somewhere_and_the_framework_adds_nothing_untrue(document: dict[str, Any]) -> None:
    text = str(document)
    assert "HTTPValidationError" not in text
    references = set(re.findall(r"#/components/(\w+)/([\w-]+)", text))
    for kind, name in references:
        assert name in document["components"][kind]
    used = {name for kind, name in references if kind == "schemas"}
    assert used == set(document["components"]["schemas"])


def test_the_document_is_not_made_before_it_is_asked_for(models_dir: Path) -> None:
    app = create_app(settings(models_dir))
    with TestClient(app) as client:
        assert app.openapi_schema is None
        assert client.get("/openapi.json").json() == app.openapi_schema == client.get("/openapi.json").json()


def test_metrics_that_are_not_written_when_the_drain_time_is_over(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(registry: object) -> bytes:
        entered.set()
        assert go_on.wait(10)
        return b""

    monkeypatch.setattr(health, "choose_encoder", lambda accept: (slow, "text/plain"))

    async def scenario(running: Serving) -> None:
        async with connected(running) as asking:
            asking.writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.to_thread(entered.wait, 10)
            running.service.drain()
            for task in list(running.server.server_state.tasks):
                task.cancel()
            answer = await asking.answer()
            go_on.set()
            assert answer.status == 503 and json.loads(answer.body)["type"] == "/errors/draining"
            assert answer.headers["retry-after"] == "1"

    run(models_dir, scenario)


def test_the_docs_page_is_served(client: TestClient) -> None:
    assert "text/html" in client.get("/docs").headers["content-type"]


def test_the_address_of_the_server_leads_to_the_docs(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "docs")
    assert "text/html" in client.get("/").headers["content-type"]
