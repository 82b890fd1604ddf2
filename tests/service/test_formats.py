"""Every form of a vector, read by a reader of its own, holds the same numbers, whatever their type and output."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from numpy.typing import NDArray
from safetensors.numpy import load

from service.render import FORMATS
from service.vectors import Vectors, as_rows
from tests.bundles import smooth_images
from tests.conftest import NewClient, TestClient, metric, service_of
from tests.pictures import encode
from tests.service.test_features import npy

BATCH = smooth_images(5, 12, 12, 3, seed=11)
SENT: dict[str, Any] = {"content": npy(BATCH), "headers": {"Content-Type": "application/x-npy"}}
TYPES = {form.name: form.media_type for form in FORMATS}


def from_json(body: bytes, dtype: str) -> NDArray[Any]:
    return np.array(json.loads(body)["features"], dtype)


def from_csr(body: bytes, dtype: str) -> NDArray[Any]:
    tensors = load(body)
    assert tensors["data"].dtype == dtype
    rows = np.zeros(tensors["shape"], dtype)
    for row, (start, stop) in enumerate(zip(tensors["indptr"], tensors["indptr"][1:], strict=False)):
        rows[row, tensors["indices"][start:stop]] = tensors["data"][start:stop]
    return rows


def from_arrow(body: bytes, dtype: str) -> NDArray[Any]:
    column = pa.ipc.open_stream(body).read_all()["features"]
    rows: NDArray[Any] = column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)
    return rows


READ: dict[str, Callable[[bytes, str], NDArray[Any]]] = {
    "json": from_json,
    "npy": lambda body, dtype: np.load(io.BytesIO(body), allow_pickle=False),
    "octet-stream": lambda body, dtype: np.frombuffer(body, dtype).reshape(5, -1),
    "arrow": from_arrow,
    "safetensors": lambda body, dtype: load(body)["features"],
    "csr": from_csr,
}


def computed(client: TestClient) -> dict[str, NDArray[np.float32]]:
    """What the model's session computes for the batch."""
    session = service_of(client).registry.get(None).session
    return session.run(BATCH, frozenset(session.outputs))


def same_bits(actual: NDArray[Any], expected: NDArray[Any]) -> None:
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    np.testing.assert_array_equal(actual.view(np.uint8), np.ascontiguousarray(expected).view(np.uint8))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("output", ["features", "logits", "embedding"])
@pytest.mark.parametrize("form", READ)
def test_every_form_carries_the_same_bits(many: TestClient, form: str, output: str, dtype: str) -> None:
    expected = computed(many)[output].astype(dtype)
    answer = many.post(f"/features?format={form}&output={output}&dtype={dtype}", **SENT)
    assert answer.status_code == 200 and answer.headers["content-type"] == TYPES[form]
    same_bits(READ[form](answer.content, dtype), expected)
    by_accept = SENT["headers"] | {"Accept": TYPES[form]}
    again = many.post(f"/features?output={output}&dtype={dtype}", content=SENT["content"], headers=by_accept)
    assert again.content == answer.content


def test_every_format_is_tried() -> None:
    assert set(READ) == set(TYPES)


def test_base64_comes_in_both_types(many: TestClient) -> None:
    for dtype in ("float32", "float16"):
        body = many.post(f"/features?encoding=base64&dtype={dtype}", **SENT).json()
        rows = np.stack([np.frombuffer(base64.b64decode(text), dtype) for text in body["features"]])
        same_bits(rows, computed(many)["features"].astype(dtype))
        assert body["dtype"] == dtype


def test_float16_halves_every_binary_form(many: TestClient) -> None:
    for form in ("npy", "octet-stream", "arrow", "safetensors"):
        wide, narrow = (many.post(f"/features?format={form}&dtype={dtype}", **SENT) for dtype in ("float32", "float16"))
        assert abs(len(wide.content) - 2 * len(narrow.content)) < 1000, form
        assert len(wide.content) - len(narrow.content) >= BATCH.shape[0] * 288 * 2 - 16


def test_headers_and_json_say_what_the_numbers_are(many: TestClient) -> None:
    octets = many.post("/features?format=octet-stream&dtype=float16&output=embedding", **SENT)
    assert (octets.headers["x-shape"], octets.headers["x-dtype"]) == ("5,8", "float16")
    body = many.post("/features?output=logits", **SENT).json()
    assert (body["output"], body["shape"], body["dtype"]) == ("logits", [5, 3], "float32")
    assert "output" not in many.post("/features", **SENT).json()


def test_outputs_that_are_no_vectors_are_refused_with_those_that_are(many: TestClient) -> None:
    for name in ("nope", "pooled", "winners", "images", ""):
        refused = many.post("/features", params={"output": name}, **SENT)
        assert refused.status_code == 400
        assert refused.json()["detail"].endswith("it has features, logits, embedding.")


def test_more_outputs_take_part_in_the_golden_check(many: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    session = service_of(many).registry.get(None).session
    assert session.check_golden().ok
    expected = session._golden._expected
    monkeypatch.setitem(expected, "embedding", expected["embedding"] + 1)
    assert not session.check_golden().ok


def test_arrow_and_safetensors_name_their_source(many: TestClient) -> None:
    stream = many.post("/features?format=arrow&output=logits", **SENT).content
    schema = pa.ipc.open_stream(stream).schema
    assert schema.metadata == {b"source": b"cifar10-shallow/1/logits"}
    assert schema.names == ["features"]
    assert schema.field("features").type == pa.list_(pa.field("item", pa.float32(), nullable=False), 3)
    for form in ("safetensors", "csr"):
        body = many.post(f"/features?format={form}&output=logits", **SENT).content
        head = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
        assert head["__metadata__"] == {"source": "cifar10-shallow/1/logits"}


def test_skipped_images_leave_each_row_its_place(many: TestClient) -> None:
    files = [("images", data) for data in (encode(BATCH[0], "PNG"), b"%PDF", encode(BATCH[2], "PNG"))]
    arrow = many.post("/features?on_error=skip&format=arrow", files=files)
    assert pa.ipc.open_stream(arrow.content).read_all()["index"].to_pylist() == [0, 2]
    for form in ("safetensors", "csr"):
        answer = many.post(f"/features?on_error=skip&format={form}", files=files)
        assert load(answer.content)["index"].tolist() == [0, 2]
        assert answer.headers["x-failed-indices"] == "1"


def vectors(rows: NDArray[Any]) -> Vectors:
    return Vectors("m", "1", "features", rows)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_sparse_rows_keep_every_bit_and_drop_only_zeros(dtype: str) -> None:
    rows = np.zeros((4, 6), dtype)
    rows[0, [1, 4]] = -0.0, np.nan
    rows[2] = np.inf, -1, 5e-8, 0, 2, 3
    (form,) = (form for form in FORMATS if form.name == "csr")
    body = bytes(form.write(vectors(rows)))
    tensors = load(body)
    same_bits(from_csr(body, dtype), rows)
    assert tensors["indptr"].tolist() == [0, 2, 2, 7, 7] and tensors["data"].size == 7
    assert {tensors[name].dtype.name for name in ("indptr", "indices")} == {"int32"}
    parts = (tensors["data"].astype(np.float32), tensors["indices"], tensors["indptr"])
    dense = scipy.sparse.csr_array(parts, shape=tuple(tensors["shape"])).toarray()
    np.testing.assert_array_equal(dense, rows.astype(np.float32))


def test_float16_rounds_to_nearest_and_overflows_to_infinity() -> None:
    given = np.array([[1 / 3, 2049, 65504, 65520, -1e9]], np.float32)
    rows = as_rows(given, "float16")
    assert rows.dtype == np.float16
    assert rows.tolist() == [[0.333251953125, 2048, 65504, np.inf, -np.inf]]
    assert as_rows(given, "float32") is given


def test_rows_that_are_part_of_a_batch_are_written_whole() -> None:
    batch = np.arange(60, dtype=np.float32).reshape(10, 6)
    for part in (batch[3:5], batch[:, ::2], batch.T):
        for form in FORMATS:
            body = bytes(form.write(vectors(as_rows(part, "float32"))))
            read = READ[form.name](body, "float32") if form.name != "octet-stream" else np.frombuffer(body, "<f4")
            np.testing.assert_array_equal(read.reshape(part.shape), part)


def test_formats_are_the_label_of_their_time(new_client: NewClient) -> None:
    client = new_client()
    for form in TYPES:
        assert client.post(f"/features?format={form}", **SENT).status_code == 200
        assert metric(client, "sca_encode_seconds_count", format=form) == 1


@pytest.mark.parametrize("form", READ)
def test_nothing_is_compressed_for_a_librarys_own_header(many: TestClient, form: str) -> None:
    headers = SENT["headers"] | {"Accept-Encoding": "gzip, deflate, br, zstd"}
    for path in (f"/features?format={form}", "/predict"):
        answer = many.post(path, content=SENT["content"], headers=headers)
        assert "content-encoding" not in answer.headers
        assert int(answer.headers["content-length"]) == len(answer.content)
