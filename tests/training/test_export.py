"""Bundles: checked before they are written, whole or absent, and true to their manifest."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training import untrained
from tests.training.drawn import config, dataset, layer
from tests.training.stereo import drawn_pairs
from training import checkpoints, export, graph, graph_winograd
from training.config import Window
from training.export import OnnxModel, ParityError, TrainedModel, build_checked, next_version, write_bundle

FILES = {"model.onnx", "filters.npz", "golden.npz", "README.md", "manifest.json"}
REPORT = {"accuracy": {"value": 71.5}, "data_license": "none", "training": {"seed": 0}}


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return untrained.model(config("separable"), dataset(12, 10, 3, train=80, test=4))


def write(model: TrainedModel, folder: Path, version: str = "1", card: str = "# card\n") -> Path:
    return write_bundle(model, build_checked(model, version), version, folder, card, REPORT)


def contents(bundle: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in bundle.iterdir()}


def test_a_direct_form_is_kept_if_it_is_another_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_winograd, "LEAST_MAPS", 1)
    first = layer(kernel=9, pool_width=5, pool_stride=4)
    for version, settings in (("1", config("contrast", layers=(first,))), ("2", config("contrast"))):
        model = untrained.model(settings, dataset(16, 16, 3, train=80, test=4))
        exact, direct = (build_checked(model, version, form) for form in (False, True))
        bundle = write_bundle(model, exact, version, tmp_path, "# card\n", REPORT, direct=direct)
        manifest = json.loads((bundle / "manifest.json").read_text())
        assert (exact == direct) == (version == "2")
        if exact == direct:
            assert contents(bundle).keys() == FILES and "direct" not in manifest
        else:
            assert contents(bundle)["model.direct.onnx"] == direct and manifest["files"].keys() >= {"model.direct.onnx"}
            assert manifest["direct"] == {"file": "model.direct.onnx"}


def test_the_manifest_lists_every_file_as_it_is(model: TrainedModel, tmp_path: Path) -> None:
    bundle = write(model, tmp_path, "3")
    assert bundle == tmp_path / "drawn-separable" / "3"
    files = contents(bundle)
    assert files.keys() == FILES
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
    }
    assert manifest["version"] == "3" and manifest["name"] == "drawn-separable" and manifest["schema_version"] == 1
    assert manifest["input"] | {"resize": None} == {
        "height": 12,
        "width": 10,
        "channels": 3,
        "color_mode": "RGB",
        "views": 1,
        "alpha_background": "white",
        "resize": None,
    }
    assert manifest["feature_dim"] == 12 * 6 * 5 and manifest["embedding_dim"] == 12 * 4
    assert manifest["layers"][0]["output_shape"] == [12, 6, 5]
    assert {name: manifest[name] for name in REPORT} == REPORT


def test_the_manifest_of_pairs_says_how_they_are_framed(tmp_path: Path) -> None:
    pair = untrained.model(config("zca", window=Window(12, 2)), drawn_pairs(20, 18, 3))
    bundle = write(pair, tmp_path)
    manifest = json.loads((bundle / "manifest.json").read_text())
    given = manifest["input"]
    assert (given["height"], given["width"], given["channels"], given["views"]) == (20, 18, 6, 2)
    assert given["window"] == {"crop": 12, "reduce": 2} and given["color_mode"] == "RGB"
    (only,) = manifest["layers"]
    assert only["channels"] == 3 and only["output_shape"] == [12, 3, 3]
    assert manifest["feature_dim"] == 2 * 12 * 3 * 3
    with np.load(bundle / "filters.npz", allow_pickle=False) as filters:
        assert filters["layer1_pixels"].shape == filters["layer1_decoder"].shape == (12, 3, 5, 5)
    with np.load(bundle / "golden.npz", allow_pickle=False) as golden:
        np.testing.assert_array_equal(golden["images"], pair.dataset.train.images[:16])
        assert golden["features"].shape == (16, 216)


def test_golden_images_are_training_images_with_their_outputs(model: TrainedModel, tmp_path: Path) -> None:
    bundle = write(model, tmp_path)
    with np.load(bundle / "golden.npz", allow_pickle=False) as golden:
        images, *outputs = (golden[name] for name in ("images", "features", "logits", "embedding"))
    np.testing.assert_array_equal(images, model.dataset.train.images[:16])
    run = OnnxModel((bundle / "model.onnx").read_bytes(), 1)
    for one, other in zip((*run(images), run.embedding(images)), outputs, strict=True):
        assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max()


def test_filters_are_the_layers(tmp_path: Path) -> None:
    deep = untrained.model(config("none", layers=(layer(), layer(maps=6, kernel=3))), dataset(12, 12, 1, 80, 4))
    with np.load(write(deep, tmp_path) / "filters.npz", allow_pickle=False) as archive:
        filters = dict(archive)
    assert filters.keys() == {f"layer{i}_{kind}" for i in (1, 2) for kind in ("decoder", "encoder", "pixels")}
    for index, one in enumerate(deep.extractor.stack(), 1):
        np.testing.assert_array_equal(filters[f"layer{index}_encoder"], one.encoder.detach().numpy())
        np.testing.assert_array_equal(filters[f"layer{index}_decoder"], one.decoder.detach().numpy())
    assert filters["layer2_pixels"].shape == (6, 1, 9, 9)
    assert all(array.dtype == np.float32 for array in filters.values())


def test_writing_again_gives_the_same_bytes(model: TrainedModel, tmp_path: Path) -> None:
    first = contents(write(model, tmp_path / "a"))
    assert contents(write(model, tmp_path / "b")) == first


def test_a_version_that_is_there_is_replaced_whole(model: TrainedModel, tmp_path: Path) -> None:
    write(model, tmp_path, card="# old\n")
    for name in (".1.killed", ".1.busy"):  # half a bundle, of a run that was killed, and of one that is at work
        (tmp_path / "drawn-separable" / name).mkdir()
    os.utime(tmp_path / "drawn-separable" / ".1.killed", (0, 0))
    bundle = write(model, tmp_path, card="# new\n")
    assert (bundle / "README.md").read_text() == "# new\n"
    assert {entry.name for entry in bundle.parent.iterdir()} == {"1", ".1.busy"}, "something was left behind"


@pytest.mark.parametrize("failing", ["golden.npz", "filters.npz"])
def test_a_failure_midway_leaves_the_old_bundle(
    failing: str, model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(write(model, tmp_path, card="# old\n"))
    save = checkpoints.save

    def full(path: Path, arrays: Any) -> None:
        if path.name == failing:
            raise OSError("no space left on device")
        save(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", full)
        with pytest.raises(OSError, match="no space"):
            write(model, tmp_path, card="# new\n")
    folder = tmp_path / "drawn-separable"
    assert contents(folder / "1") == before
    assert [entry.name for entry in folder.iterdir()] == ["1"], "half a bundle was left behind"
    assert (write(model, tmp_path, card="# new\n") / "README.md").read_text() == "# new\n"


def test_a_failed_first_write_leaves_no_bundle(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, arrays: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save", full)
    with pytest.raises(OSError, match="no space"):
        write(model, tmp_path)
    assert not (tmp_path / "drawn-separable" / "1").exists()


@pytest.mark.parametrize("harm", ["probe", "filters", "nan"])
def test_a_graph_that_computes_something_else_is_not_written(
    harm: str, model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = graph.build

    def changed(extractor: Any, probe: Any, *rest: Any) -> bytes:
        if harm == "filters":
            return build(untrained.extractor(model.config, model.dataset, seed=9), probe, *rest)
        weights = probe.weights * (float("nan") if harm == "nan" else 1.001)
        return build(extractor, dataclasses.replace(probe, weights=weights), *rest)

    monkeypatch.setattr(graph, "build", changed)
    with pytest.raises(ParityError, match="features" if harm == "filters" else "logits"):
        write(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_next_version_is_one_above_the_highest(tmp_path: Path) -> None:
    assert next_version(tmp_path, "some") == "1"
    for name in ("1", "9", "10", "old", ".11.123"):
        (tmp_path / "some" / name).mkdir(parents=True)
    assert next_version(tmp_path, "some") == "11"
    assert export.next_version(tmp_path, "other") == "1"
