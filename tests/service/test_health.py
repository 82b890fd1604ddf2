"""Live, ready and metrics tell the truth."""

import re

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from service.golden import Golden
from tests.conftest import NewClient, TestClient, metric, service_of
from tests.pictures import png

CONTRACT = {
    "sca_http_requests_total": {"route", "method", "code"},
    "sca_http_request_duration_seconds": {"route"},
    "sca_images_total": {"model", "outcome"},
    "sca_decode_seconds": set(),
    "sca_queue_wait_seconds": {"model"},
    "sca_inference_seconds": {"model", "provider"},
    "sca_encode_seconds": {"format"},
    "sca_batch_images": {"model"},
    "sca_queue_images": {"model"},
    "sca_queue_limit_images": {"model"},
    "sca_inflight_images": set(),
    "sca_rejected_total": {"reason"},
    "sca_client_disconnects_total": {"stage"},
    "sca_model_ready": {"model", "version"},
    "sca_model_info": {"model", "version", "sha256", "dataset", "provider"},
    "sca_golden_max_abs_error": {"model"},
    "sca_build_info": {"version", "onnxruntime", "python"},
    "sca_draining": set(),
}


def test_ready_lists_each_check_with_its_age(client: TestClient) -> None:
    body = client.get("/health/ready").json()
    assert body["status"] == "ok"
    assert {check["name"] for check in body["checks"]} == {"accepting", "model:cifar10-shallow", "model:mnist-shallow"}
    assert all(check["ok"] and check["age_s"] >= 0 for check in body["checks"])


def test_wrong_golden_images_turn_readiness_red_and_stop_the_model(new_client: NewClient) -> None:
    client = new_client()
    model = service_of(client).registry.get(None)
    assert metric(client, "sca_model_ready", model=model.name, version="10") == 1
    assert model._session is not None
    model._session._golden._expected["features"] = model._session._golden._expected["features"] + 1
    model.check_golden(service_of(client).metrics)
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    failed = [check for check in answer.json()["checks"] if not check["ok"]]
    assert [check["name"] for check in failed] == ["model:cifar10-shallow"] and "golden" in failed[0]["detail"]
    assert metric(client, "sca_model_ready", model=model.name, version="10") == 0
    assert metric(client, "sca_golden_max_abs_error", model=model.name) > 0.9
    refused = client.post("/features", content=png(), headers={"Content-Type": "image/png"})
    assert refused.status_code == 503 and refused.json()["type"] == "/errors/not-ready"
    other = client.post("/features?model=mnist-shallow", content=png(), headers={"Content-Type": "image/png"})
    assert other.status_code == 200
    assert client.get("/health/live").status_code == 200


def test_nan_is_never_a_right_golden_image() -> None:
    assert Golden(0.0, 0.0).ok
    assert not Golden(float("nan"), float("nan")).ok


def test_golden_images_are_checked_again_and_again(new_client: NewClient) -> None:
    client = new_client(golden_interval_s=0.05)
    model = service_of(client).registry.get(None)
    first = model.checked_at
    for _ in range(1000):
        client.get("/health/live")
        if model.checked_at > first:
            return
    raise AssertionError("never checked again")


def test_a_dead_batcher_is_not_alive(new_client: NewClient) -> None:
    client = new_client()
    service_of(client).registry.get(None).batcher.close()
    assert client.get("/health/live").status_code == 503


def test_all_metrics_of_the_contract_are_there_with_their_labels(client: TestClient) -> None:
    assert client.post("/features", content=png(), headers={"Content-Type": "image/png"}).status_code == 200
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, set[str]] = {}
    for family in parse_text(answer.text):
        for sample in family.samples:
            name = re.sub(r"_(bucket|sum|count)$", "", sample.name) if family.type == "histogram" else sample.name
            found.setdefault(name, set()).update(set(sample.labels) - {"le"})
            assert "_created" not in sample.name
    assert {name: found.get(name) for name in CONTRACT} == CONTRACT
    assert "process_resident_memory_bytes" in found


def test_openmetrics_is_served_if_asked(client: TestClient) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = parse_openmetrics(answer.text)  # type: ignore[no-untyped-call]  # the library left it untyped
    assert "sca_http_requests" in {family.name for family in families}
