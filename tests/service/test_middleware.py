"""Every answer has its id and timing; keys open the service and nothing else does; draining refuses new work."""

import re

import pytest

from tests.conftest import NewClient, TestClient, metric, service_of
from tests.pictures import png

PNG = {"Content-Type": "image/png"}
TIMING = re.compile(r"decode;dur=\d+\.\d+, queue;dur=\d+\.\d+, infer;dur=\d+\.\d+, encode;dur=\d+\.\d+")


@pytest.mark.parametrize("path", ["/models", "/health/ready", "/metrics", "/nope", "/filters?scale=x", "/openapi.json"])
def test_every_answer_has_an_id_and_timing(client: TestClient, path: str) -> None:
    first, second = client.get(path), client.get(path)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert TIMING.fullmatch(first.headers["server-timing"])


def test_a_sane_id_is_echoed_and_others_are_replaced(client: TestClient) -> None:
    assert client.get("/nope", headers={"X-Request-Id": "job-1.2"}).headers["x-request-id"] == "job-1.2"
    assert client.get("/nope", headers={"X-Request-Id": "job-1.2"}).json()["request_id"] == "job-1.2"
    for bad in ("a b", "x" * 129, "", "<script>"):
        assert client.get("/nope", headers={"X-Request-Id": bad}).headers["x-request-id"] != bad


def test_timing_tells_where_the_time_went(client: TestClient) -> None:
    timing = client.post("/features", content=png(), headers=PNG).headers["server-timing"]
    assert TIMING.fullmatch(timing)
    assert all(float(value) > 0 for value in re.findall(r"(?:decode|infer|encode);dur=([\d.]+)", timing))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/features", 405), ("PUT", "/models", 405), ("GET", "/models//", 404)],
)
def test_framework_errors_are_problems_too(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    if status == 405:
        assert answer.headers["allow"] == ("POST" if path == "/features" else "GET, HEAD")


def test_head_is_get_without_a_body(client: TestClient) -> None:
    assert client.head("/health/ready").status_code == 200
    assert client.head("/features").status_code == 405


def test_unknown_routes_and_methods_share_one_label(client: TestClient) -> None:
    before = metric(client, "sca_http_requests_total", route="_other", method="_other", code="404")
    for number in range(3):
        client.request(f"METHOD{number}", f"/path{number}")
    assert metric(client, "sca_http_requests_total", route="_other", method="_other", code="404") == before + 3


def test_keys(new_client: NewClient) -> None:
    client = new_client(api_keys="alpha,beta")
    refused = client.post("/features", content=png(), headers=PNG)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.json()["status"] == 401
    assert metric(client, "sca_http_requests_total", route="/features", method="POST", code="401") == 1
    for headers in (
        {"Authorization": "Bearer gamma"},
        {"Authorization": "Basic alpha"},
        {"Authorization": "Bearer"},
        {"Authorization": "alpha"},
        {"X-API-Key": "alph"},
        {"X-API-Key": "alpha,beta"},
        {"X-API-Key": ""},
    ):
        assert client.get("/models", headers=headers).status_code == 401, headers
    for headers in (
        {"Authorization": "Bearer alpha"},
        {"authorization": "bearer  beta"},
        {"X-API-Key": "beta"},
        {"Authorization": "Bearer wrong", "X-API-Key": "alpha"},
    ):
        assert client.get("/models", headers=headers).status_code == 200, headers
    assert client.get("/nope").status_code == 401
    for path in ("/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", "/errors/unauthorized"):
        assert client.get(path).status_code == 200, path
    assert metric(client, "sca_rejected_total", reason="auth") == 9


def test_draining_refuses_new_work_and_turns_readiness_red(
    new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = new_client()
    service_of(client).drain()
    for path in ("/health/ready", "/models"):
        assert client.get(path).status_code == 503
    caplog.clear()
    refused = client.post("/features", content=png(), headers=PNG)
    assert refused.status_code == 503 and refused.headers["connection"] == "close"
    assert not caplog.records, "under load there may be thousands of them"
    assert refused.json()["type"] == "/errors/draining"
    assert client.get("/health/live").status_code == 200
    assert client.get("/metrics").status_code == 200
    assert metric(client, "sca_http_requests_total", route="/features", method="POST", code="503") == 1
    assert metric(client, "sca_draining") == 1
    assert metric(client, "sca_rejected_total", reason="draining") == 2


def test_browsers_may_call_only_where_configured(client: TestClient, new_client: NewClient) -> None:
    origin = {"Origin": "https://a.example"}
    assert "access-control-allow-origin" not in client.get("/models", headers=origin).headers
    open_client = new_client(cors_origins="https://a.example", api_keys="k")
    allowed = open_client.get("/models", headers=origin | {"X-API-Key": "k"})
    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    other = open_client.get("/models", headers={"Origin": "https://b.example", "X-API-Key": "k"})
    assert "access-control-allow-origin" not in other.headers
    unauthorized = open_client.get("/models", headers=origin)
    assert unauthorized.status_code == 401
    assert unauthorized.headers["access-control-allow-origin"] == "https://a.example"
    preflight = open_client.options("/features", headers=origin | {"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 200
    refused = open_client.options(
        "/features", headers={"Origin": "https://b.example", "Access-Control-Request-Method": "DELETE"}
    )
    assert refused.status_code == 400 and refused.headers["content-type"] == "application/problem+json"
    assert "origin, method" in refused.json()["detail"] and "access-control-allow-origin" not in refused.headers
    assert refused.json()["request_id"] == refused.headers["x-request-id"] and refused.headers["vary"].startswith(
        "Origin"
    )
