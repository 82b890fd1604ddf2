"""`GET /models` shows the manifests, with versions and which is default."""

import json

from tests.conftest import TestClient, service_of


def test_models_are_listed_with_the_numerically_highest_version_first(client: TestClient) -> None:
    body = client.get("/models").json()
    assert body["default"] == "cifar10-shallow"
    first, second = body["models"]
    assert (first["name"], first["version"], first["versions"], first["default"]) == (
        "cifar10-shallow",
        "10",
        ["10", "9", "2"],
        True,
    )
    assert (second["name"], second["version"], second["default"]) == ("mnist-shallow", "1", False)


def test_one_model_shows_its_manifest_as_it_is_on_disk(client: TestClient) -> None:
    bundle = service_of(client).registry.get("mnist-shallow").bundle
    body = client.get("/models/mnist-shallow").json()
    assert body["manifest"] == json.loads((bundle.path / "manifest.json").read_text())
    assert client.get("/models/none").status_code == 404
