"""The bundles that are committed: intact, and over HTTP what training computed."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service import devices
from service.app import create_app
from tests.conftest import TestClient, ready, settings

MODELS = Path(__file__).parents[2] / "models"
BUNDLES = sorted(path.parent for path in MODELS.glob("*/*/manifest.json"))
TOLERANCE = 1e-4
"""Largest difference, relative to the largest value."""

Floats = npt.NDArray[np.float32]

if not BUNDLES:
    pytest.skip(f"no bundle is committed under {MODELS}: nothing that is shipped is tested", allow_module_level=True)

every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: f"{path.parent.name}-{path.name}")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    names = sorted({bundle.parent.name for bundle in BUNDLES})
    with TestClient(create_app(settings(MODELS, default_model=names[0]))) as client:
        yield ready(client)


def golden(bundle: Path) -> tuple[npt.NDArray[np.uint8], Floats, Floats]:
    with np.load(bundle / "golden.npz", allow_pickle=False) as archive:
        return archive["images"], archive["features"], archive["logits"]


def features_of(client: TestClient, bundle: Path, images: npt.NDArray[np.uint8], precision: str = "exact") -> Floats:
    parts = []
    for index, image in enumerate(images):
        stream = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(stream, "PNG")
        parts.append(("images", (f"{index}.png", stream.getvalue(), "image/png")))
    which = {"model": bundle.parent.name, "version": bundle.name, "precision": precision}
    answer = client.post("/features", params=which, files=parts, headers={"Accept": "application/x-npy"})
    assert answer.status_code == 200, answer.text
    rows: Floats = np.load(io.BytesIO(answer.content), allow_pickle=False)
    return rows


def assert_close(got: Floats, wanted: Floats) -> None:
    assert got.shape == wanted.shape
    assert float(np.abs(got - wanted).max()) <= TOLERANCE * float(np.abs(wanted).max())


@every_bundle
def test_every_file_is_the_one_in_the_manifest(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    found = {file.name for file in bundle.iterdir()} - {"manifest.json"}
    assert found == manifest["files"].keys()
    for name, facts in manifest["files"].items():
        data = (bundle / name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (facts["sha256"], facts["bytes"]), name
    assert (manifest["name"], manifest["version"]) == (bundle.parent.name, bundle.name)


@every_bundle
def test_golden_images_by_http_give_what_training_computed(bundle: Path, client: TestClient) -> None:
    images, features, _ = golden(bundle)
    assert len(images) == 16
    assert_close(features_of(client, bundle, images), features)


@every_bundle
def test_golden_images_by_http_give_what_the_fast_graph_gave(bundle: Path, client: TestClient) -> None:
    fast = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["fast"]
    with np.load(bundle / "golden.npz", allow_pickle=False) as archive:
        wanted = archive["fast_features"].astype(np.float32)
    images, exact, _ = golden(bundle)
    got = features_of(client, bundle, images, "fast")
    assert np.abs(got - wanted).max() <= fast["golden_tolerance"] * np.abs(wanted).max()
    off = np.sqrt(np.square(got - exact).mean() / np.square(exact).mean())
    assert 0 < off <= 2 * fast["deviation"]["relative"]


@pytest.mark.parametrize("avx512", [False, True])
def test_processors_that_multiply_faster_get_the_same_from_plain_convolutions(
    avx512: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "has_avx512", lambda: avx512)
    forms = set()
    with TestClient(create_app(settings(MODELS, default_model=BUNDLES[0].parent.name))) as client:
        metrics = ready(client).get("/metrics").text
        for bundle in BUNDLES:
            manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
            file = manifest["direct"]["file"] if avx512 and "direct" in manifest else "model.onnx"
            assert (
                f'model="{bundle.parent.name}",provider="CPUExecutionProvider",sha256="{manifest["files"][file]["sha256"]}"'
                in metrics
            )
            images, features, _ = golden(bundle)
            assert_close(features_of(client, bundle, images), features)
            forms.add(file)
    assert forms == ({"model.onnx", "model.direct.onnx"} if avx512 else {"model.onnx"})


@every_bundle
def test_the_fast_graph_is_as_accurate_to_three_tenths(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    exact, fast = manifest["accuracy"], manifest["fast"]["accuracy"]
    assert {key: exact[key] for key in ("metric", "split", "images")} == {
        key: fast[key] for key in ("metric", "split", "images")
    }
    assert abs(exact["value"] - fast["value"]) <= 0.3
    assert f"{fast['value']:.2f} %" in (bundle / "README.md").read_text(encoding="utf-8")


@every_bundle
def test_a_batch_of_32_gives_what_each_image_gives_alone(bundle: Path, client: TestClient) -> None:
    images, _, _ = golden(bundle)
    many = np.concatenate([images, images[:, ::-1]])  # 32 different ones
    together = features_of(client, bundle, many)
    for index in (0, 15, 16, 31):
        assert_close(features_of(client, bundle, many[index : index + 1]), together[index : index + 1])


@every_bundle
def test_the_card_tells_the_manifests_figure(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    accuracy, card = manifest["accuracy"], (bundle / "README.md").read_text(encoding="utf-8")
    assert f"**{accuracy['value']:.2f} %**" in card and accuracy["conditions"] in card
    assert accuracy["split"] == "test" and accuracy["images"] == 10_000
