"""A bundle with a fast variant: true to its manifest, whole or as before, the same bytes again."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.training import untrained
from tests.training.drawn import LABELS, Images, config, dataset, photos
from training import checkpoints, graph
from training.card import write_card
from training.datasets import Dataset
from training.export import OnnxModel, ParityError, build_checked, write_bundle
from training.fast import __main__ as command
from training.fast import quantise
from training.fast.bundle import GOLDEN_TOLERANCE, add, extend
from training.fast.deviation import compare
from training.folders import load_folder

DATA = dataset(12, 10, 3, train=200, test=60)
TRAINING = {
    "command": "the command",
    "seconds": 1.0,
    "hardware": "a processor",
    "torch": "2",
    "peak_memory_mib": 1,
    "dead_maps": 0,
}


def write(models: Path, data: Dataset = DATA, fast: bool = True) -> Path:
    """A bundle, with a fast variant as training writes it or without."""
    model = untrained.model(config("separable", metric="error"), data)
    accuracy = {"metric": "error", "value": 28.5, "paper": None, "conditions": "Measured once."}
    report = {"accuracy": accuracy, "data_license": "none", "training": TRAINING}
    onnx_bytes, card = build_checked(model, "1"), write_card(model, report)
    more = (lambda folder: extend(folder, data, 1)) if fast else lambda folder: None
    return write_bundle(model, onnx_bytes, "1", models, card, report, more)


def contents(bundle: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in bundle.iterdir()}


def run(bundle: Path, name: str, images: Images) -> tuple[Any, Any]:
    return OnnxModel((bundle / name).read_bytes(), 1)(images)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("models"))


def test_the_manifest_lists_every_file_as_it_is(bundle: Path) -> None:
    files = contents(bundle)
    manifest = json.loads(files.pop("manifest.json"))
    assert "model.fast.onnx" in files
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
    }


def test_accuracy_and_deviation_are_the_fast_graphs(bundle: Path) -> None:
    fast = json.loads((bundle / "manifest.json").read_text())["fast"]
    test = DATA.test
    _, logits = run(bundle, "model.fast.onnx", test.images[:])
    wrong = 100 * float((logits.argmax(1) != test.labels).mean())
    assert fast["accuracy"] == {
        "metric": "error",
        "value": pytest.approx(wrong, abs=1e-3),
        "unit": "%",
        "split": "test",
        "images": 60,
    }
    unseen = DATA.train.images[np.arange(1, 200, 2)]
    exact, _ = run(bundle, "model.onnx", unseen)
    features, _ = run(bundle, "model.fast.onnx", unseen)
    difference = np.abs(exact - features)
    assert fast["deviation"]["mean"] == pytest.approx(difference.mean(), rel=1e-3)
    assert fast["deviation"]["greatest"] == pytest.approx(difference.max(), rel=1e-3)
    share = np.sqrt(np.square(difference).mean() / np.square(exact).mean())
    assert 0 < fast["deviation"]["relative"] == pytest.approx(share, rel=1e-3)
    assert fast["deviation"]["images"] == fast["calibration_images"] == 100


def test_golden_outputs_are_the_fast_graphs_and_the_others_stay(bundle: Path, tmp_path: Path) -> None:
    with np.load(bundle / "golden.npz", allow_pickle=False) as archive:
        golden = dict(archive)
    with np.load(write(tmp_path, fast=False) / "golden.npz", allow_pickle=False) as archive:
        for name in archive.files:
            np.testing.assert_array_equal(golden.pop(name), archive[name])
        images = archive["images"]
    outputs = OnnxModel((bundle / "model.fast.onnx").read_bytes(), 1).outputs(images)
    assert outputs.keys() == {"features", "logits", "embedding"}
    assert golden.keys() == {f"fast_{name}" for name in outputs}
    for name, wanted in outputs.items():
        got = golden[f"fast_{name}"]
        assert np.abs(got - wanted).max() <= 1e-3 * np.abs(wanted).max() < GOLDEN_TOLERANCE * np.abs(wanted).max()


def test_a_bundle_that_has_none_gets_what_training_writes(bundle: Path, tmp_path: Path) -> None:
    old = write(tmp_path, fast=False)
    assert "model.fast.onnx" not in contents(old) and "Fast variant" not in (old / "README.md").read_text()
    for _ in range(2):  # and again the same, once it is there
        add(old, DATA, threads=1)
        assert contents(old) == contents(bundle)
        assert [entry.name for entry in old.parent.iterdir()] == ["1"], "something was left behind"


def test_the_card_tells_accuracy_and_deviation_once(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    fast = json.loads((bundle / "manifest.json").read_text())["fast"]
    _, found, section = card.partition("## Fast variant\n")
    section, _, after = section.partition("\n## ")
    section = " ".join(section.split())
    assert found and "## Fast variant" not in after and after.startswith("Limits")
    assert f"Test error {fast['accuracy']['value']:.2f} %" in section
    assert f"{fast['deviation']['greatest']:g} at most" in section


def test_a_fast_graph_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write(tmp_path, fast=False)
    before = contents(old)
    other = untrained.model(config("separable"), DATA, seed=9)
    wrong = graph.build(other.extractor, other.probe, *other.size, other.facts())
    monkeypatch.setattr(quantise, "build", lambda *given: wrong)
    with pytest.raises(ParityError, match="deviate"):
        add(old, DATA, threads=1)
    assert contents(old) == before and [entry.name for entry in old.parent.iterdir()] == ["1"]


def test_a_failure_midway_leaves_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write(tmp_path, fast=False)
    before = contents(old)

    def full(path: Path, arrays: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save", full)
    with pytest.raises(OSError, match="no space"):
        add(old, DATA, threads=1)
    assert contents(old) == before and [entry.name for entry in old.parent.iterdir()] == ["1"]


def test_deviation_of_a_graph_from_itself_is_none() -> None:
    model = untrained.model(config("separable"), DATA)
    exact = OnnxModel(graph.build(model.extractor, model.probe, *model.size, model.facts()), 1)
    found = compare(exact, exact, DATA.train.images, np.arange(70))
    assert found == {"mean": 0.0, "greatest": 0.0, "relative": 0.0, "same_class": 100.0, "images": 70}


def write_own(folder: Path, labels: Sequence[str]) -> None:
    drawn = photos(40, 12, 12, 3, seed=4)
    for index, (image, label) in enumerate(zip(drawn.images, drawn.labels, strict=True)):
        file = folder / ("train" if index < 32 else "test") / labels[label] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)


def test_the_command_refuses_images_with_other_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_own(tmp_path / "own", "0123")
    old = write(tmp_path / "models", dataset(12, 12, 3, train=60, test=4), fast=False)
    assert command.main([str(old), "--folder", str(tmp_path / "own")]) == 1
    assert "other labels" in capsys.readouterr().err
    assert "fast" not in json.loads((old / "manifest.json").read_text())


def test_the_command_refuses_other_images_with_the_same_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tuple(sorted(LABELS))
    write_own(tmp_path / "own", labels)
    other = dataclasses.replace(dataset(12, 12, 3, train=60, test=4), label_names=labels)
    old = write(tmp_path / "models", other, fast=False)
    assert command.main([str(old), "--folder", str(tmp_path / "own"), "--threads", "1"]) == 1
    assert capsys.readouterr().err == f"error: {old} has learnt from other images than the drawn that is given\n"
    assert "fast" not in json.loads((old / "manifest.json").read_text())


def test_the_command_takes_images_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_own(tmp_path / "own", sorted(LABELS))
    old = write(tmp_path / "models", load_folder("own", tmp_path / "own", 12, "RGB"), fast=False)
    assert command.main([str(old), "--folder", str(tmp_path / "own"), "--threads", "1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((old / "manifest.json").read_text())["fast"]
    assert printed["accuracy"]["images"] == 8 and printed["calibration_images"] == 16


@pytest.mark.parametrize("harm", ["no bundle", "no data", "{", "{}"])
def test_the_command_says_in_one_line_what_is_missing(
    harm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "none" / "1" if harm == "no bundle" else write(tmp_path, fast=False)
    if harm in ("{", "{}"):
        (old / "manifest.json").write_text(harm)
    assert command.main([str(old), "--folder", str(tmp_path / "nothing")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("threads", ["-1", "99999"])
def test_threads_beyond_reason_are_refused(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["models/any/1", "--threads", threads])
    assert "--threads must be from 0 to 1024" in capsys.readouterr().err
