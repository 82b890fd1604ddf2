"""`precision=exact|fast`: which graph answers, when it is loaded, and what is said where there is none."""

import io
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.app import create_app
from service.bundle import BundleError, load_bundle
from service.golden import Golden
from service.session import Session
from tests.bundles import write_bundle, write_manifest
from tests.conftest import TestClient, metric, ready, service_of, settings
from tests.service.inference import INFER, PIXELS, post
from tests.service.test_features import NPY, npy

MODEL = "cifar10-shallow"
FAST = f"{MODEL}:fast"
WITHOUT = "mnist-shallow"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, the second without a fast graph."""
    models = tmp_path_factory.mktemp("models")
    write_bundle(models, MODEL, fast=True)
    write_bundle(models, WITHOUT, color_mode="L")
    return models


@pytest.fixture
def start(folder: Path) -> Iterator[Any]:
    """Starts a service on these models."""
    clients: list[TestClient] = []

    def begin(models: Path = folder, **changes: Any) -> TestClient:
        client = TestClient(create_app(settings(models, **changes)))
        client.__enter__()
        clients.append(client)
        return ready(client)

    yield begin
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def golden(folder: Path) -> dict[str, NDArray[Any]]:
    return load_bundle(folder / MODEL / "1").arrays("golden.npz")


def ask(client: TestClient, golden: dict[str, NDArray[Any]], route: str = "/features", **params: str) -> Any:
    headers = NPY | {"Accept": "application/x-npy" if route == "/features" else "application/json"}
    return client.post(route, params=params, content=npy(golden["images"]), headers=headers)


def rows(answer: Any) -> NDArray[np.float32]:
    assert answer.status_code == 200, answer.text
    found: NDArray[np.float32] = np.load(io.BytesIO(answer.content), allow_pickle=False)
    return found


def checks(client: TestClient, route: str = "/health/ready") -> dict[str, bool]:
    return {check["name"]: check["ok"] for check in client.get(route).json()["checks"]}


def assert_like(answer: Any, golden: dict[str, NDArray[Any]], precision: str) -> None:
    """The features are those of this graph, and say so."""
    one, other = golden["features"], golden["fast_features"].astype(np.float32)
    wanted, unwanted = (one, other) if precision == "exact" else (other, one)
    got = rows(answer)
    assert answer.headers["X-Model-Precision"] == precision
    assert got.dtype == np.float32
    assert np.abs(got - wanted).max() <= 1e-3 * np.abs(wanted).max() < np.abs(got - unwanted).max()


@pytest.mark.parametrize("set_to", ["exact", "fast"])
def test_the_query_decides_and_then_the_setting(set_to: str, start: Any, golden: dict[str, NDArray[Any]]) -> None:
    client = start(precision=set_to)
    assert_like(ask(client, golden), golden, set_to)
    for precision in ("exact", "fast", "exact"):
        assert_like(ask(client, golden, precision=precision), golden, precision)


def test_predictions_come_from_the_same_graph(start: Any, golden: dict[str, NDArray[Any]]) -> None:
    client = start()
    for precision, prefix in (("exact", ""), ("fast", "fast_")):
        answer = ask(client, golden, "/predict", precision=precision)
        assert answer.headers["X-Model-Precision"] == precision
        assert answer.json().keys() == {"model", "version", "predictions"} and answer.json()["model"] == MODEL
        logits = golden[f"{prefix}logits"].astype(np.float64)
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        for got, wanted in zip(answer.json()["predictions"], chances, strict=True):
            assert got["index"] == wanted.argmax()
            assert got["probability"] == pytest.approx(wanted.max(), abs=5e-3)


def test_the_open_inference_protocol_takes_it_as_a_query(start: Any, golden: dict[str, NDArray[Any]]) -> None:
    client = start()
    images = golden["images"][:5]
    asked = {"inputs": [PIXELS | {"data": images.tolist()}], "outputs": [{"name": "features"}]}
    for precision, prefix in (("exact", ""), ("fast", "fast_")):
        answer = post(client, asked, path=f"{INFER}?precision={precision}")
        (output,) = answer.json()["outputs"]
        wanted = golden[f"{prefix}features"][:5].astype(np.float32)
        assert np.abs(np.reshape(output["data"], wanted.shape) - wanted).max() <= 1e-3 * np.abs(wanted).max()
        assert answer.headers["X-Model-Precision"] == precision
    refused = post(client, asked, path=f"{INFER}?precision=int4")
    assert refused.status_code == 400 and "precision" in refused.json()["error"]


@pytest.mark.parametrize("value", ["int8", "FAST", ""])
@pytest.mark.parametrize("route", ["/features", "/predict"])
def test_a_precision_that_is_none_is_a_bad_request(
    route: str, value: str, start: Any, golden: dict[str, NDArray[Any]]
) -> None:
    answer = ask(start(), golden, route, precision=value)
    assert answer.status_code == 400 and answer.headers["content-type"] == "application/problem+json"
    assert "precision" in answer.json()["detail"] and "'fast'" in answer.json()["detail"]


def test_a_model_without_a_fast_graph_says_so_or_answers_exactly(start: Any) -> None:
    grey = npy(np.zeros((1, 12, 12, 1), np.uint8))
    for set_to in ("exact", "fast"):
        client = start(precision=set_to)
        refused = client.post(f"/features?model={WITHOUT}&precision=fast", content=grey, headers=NPY)
        assert refused.status_code == 400 and f"{WITHOUT} has no fast graph" in refused.json()["detail"]
        for query in ("", "&precision=exact"):
            answer = client.post(f"/features?model={WITHOUT}{query}", content=grey, headers=NPY)
            assert answer.status_code == 200 and answer.headers["X-Model-Precision"] == "exact"
        assert checks(client)[f"model:{WITHOUT}"] and f"model:{WITHOUT}:fast" not in checks(client)
        assert f'"{WITHOUT}:fast"' not in client.get("/metrics").text


def test_the_other_graph_is_loaded_once_and_only_when_asked_for(start: Any, golden: dict[str, NDArray[Any]]) -> None:
    client = start(golden_interval_s=0)
    assert checks(client).keys() == {"accepting", f"model:{MODEL}", f"model:{WITHOUT}"}
    assert FAST not in client.get("/metrics").text
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: ask(client, golden, precision="fast"), range(16)):
            assert_like(answer, golden, "fast")
    assert checks(client)[f"model:{FAST}"] and checks(client, "/health/live")[f"batcher:{FAST}"]
    assert metric(client, "sca_images_total", model=FAST, outcome="ok") == 16 * 16
    assert metric(client, "sca_images_total", model=MODEL, outcome="ok") == 0
    assert metric(client, "sca_model_ready", model=FAST, version="1") == 1
    (info,) = [
        line for line in client.get("/metrics").text.splitlines() if line.startswith("sca_model_info{") and FAST in line
    ]
    files = service_of(client).registry.get(MODEL).bundle.manifest.files
    assert files["model.fast.onnx"].sha256 in info and files["model.onnx"].sha256 not in info


def test_all_graphs_are_loaded_before_the_service_is_ready_if_asked(start: Any) -> None:
    client = start(preload="all")
    assert checks(client) == dict.fromkeys(("accepting", f"model:{MODEL}", f"model:{FAST}", f"model:{WITHOUT}"), True)
    assert metric(client, "sca_golden_max_abs_error", model=FAST) < 1e-2


def test_a_fast_graph_that_computes_wrong_numbers_is_not_served(start: Any, golden: dict[str, NDArray[Any]]) -> None:
    client = start(preload="all")
    registry = service_of(client).registry
    model = registry.get(MODEL, precision="fast")
    model.session._golden._expected["logits"] += 9
    model.check_golden(service_of(client).metrics)
    assert client.get("/health/ready").status_code == 503
    assert checks(client)[f"model:{MODEL}"] and not checks(client)[f"model:{FAST}"]
    assert ask(client, golden, precision="fast").status_code == 503
    assert_like(ask(client, golden, precision="exact"), golden, "exact")


def test_a_wrong_graph_that_one_client_asks_for_leaves_the_service_ready(
    start: Any, tmp_path: Path, golden: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start()
    monkeypatch.setattr("service.session.Session.check_golden", lambda self: Golden(1.0, 1.0))
    for _ in range(2):
        answer = ask(client, golden, precision="fast")
        assert answer.status_code == 503 and "golden images differ" in answer.json()["detail"]
    monkeypatch.undo()
    assert client.get("/health/ready").status_code == 200
    assert_like(ask(client, golden), golden, "exact")


def test_a_bundle_that_changed_meanwhile_is_not_mixed(
    folder: Path, tmp_path: Path, start: Any, golden: dict[str, NDArray[Any]]
) -> None:
    models = Path(shutil.copytree(folder, tmp_path / "models"))
    client = start(models)
    bundle = models / MODEL / "1"
    (bundle / "README.md").write_text("# another\n")
    facts = json.loads((bundle / "manifest.json").read_text())
    write_manifest(bundle, {key: value for key, value in facts.items() if key != "files"})
    answer = ask(client, golden, precision="fast")
    assert answer.status_code == 503 and answer.json()["type"] == "/errors/not-ready"
    assert_like(ask(client, golden), golden, "exact")
    assert client.get("/health/ready").status_code == 200, "what is served is as right as before"


@pytest.mark.parametrize(
    ("harm", "named"),
    [("no golden outputs", "fast_features"), ("no file", "model.fast.onnx"), ("no tolerance", "golden_tolerance")],
)
def test_a_fast_graph_that_is_not_whole_is_refused(harm: str, named: str, folder: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(folder / MODEL / "1", tmp_path / MODEL / "1"))
    facts = json.loads((bundle / "manifest.json").read_text())
    del facts["files"]
    if harm == "no golden outputs":
        arrays = load_bundle(bundle).arrays("golden.npz")
        np.savez(bundle / "golden.npz", allow_pickle=False, **{k: v for k, v in arrays.items() if "fast" not in k})
    elif harm == "no file":
        (bundle / "model.fast.onnx").unlink()
    else:
        del facts["fast"]["golden_tolerance"]
    write_manifest(bundle, facts)
    with pytest.raises(BundleError, match=named):
        Session(load_bundle(bundle), "cpu", 1, precision="fast")
