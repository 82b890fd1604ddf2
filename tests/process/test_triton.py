"""Triton's own client drives the real server: pixels and image files, as JSON and as binary data."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.bundles import smooth_images
from tests.pictures import encode
from tests.process.conftest import Running, running

MODEL = "cifar10-shallow"
BATCH = smooth_images(3, 12, 12, 3, seed=4)
FILES = [encode(image, "PNG") for image in BATCH]


@pytest.fixture(scope="module")
def server(models_dir: Path) -> Iterator[Running]:
    with running(models_dir, max_body_bytes=200_000) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


@pytest.fixture(scope="module")
def expected(server: Running) -> NDArray[np.float32]:
    parts = [("images", data) for data in FILES]
    answer = httpx.post(f"http://127.0.0.1:{server.port}/features?format=octet-stream", files=parts)
    return np.frombuffer(answer.content, "<f4").reshape(3, -1)


def tensor(values: NDArray[Any], datatype: str, binary: bool, name: str = "images") -> Any:
    given = triton.InferInput(name, list(values.shape), datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    return given


def inputs(kind: str) -> Any:
    texts = [base64.b64encode(data) for data in FILES]
    return {
        "pixels in JSON": lambda: tensor(BATCH, "UINT8", False),
        "pixels in binary": lambda: tensor(BATCH, "UINT8", True),
        "files in JSON": lambda: tensor(np.array(texts, object), "BYTES", False, "files"),
        "files in binary": lambda: tensor(np.array(FILES, object), "BYTES", True, "files"),
        "a column of images": lambda: tensor(np.array(FILES, object)[:, None], "BYTES", True),
    }[kind]()


KINDS = ("pixels in JSON", "pixels in binary", "files in JSON", "files in binary", "a column of images")


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_equal_features_to_the_bit(client: Any, expected: NDArray[Any], kind: str, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("logits", "features")]
    result = client.infer(MODEL, [inputs(kind)], outputs=outputs, request_id="job-7")
    np.testing.assert_array_equal(result.as_numpy("features").view(np.uint32), expected.view(np.uint32))
    assert result.as_numpy("logits").shape == (3, 3)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("job-7", MODEL, "10")


def test_all_outputs_come_if_none_is_named_and_versions_can_be(client: Any, expected: NDArray[Any]) -> None:
    result = client.infer(MODEL, [inputs("pixels in binary")], model_version="10")
    np.testing.assert_array_equal(result.as_numpy("features"), expected)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["features", "logits"]


def test_requests_in_flight_together_keep_their_rows(server: Running, expected: NDArray[Any]) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=8) as client:
        asked = [
            client.async_infer(MODEL, [tensor(BATCH[n % 3 : n % 3 + 1], "UINT8", True)], request_id=str(n))
            for n in range(24)
        ]
        for n, pending in enumerate(asked):
            result = pending.get_result()
            assert result.get_response()["id"] == str(n)
            np.testing.assert_allclose(result.as_numpy("features")[0], expected[n % 3], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("binary", [False, True])
def test_classification(client: Any, binary: bool) -> None:
    best = triton.InferRequestedOutput("logits", binary_data=binary, class_count=2)
    result = client.infer(MODEL, [inputs("pixels in binary")], outputs=[best])
    classes = result.as_numpy("logits")
    assert classes.shape == (3, 2)
    assert {(text.decode() if binary else text).split(":")[2] for text in classes.ravel()} <= {"airplane", "cat", "dog"}


def test_compression_is_not_forced_on_anyone(client: Any, expected: NDArray[Any]) -> None:
    result = client.infer(MODEL, [inputs("pixels in binary")], response_compression_algorithm="gzip")
    np.testing.assert_array_equal(result.as_numpy("features"), expected)


def test_the_server_describes_itself(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "10")
    assert not client.is_model_ready("none") and not client.is_model_ready(MODEL, "9")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata, config = client.get_model_metadata(MODEL), client.get_model_config(MODEL, "10")
    assert [tensor["name"] for tensor in metadata["inputs"]] == [tensor["name"] for tensor in config["input"]]
    assert [tensor["shape"][1:] for tensor in metadata["outputs"]] == [tensor["dims"] for tensor in config["output"]]
    assert {model["state"] for model in client.get_model_repository_index()} == {"READY"}
    before = client.get_inference_statistics(MODEL)["model_stats"][0]["inference_count"]
    client.infer(MODEL, [inputs("pixels in binary")])
    after = client.get_inference_statistics(MODEL, "10")["model_stats"][0]
    assert after["inference_count"] == before + 3


@pytest.mark.parametrize(
    ("model", "version", "given", "status"),
    [
        ("none", "", inputs("pixels in binary"), 404),
        (MODEL, "9", inputs("pixels in binary"), 404),
        (MODEL, "", tensor(BATCH, "UINT8", True, "pixels"), 400),
        (MODEL, "", tensor(BATCH[:, 1:], "UINT8", True), 400),
        (MODEL, "", tensor(BATCH.astype(np.float32), "FP32", True), 400),
        (MODEL, "", tensor(np.array([b"%PDF"], object), "BYTES", True), 415),
        (MODEL, "", tensor(np.array([FILES[0][:-9]], object), "BYTES", True), 422),
        (MODEL, "", tensor(np.zeros((600, 12, 12, 3), np.uint8), "UINT8", True), 413),
    ],
)
def test_errors_reach_the_client_as_its_exception(
    client: Any, model: str, version: str, given: Any, status: int
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [given], model_version=version)
    assert caught.value.status() == str(status)
    assert "exception occurred in the client" not in caught.value.message()
