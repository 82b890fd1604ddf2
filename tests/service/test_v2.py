"""Inference over the Open Inference Protocol: every way in and out equals `/features` to the bit."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bundles import smooth_images
from tests.conftest import TestClient, service_of
from tests.service.inference import (
    BATCH,
    FILES,
    INFER,
    LENGTH,
    MODEL,
    PIXELS,
    binary,
    elements,
    features,
    post,
    tensors,
)
from tests.service.test_features import npy


@pytest.fixture(scope="module")
def expected(client: TestClient) -> NDArray[np.float32]:
    return features(client, content=npy(BATCH), headers={"Content-Type": "application/x-npy"})


TEXTS = [base64.b64encode(data).decode() for data in FILES]
WAYS_IN: dict[str, tuple[Any, bytes | None]] = {
    "pixels, flat JSON": ({"inputs": [PIXELS | {"data": BATCH.ravel().tolist()}]}, None),
    "pixels, nested JSON": ({"inputs": [PIXELS | {"data": BATCH.tolist()}]}, None),
    "pixels, binary": (binary(PIXELS, BATCH.tobytes()), BATCH.tobytes()),
    "files, binary": (binary({"name": "files", "datatype": "BYTES", "shape": [5]}, elements(FILES)), elements(FILES)),
    "images, binary": (binary({"name": "images", "datatype": "BYTES", "shape": [5]}, elements(FILES)), elements(FILES)),
    "a column": (binary({"name": "files", "datatype": "BYTES", "shape": [5, 1]}, elements(FILES)), elements(FILES)),
    "files, base64": ({"inputs": [{"name": "files", "datatype": "BYTES", "shape": [5], "data": TEXTS}]}, None),
    "nulls": (
        {
            "id": None,
            "parameters": None,
            "outputs": None,
            "inputs": [PIXELS | {"data": BATCH.tolist(), "parameters": None}],
        },
        None,
    ),
    "no binary data after a header": ({"inputs": [PIXELS | {"data": BATCH.tolist()}], "outputs": []}, b""),
    "what it does not know": (
        {"model_name": "x", "parameters": {"priority": 1}, "inputs": [PIXELS | {"data": BATCH.tolist(), "x": 1}]},
        None,
    ),
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_every_way_in_gives_the_bits_of_features(client: TestClient, expected: NDArray[np.float32], way: str) -> None:
    document, data = WAYS_IN[way]
    for outputs_are_binary in (False, True):
        parameters = dict(document.get("parameters") or {}) | {"binary_data_output": outputs_are_binary}
        answer = post(client, document | {"parameters": parameters}, data)
        found = tensors(answer)
        assert list(found) == ["features", "logits"]
        np.testing.assert_array_equal(found["features"].view(np.uint32), expected.view(np.uint32))
        assert answer.headers["content-type"] == f"application/{'octet-stream' if outputs_are_binary else 'json'}"
        assert (LENGTH.lower() in answer.headers) == outputs_are_binary
        assert (answer.headers["x-model"], answer.headers["x-model-version"]) == (MODEL, "10")


def test_a_raw_body_is_one_image_file(client: TestClient) -> None:
    answer = client.post(INFER, content=FILES[0], headers={LENGTH: "0"})
    expected = features(client, content=FILES[0])
    np.testing.assert_array_equal(tensors(answer)["features"], expected)
    assert LENGTH.lower() in answer.headers


def test_grey_pixels_may_leave_their_channel_out(client: TestClient) -> None:
    grey = smooth_images(3, 12, 12, 1)
    path = "/v2/models/mnist-shallow/versions/1/infer"
    tensor = {"name": "images", "datatype": "UINT8"}
    four = post(client, binary(tensor | {"shape": [3, 12, 12, 1]}, grey.tobytes()), grey.tobytes(), path)
    three = post(client, binary(tensor | {"shape": [3, 12, 12]}, grey.tobytes()), grey.tobytes(), path)
    assert four.status_code == 200 and four.content == three.content


def test_the_id_comes_back_and_only_if_it_was_sent(client: TestClient) -> None:
    document = {"inputs": [PIXELS | {"data": BATCH.ravel().tolist()}], "outputs": [{"name": "logits"}]}
    for identity in ("42", "", "ä\u0000\U0001f438"):
        assert post(client, document | {"id": identity}).json()["id"] == identity
    body = post(client, document).json()
    assert "id" not in body
    assert (body["model_name"], body["model_version"]) == (MODEL, "10")


def test_requested_outputs_come_alone_in_their_order_and_form(client: TestClient) -> None:
    def ask(*outputs: dict[str, Any], **parameters: Any) -> Any:
        return post(
            client, binary(PIXELS, BATCH.tobytes()) | {"outputs": outputs, "parameters": parameters}, BATCH.tobytes()
        )

    everything = tensors(ask())
    assert list(tensors(ask({"name": "logits"}))) == ["logits"]
    mixed = ask({"name": "logits", "parameters": {"binary_data": True}}, {"name": "features"})
    assert [
        output.get("parameters") for output in json.loads(mixed.content[: int(mixed.headers[LENGTH])])["outputs"]
    ] == [
        {"binary_data_size": 60},
        None,
    ]
    found = tensors(mixed)
    assert list(found) == ["logits", "features"]
    for name, values in found.items():
        np.testing.assert_array_equal(values, everything[name])
    but_one = ask(
        {"name": "features"}, {"name": "logits", "parameters": {"binary_data": False}}, binary_data_output=True
    )
    np.testing.assert_array_equal(tensors(but_one)["logits"], everything["logits"])
    assert "data" in json.loads(but_one.content[: int(but_one.headers[LENGTH])])["outputs"][1]


def test_any_float_output_of_the_graph_can_be_asked_for(many: TestClient) -> None:
    listed = many.get(f"/v2/models/{MODEL}").json()["outputs"]
    assert [(output["name"], output["shape"]) for output in listed] == [
        ("features", [-1, 288]),
        ("logits", [-1, 3]),
        ("pooled", [-1, 8, 6, 6]),
        ("embedding", [-1, 8]),
    ]
    session = service_of(many).registry.get(None).session
    for as_binary in (False, True):
        document = binary(PIXELS, BATCH.tobytes()) | {"parameters": {"binary_data_output": as_binary}}
        found = tensors(post(many, document, BATCH.tobytes()))
        for name, rows in session.run(BATCH, frozenset(session.outputs)).items():
            np.testing.assert_array_equal(found[name].view(np.uint32), rows.view(np.uint32))


def test_classification_names_the_largest(client: TestClient) -> None:
    def ask(name: str, count: int, as_binary: bool = False) -> Any:
        parameters = {"classification": count, "binary_data": as_binary}
        document = binary(PIXELS, BATCH.tobytes()) | {"outputs": [{"name": name, "parameters": parameters}]}
        return post(client, document, BATCH.tobytes())

    logits = tensors(post(client, binary(PIXELS, BATCH.tobytes()), BATCH.tobytes()))["logits"]
    top = client.post("/predict?top_k=2", content=npy(BATCH), headers={"Content-Type": "application/x-npy"}).json()
    found = tensors(ask("logits", 2))["logits"]
    assert found.shape == (5, 2)
    for row, texts, prediction in zip(logits, found, top["predictions"], strict=True):
        for text, wanted in zip(texts, prediction["top_k"], strict=True):
            value, index, label = text.split(":")
            assert (int(index), label) == (wanted["index"], wanted["label"])
            assert float(value) == pytest.approx(row[int(index)], abs=1e-6)
    assert tensors(ask("logits", 99))["logits"].shape == (5, 3)
    assert "no classes" in ask("features", 4).json()["error"]
    packed = ask("logits", 2, as_binary=True)
    size = int(packed.headers[LENGTH])
    assert packed.content[size:] == elements([text.encode() for text in found.ravel()])
    assert json.loads(packed.content[:size])["outputs"][0]["datatype"] == "BYTES"


def test_nothing_is_compressed_for_a_librarys_own_header(client: TestClient) -> None:
    headers = {LENGTH: "0", "Accept-Encoding": "gzip, deflate, br, zstd"}
    answer = client.post(INFER, content=FILES[0], headers=headers)
    assert answer.status_code == 200 and "content-encoding" not in answer.headers
