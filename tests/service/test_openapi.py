"""The OpenAPI document tells what the service does."""

import re
from typing import Any

import pytest

from service import errors
from tests.conftest import TestClient

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
        *("200", "400", "401", "404", "406", "408", "413", "415", "422", "429", "500", "503", "504"),
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
    for kind in errors.ALL:
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
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if path.startswith("/v2") and int(status) >= 400:
                    assert answer["content"]["application/json"]["schema"]["required"] == ["error"]


def test_references_lead_somewhere_and_the_framework_adds_nothing_untrue(document: dict[str, Any]) -> None:
    text = str(document)
    assert "HTTPValidationError" not in text
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in document["components"]["schemas"]


def test_the_docs_page_is_served(client: TestClient) -> None:
    assert "text/html" in client.get("/docs").headers["content-type"]


def test_the_address_of_the_server_leads_to_the_docs(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "docs")
    assert "text/html" in client.get("/").headers["content-type"]
