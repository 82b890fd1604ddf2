"""Train, export, serve: what comes over HTTP is what torch computes."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from service.app import create_app
from tests.conftest import TestClient, ready, settings
from tests.training.drawn import config, dataset, layer, photos
from training import checkpoints, whitening
from training.config import RunConfig
from training.pipeline import Pipeline
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Served:
    """A model that was trained here and is served.

    Attributes:
        client: of the service.
        name: of the model.
        images: uint8 (N, H, W, C), which training has not seen.
        features: (N, D) by torch, with the weights of the run's checkpoints.
        logits: (N, K).
    """

    client: TestClient
    name: str
    images: npt.NDArray[np.uint8]
    features: Floats
    logits: Floats


def trained(run: RunConfig, channels: int, folder: Path, models: Path) -> tuple[Floats, Floats, npt.NDArray[np.uint8]]:
    """Features, logits and images; torch's outputs come from the checkpoints, not from the export."""
    Pipeline(run, dataset(14, 11, channels, train=128), folder, models, "").run()
    layers: list[SparseConvAutoencoder] = []
    for index, wanted in enumerate(run.layers, 1):
        state = checkpoints.load(folder / f"layer{index}.npz")
        one = SparseConvAutoencoder(wanted, layers[-1].config.maps if layers else channels, 0)
        one.load_state_dict({k.removeprefix("layer."): v for k, v in state.items() if k.startswith("layer.")})
        layers.append(one)
    network = FeatureExtractor(
        whitening.restore(checkpoints.load(folder / "whitening.npz"), run),
        layers,
        mirrored=run.mirrored,
        all_layers=run.all_layers,
    )
    images = photos(40, 14, 11, channels, seed=9).images
    probe = checkpoints.load(folder / "probe.npz")
    features = network(torch.from_numpy(images))
    return features.numpy(), (features @ probe["weights"] + probe["bias"]).numpy(), images


DEEP = (layer(maps=6, epochs=1), layer(maps=9, kernel=3, epochs=1))
RUNS = {
    "rgb": (config("separable", name="rgb"), 3),
    "grey": (config("none", name="grey"), 1),
    "deep": (config("zca", name="deep", layers=DEEP), 3),
    "all-layers": (config("separable", name="all-layers", layers=DEEP, all_layers=True), 3),
    "mirrored": (config("separable", name="mirrored", mirrored=True), 3),
}


@pytest.fixture(scope="module", params=sorted(RUNS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    run, channels = RUNS[request.param]
    folder = tmp_path_factory.mktemp(run.name)
    features, logits, images = trained(run, channels, folder / "run", folder / "models")
    with TestClient(create_app(settings(folder / "models", default_model=run.name))) as client:
        yield Served(ready(client), run.name, images, features, logits)


def png(image: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(stream, "PNG")
    return stream.getvalue()


def upload(images: npt.NDArray[np.uint8]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("images", (f"{i}.png", png(image), "image/png")) for i, image in enumerate(images)]


def assert_close(got: Floats, wanted: Floats) -> None:
    assert got.shape == wanted.shape
    assert float(np.abs(got - wanted).max()) <= TOLERANCE * float(np.abs(wanted).max())


def features_of(served: Served, images: npt.NDArray[np.uint8], output: str = "features") -> Floats:
    headers = {"Accept": "application/x-npy"}
    answer = served.client.post("/features", params={"output": output}, files=upload(images), headers=headers)
    assert answer.status_code == 200, answer.text
    rows: Floats = np.load(io.BytesIO(answer.content), allow_pickle=False)
    return rows


def test_features_by_http_are_torchs(served: Served) -> None:
    assert_close(features_of(served, served.images), served.features)


def test_the_embedding_by_http_is_the_mean_of_the_top_maps_in_quadrants(served: Served) -> None:
    layers = served.client.get(f"/models/{served.name}").json()["manifest"]["layers"]
    shape = layers[-1]["output_shape"]
    maps = served.features[:, -math.prod(shape) :].reshape(-1, *shape)
    rows, columns = ((slice(0, (side + 1) // 2), slice(side // 2, side)) for side in maps.shape[2:])
    means = [maps[:, :, top, left].mean((2, 3)) for top in rows for left in columns]
    assert_close(features_of(served, served.images, "embedding"), np.stack(means, axis=2).reshape(len(maps), -1))


def test_one_image_alone_has_the_features_it_has_in_a_batch(served: Served) -> None:
    together = features_of(served, served.images[:32])
    for index in (0, 31):
        answer = served.client.post(
            "/features",
            content=png(served.images[index]),
            headers={"Content-Type": "image/png", "Accept": "application/x-npy"},
        )
        alone: Floats = np.load(io.BytesIO(answer.content), allow_pickle=False)
        assert_close(alone, together[index : index + 1])


def test_the_fast_graph_by_http_is_near(served: Served) -> None:
    params, headers = {"precision": "fast"}, {"Accept": "application/x-npy"}
    answer = served.client.post("/features", params=params, files=upload(served.images), headers=headers)
    assert answer.status_code == 200 and answer.headers["X-Model-Precision"] == "fast", answer.text
    rows: Floats = np.load(io.BytesIO(answer.content), allow_pickle=False)
    off = np.sqrt(np.square(rows - served.features).mean() / np.square(served.features).mean())
    assert 1e-4 < off < 0.05
    predictions = served.client.post("/predict", params=params, files=upload(served.images)).json()["predictions"]
    chances = torch.from_numpy(served.logits).softmax(1)
    for got, wanted in zip(predictions, chances, strict=True):
        assert got["probability"] == pytest.approx(float(wanted[got["index"]]), abs=0.1)


def test_classes_and_probabilities_by_http_are_torchs(served: Served) -> None:
    answer = served.client.post("/predict", files=upload(served.images))
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    chances = torch.from_numpy(served.logits).softmax(1)
    assert len(predictions) == len(served.images)
    for got, wanted in zip(predictions, chances, strict=True):
        assert got["probability"] == pytest.approx(float(wanted.max()), abs=1e-3)
        assert float(wanted[got["index"]]) == pytest.approx(float(wanted.max()), abs=1e-3)


def test_filters_are_served(served: Served) -> None:
    answer = served.client.get("/filters", params={"kind": "decoder"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as picture:
        picture.load()


def test_the_service_reports_the_manifest_that_training_wrote(served: Served) -> None:
    facts = served.client.get(f"/models/{served.name}").json()
    text = str(facts)
    for words in ("north", "layer", str(served.features.shape[1]), "drawn"):
        assert words in text
