"""What the Open Inference Protocol says of the server and its models, and how its requests are counted."""

from tests.conftest import NewClient, TestClient, metric, service_of
from tests.service.inference import BATCH, FILES, INFER, LENGTH, MODEL, PIXELS, binary, post


def test_the_server_and_its_models_describe_themselves(client: TestClient) -> None:
    server = client.get("/v2").json()
    assert server["name"] == "sca-features" and server["version"]
    assert {"binary_tensor_data", "classification"} <= set(server["extensions"])
    one = client.get(f"/v2/models/{MODEL}").json()
    assert one == client.get(f"/v2/models/{MODEL}/versions/10").json()
    assert one == {
        "name": MODEL,
        "versions": ["10"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "images", "datatype": "UINT8", "shape": [-1, 12, 12, 3]},
            {"name": "files", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "features", "datatype": "FP32", "shape": [-1, 288]},
            {"name": "logits", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }
    config = client.get(f"/v2/models/{MODEL}/config").json()
    assert config == client.get(f"/v2/models/{MODEL}/versions/10/config").json()
    assert (config["name"], config["max_batch_size"], config["instance_group"][0]["kind"]) == (MODEL, 256, "KIND_CPU")
    assert [tensor["dims"] for tensor in (*config["input"], *config["output"])] == [[12, 12, 3], [], [288], [3]]


def test_health(new_client: NewClient) -> None:
    client = new_client(api_keys="k")
    key = {"X-API-Key": "k"}
    for path, body in (("live", {"live": True}), ("ready", {"live": True, "ready": True})):
        answer = client.get(f"/v2/health/{path}")
        assert (answer.status_code, answer.json()) == (200, body)
    for path in (f"/v2/models/{MODEL}/ready", f"/v2/models/{MODEL}/versions/10/ready"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=key).json() == {"name": MODEL, "ready": True}
    model = service_of(client).registry.get("mnist-shallow")
    model.golden = None
    answer = client.get("/v2/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"live": True, "ready": False, "error": "mnist-shallow: loading"}
    answer = client.get("/v2/models/mnist-shallow/ready", headers=key)
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    states = client.post("/v2/repository/index", headers=key).json()
    assert [(state["name"], state["version"], state["state"]) for state in states] == [
        (MODEL, "10", "READY"),
        ("mnist-shallow", "1", "LOADING"),
    ]
    assert states[1]["reason"] == "loading"
    assert len(client.post("/v2/repository/index", json={"ready": True}, headers=key).json()) == 1
    service_of(client).drain()
    assert client.get("/v2/health/ready").json()["error"] == "shutting down"
    assert client.get("/v2/health/live").status_code == 200


def test_statistics_count_requests_images_and_runs(new_client: NewClient) -> None:
    client = new_client(max_batch=4)
    for path in (INFER, "/features"):
        headers = {LENGTH: "0"} if path == INFER else {"Content-Type": "image/png"}
        assert client.post(path, content=FILES[0], headers=headers).status_code == 200
    assert post(client, binary(PIXELS, BATCH.tobytes()), BATCH.tobytes()).status_code == 200
    assert client.post(INFER, content=FILES[0][:-9], headers={LENGTH: "0"}).status_code == 422
    (stats,) = client.get(f"/v2/models/{MODEL}/stats").json()["model_stats"]
    assert (stats["name"], stats["version"], stats["inference_count"], stats["execution_count"]) == (MODEL, "10", 7, 4)
    stages = stats["inference_stats"]
    assert {name: stage["count"] for name, stage in stages.items()} == {
        **{"success": 3, "fail": 1, "queue": 3},
        **{"compute_input": 3, "compute_infer": 3, "compute_output": 3},
    }
    assert all(stages[name]["ns"] > 0 for name in stages)
    assert stages["success"]["ns"] >= sum(stages[name]["ns"] for name in ("compute_input", "compute_infer"))
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in stats["batch_stats"]] == [
        (1, 3),
        (4, 1),
    ]
    everything = client.get("/v2/models/stats").json()["model_stats"]
    assert [entry["name"] for entry in everything] == [MODEL, "mnist-shallow"]
    assert client.get(f"/v2/models/{MODEL}/versions/10/stats").json()["model_stats"] == [stats]


def test_it_is_counted_like_the_other_routes(new_client: NewClient) -> None:
    client = new_client()
    client.post(INFER, content=FILES[0], headers={LENGTH: "0"})
    post(client, {"inputs": [PIXELS | {"data": BATCH.tolist()}]})
    client.get("/v2/models/none/ready")
    for label in ("v2-json", "v2-binary"):
        assert metric(client, "sca_encode_seconds_count", format=label) == 1
    assert metric(client, "sca_images_total", model=MODEL, outcome="ok") == 6
    route = "/v2/models/{name}/infer"
    assert metric(client, "sca_http_requests_total", route=route, method="POST", code="200") == 2
    route = "/v2/models/{name}/ready"
    assert metric(client, "sca_http_requests_total", route=route, method="GET", code="404") == 1
    answer = client.get("/v2", headers={"X-Request-Id": "job-1"})
    assert answer.headers["x-request-id"] == "job-1" and "server-timing" in answer.headers


def test_browsers_may_read_where_the_binary_data_start(new_client: NewClient) -> None:
    client = new_client(cors_origins="https://a.example")
    answer = client.post(INFER, content=FILES[0], headers={LENGTH: "0", "Origin": "https://a.example"})
    exposed = answer.headers["access-control-expose-headers"]
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert LENGTH in exposed and "X-Dtype" in exposed
