"""Pairs of images: trained, exported and served, their features over HTTP are torch's."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from service.app import create_app
from tests.conftest import TestClient, ready, settings
from tests.training.stereo import stereo_config, write_rendered
from training import checkpoints, whitening
from training.datasets import load
from training.framing import Framing
from training.pipeline import Pipeline
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value."""

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Part = tuple[str, tuple[str, bytes, str]]


@dataclass(frozen=True)
class Served:
    """A stereo model that was trained here and is served.

    Attributes:
        client: of the service.
        pairs: uint8 (N, 96, 96, 2), of toys that training has not seen.
        features: (N, D) by torch, with the weights of the run's checkpoints.
        logits: (N, K).
    """

    client: TestClient
    pairs: Pixels
    features: Floats
    logits: Floats


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("stereo")
    data = load("rendered-stereo", write_rendered(folder / "rendered-stereo"))
    run = stereo_config()
    Pipeline(run, data, folder / "run", folder / "models", "").run()
    layer = SparseConvAutoencoder(run.layers[0], 1, 0)
    state = checkpoints.load(folder / "run" / "layer1.npz")
    layer.load_state_dict({k.removeprefix("layer."): v for k, v in state.items() if k.startswith("layer.")})
    fitted = whitening.restore(checkpoints.load(folder / "run" / "whitening.npz"), run)
    network = FeatureExtractor(fitted, [layer], Framing(2, run.window))
    probe = checkpoints.load(folder / "run" / "probe.npz")
    pairs = np.ascontiguousarray(data.test.images[:150:15])
    features = network(torch.from_numpy(pairs))
    logits = features @ probe["weights"] + probe["bias"]
    with TestClient(create_app(settings(folder / "models", default_model=run.name))) as client:
        yield Served(ready(client), pairs, features.numpy(), logits.numpy())


def png(image: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def views(pairs: Pixels) -> list[bytes]:
    """Left, right, left, right, … as files."""
    return [png(pair[..., view]) for pair in pairs for view in range(2)]


def parts(files: list[bytes]) -> list[Part]:
    return [("images", (f"{i}.png", data, "image/png")) for i, data in enumerate(files)]


def features_of(served: Served, files: list[bytes]) -> Floats:
    answer = served.client.post("/features", files=parts(files), headers={"Accept": "application/x-npy"})
    assert answer.status_code == 200, answer.text
    rows: Floats = np.load(io.BytesIO(answer.content), allow_pickle=False)
    return rows


def assert_close(got: Floats, wanted: Floats) -> None:
    assert got.shape == wanted.shape
    assert float(np.abs(got - wanted).max()) <= TOLERANCE * float(np.abs(wanted).max())


def test_features_of_pairs_by_http_are_torchs(served: Served) -> None:
    assert_close(features_of(served, views(served.pairs)), served.features)
    assert_close(features_of(served, views(served.pairs[4:5])), served.features[4:5])


def test_pairs_as_json_and_as_an_array_are_the_same(served: Served) -> None:
    as_files = features_of(served, views(served.pairs))
    stream = io.BytesIO()
    np.save(stream, served.pairs)
    array = served.client.post(
        "/features",
        content=stream.getvalue(),
        headers={"Content-Type": "application/x-npy", "Accept": "application/x-npy"},
    )
    np.testing.assert_array_equal(np.load(io.BytesIO(array.content)), as_files)
    texts = [base64.b64encode(data).decode() for data in views(served.pairs)]
    answer = served.client.post("/features", json={"images": texts})
    assert answer.json()["shape"] == list(as_files.shape)
    np.testing.assert_allclose(answer.json()["features"], as_files, rtol=1e-6)


def test_each_half_of_the_features_is_one_views(served: Served) -> None:
    files = views(served.pairs[:1])
    (there,), (back,) = features_of(served, files), features_of(served, files[::-1])
    half = len(there) // 2
    assert_close(back, np.concatenate([there[half:], there[:half]]))
    assert not np.array_equal(there[:half], there[half:])


def test_views_of_another_size_are_brought_to_the_models(served: Served) -> None:
    large = [png(np.kron(pair[..., view], np.ones((2, 2), np.uint8))) for pair in served.pairs[:3] for view in range(2)]
    got, wanted = features_of(served, large), served.features[:3]
    assert got.shape == wanted.shape
    cosine = (got * wanted).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.95, "twice the pixels, the same picture"


def test_classes_and_probabilities_are_torchs_one_a_pair(served: Served) -> None:
    answer = served.client.post("/predict", files=parts(views(served.pairs)))
    predictions = answer.json()["predictions"]
    assert len(predictions) == len(served.pairs)
    for got, wanted in zip(predictions, torch.from_numpy(served.logits).softmax(1), strict=True):
        assert got["probability"] == pytest.approx(float(wanted.max()), abs=1e-3)
        assert float(wanted[got["index"]]) == pytest.approx(float(wanted.max()), abs=1e-3)


@pytest.mark.parametrize("route", ["/features", "/predict"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_view_without_its_other_is_refused(served: Served, route: str, count: int) -> None:
    answer = served.client.post(route, files=parts(views(served.pairs)[:count]))
    assert answer.status_code == 400 and f"groups of 2; the request has {count}" in answer.json()["detail"]
    alone = served.client.post(route, content=views(served.pairs)[0], headers={"Content-Type": "image/png"})
    assert alone.status_code == 400


def test_a_broken_view_takes_only_its_pair_away(served: Served) -> None:
    files = views(served.pairs[:3])
    files[3] = files[3][: len(files[3]) // 2]
    failed = served.client.post("/features", files=parts(files))
    assert failed.status_code == 422 and [error["index"] for error in failed.json()["errors"]] == [3]
    answer = served.client.post("/features?on_error=skip", files=parts(files)).json()
    assert answer["indices"] == [0, 2] and [error["index"] for error in answer["errors"]] == [3]
    assert_close(np.array(answer["features"], np.float32), served.features[[0, 2]])


def test_the_service_tells_how_pairs_are_to_be_sent(served: Served) -> None:
    given = served.client.get("/models/stereo").json()["manifest"]["input"]
    assert (given["height"], given["width"], given["channels"], given["views"]) == (96, 96, 2, 2)
    assert given["window"] == {"crop": 64, "reduce": 4} and given["resize"]["mode"] == "cover"


def test_the_filters_of_a_stereo_model_are_drawn(served: Served) -> None:
    for kind in ("decoder", "encoder"):
        answer = served.client.get("/filters", params={"kind": kind})
        with Image.open(io.BytesIO(answer.content)) as picture:
            picture.load()
            assert picture.size == (100, 100)  # 4 x 4 of 5 x 5, a gap of 1 between, four times as large
