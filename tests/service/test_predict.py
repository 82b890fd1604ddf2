"""`POST /predict`: labels, indices and probabilities."""

import numpy as np
import pytest

from tests.bundles import LABELS, smooth_images
from tests.conftest import TestClient, service_of
from tests.pictures import encode, png

PNG = {"Content-Type": "image/png"}


def test_probabilities_are_the_softmax_of_the_models_logits(client: TestClient) -> None:
    golden = service_of(client).registry.get(None).bundle.arrays("golden.npz")
    files = [("images", encode(image, "PNG")) for image in golden["images"]]
    predictions = client.post("/predict?top_k=3", files=files).json()["predictions"]
    raised = np.exp(golden["logits"].astype(float))
    expected = raised / raised.sum(axis=1, keepdims=True)
    for prediction, row in zip(predictions, expected, strict=True):
        assert prediction["index"] == row.argmax()
        assert [entry["index"] for entry in prediction["top_k"]] == np.argsort(-row).tolist()
        for entry in prediction["top_k"]:
            assert entry["label"] == LABELS["RGB"][entry["index"]]
            assert entry["probability"] == pytest.approx(row[entry["index"]], rel=1e-4, abs=1e-7)


def test_the_answer_is_as_documented(client: TestClient) -> None:
    body = client.post("/predict", content=png(), headers=PNG).json()
    assert (body["model"], body["version"], len(body["predictions"])) == ("cifar10-shallow", "10", 1)
    only = body["predictions"][0]
    assert set(only) == {"label", "index", "probability", "top_k"}
    assert only["top_k"] == [{key: only[key] for key in ("label", "index", "probability")}]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("top_k=3", 200),
        ("top_k=0", 400),
        ("top_k=-1", 400),
        ("top_k=4", 400),
        ("top_k=one", 400),
        ("top_k=", 400),
        ("top_k=99999999999999999999", 400),
        ("format=npy", 406),
        ("format=json", 200),
        ("model=none", 404),
    ],
)
def test_query_values(client: TestClient, query: str, status: int) -> None:
    answer = client.post(f"/predict?{query}", content=png(), headers=PNG)
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_skipping(client: TestClient) -> None:
    files = [("images", b"no"), ("images", encode(smooth_images(1, 12, 12, 3)[0], "PNG"))]
    body = client.post("/predict?on_error=skip", files=files).json()
    assert body["indices"] == [1] and [error["index"] for error in body["errors"]] == [0]
    assert len(body["predictions"]) == 1
