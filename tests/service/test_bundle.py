"""A bundle that differs from its manifest in any way is refused, and the message names the file."""

import io
import json
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
import pytest
from onnx import helper

from service import devices
from service.bundle import BundleError, find_versions, load_bundle
from service.devices import Device, DeviceError
from service.npy import PARSING, read_npy
from service.session import Session
from tests.bundles import write_bundle, write_manifest


@pytest.fixture
def folder(models_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models_dir / "mnist-shallow" / "1", tmp_path / "mnist-shallow" / "1"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "manifest.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Session(load_bundle(folder), "cpu", 1).check_golden()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["layer1_decoder", "layer1_encoder"])
@pytest.mark.parametrize("fault", ["pickled", "missing", "too few", "too small", "of another type", "no archive"])
def test_filters_that_cannot_be_drawn_are_refused_at_the_start(folder: Path, fault: str, kind: str) -> None:
    file = folder / "filters.npz"
    arrays = dict(np.load(file))
    filters = arrays.pop(kind)
    bad = {
        "pickled": np.array([{"a": 1}], dtype=object),
        "too few": filters[:5],
        "too small": filters[..., :3],
        "of another type": filters.astype(np.float64),
    }
    np.savez(file, **(arrays | ({kind: bad[fault]} if fault in bad else {})))
    if fault == "no archive":
        file.write_bytes(b"PK")
    write_manifest(folder, json.loads((folder / "manifest.json").read_text()))
    assert refusal(folder).startswith(f"{file}: ")


@pytest.mark.parametrize(("cpu", "device"), [("avx2", "cpu"), ("avx512", "cpu"), ("cuda", "auto"), ("cuda", "cpu")])
def test_the_direct_form_is_for_processors_that_multiply_fast(
    cpu: str, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "has_avx512", lambda: cpu == "avx512")
    there = [devices.CUDA] if cpu == "cuda" else []
    monkeypatch.setattr(ort, "get_available_providers", lambda: [*there, devices.CPU])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    read: list[str] = []
    plain = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read.append(file.name) or plain(file))  # type: ignore[func-returns-value]
    taken = "model.direct.onnx" if cpu == "avx512" else "model.onnx"
    bundle = load_bundle(write_bundle(tmp_path, fast=True, direct=True))
    read.clear()
    session = Session(bundle, device, 1)
    # an onnxruntime that could have used a GPU finds none here, and goes back to the form for the CPU
    assert read == ["model.direct.onnx"] * (device == "auto") + [taken]
    assert session.file == taken and session.check_golden().relative_error < 1e-5
    assert Session(bundle, device, 1, precision="fast").file == "model.fast.onnx"
    assert Session(load_bundle(write_bundle(tmp_path, version="2")), device, 1).file == "model.onnx"


def test_a_direct_form_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path, direct=True)
    edit(folder, lambda document: document["files"].pop("model.direct.onnx"))
    assert "files does not list model.direct.onnx" in refusal(folder)


def test_a_good_bundle_loads(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert (bundle.name, bundle.version, bundle.shape) == ("mnist-shallow", "1", (12, 12, 1))
    session = Session(bundle, "cpu", 1)
    assert session.check_golden().ok and session.provider == "CPUExecutionProvider"


@pytest.mark.parametrize("name", ["model.onnx", "filters.npz", "golden.npz", "README.md"])
def test_one_flipped_bit_is_noticed(folder: Path, name: str) -> None:
    expected = json.loads((folder / "manifest.json").read_text())["files"][name]["sha256"]
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    assert name in refusal(folder) and expected in refusal(folder)


def test_a_cut_or_missing_file_is_noticed(folder: Path) -> None:
    file = folder / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    assert "model.onnx" in refusal(folder) and "bytes" in refusal(folder)
    file.unlink()
    assert "model.onnx" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m.pop("labels"), "labels"),
        (lambda m: m.update(schema_version=2), "schema_version"),
        (lambda m: m.pop("version"), "version"),
        (lambda m: m.update(name="other"), "says other"),
        (lambda m: m.update(labels=["a"]), "logits"),
        (lambda m: m.update(feature_dim=7), "features"),
        (lambda m: m.update(dataset="other"), "sca.dataset"),
        (lambda m: m["input"].update(color_mode="P"), "color_mode"),
        (lambda m: m["input"].update(height=14), "images"),
        (lambda m: m["input"].update(channels=3), "channels"),
        (lambda m: m["input"]["resize"].update(filter="nearest"), "filter"),
        (lambda m: m["files"].pop("golden.npz"), "golden.npz"),
        (lambda m: m["files"].update({"../x": {"sha256": "0" * 64, "bytes": 0}}), "../x"),
        (lambda m: m["files"].update({"/etc/passwd": {"sha256": "0" * 64, "bytes": 0}}), "/etc/passwd"),
    ],
)
def test_a_manifest_that_lies_is_noticed(folder: Path, change: Callable[[dict[str, Any]], object], named: str) -> None:
    edit(folder, change)
    assert named in refusal(folder)


def test_a_manifest_that_is_no_json_or_missing_is_noticed(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")
    assert "not JSON" in refusal(folder)
    (folder / "manifest.json").unlink()
    assert "manifest.json" in refusal(folder)


def test_a_link_out_of_the_bundle_is_refused(folder: Path) -> None:
    outside = folder.parent.parent / "outside"
    (folder / "README.md").rename(outside)
    (folder / "README.md").symlink_to(outside)
    assert "leads out" in refusal(folder)


def rewrite(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    """Changes the graph and makes the manifest's sums right again."""
    model = onnx.load(folder / "model.onnx")
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    write_manifest(folder, json.loads((folder / "manifest.json").read_text()))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m.ClearField("metadata_props"), "metadata sca."),
        (lambda m: helper.set_model_props(m, {"sca.schema_version": "1"}), "metadata sca."),
        (lambda m: m.opset_import[0].__setattr__("version", 999), "does not load"),
        (lambda m: m.graph.ClearField("node"), "does not load"),
    ],
)
def test_a_wrong_graph_is_refused(folder: Path, change: Callable[[onnx.ModelProto], object], named: str) -> None:
    rewrite(folder, change)
    assert "model.onnx" in refusal(folder) and named in refusal(folder)


def test_weights_in_other_files_are_refused(folder: Path) -> None:
    def move_weights_out(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../secret")

    rewrite(folder, move_weights_out)
    assert "other files" in refusal(folder)


def test_pickles_are_never_read(folder: Path) -> None:
    np.savez(folder / "golden.npz", images=np.array([object()], object), allow_pickle=True)
    write_manifest(folder, json.loads((folder / "manifest.json").read_text()))
    assert "golden.npz" in refusal(folder)


def test_cuda_that_is_not_there_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(DeviceError, match="CUDAExecutionProvider"):
        Session(load_bundle(folder), "cuda", 1)


def test_versions_compare_as_numbers(tmp_path: Path) -> None:
    for version in ("9", "10", "2"):
        write_bundle(tmp_path, "tiny", version)
    (tmp_path / "tiny" / "draft").mkdir()
    (tmp_path / "tiny" / "draft" / "manifest.json").write_text("{}")
    (tmp_path / "README.md").write_text("")
    assert find_versions(tmp_path) == {"tiny": ["10", "9", "2"]}
    assert find_versions(tmp_path / "none") == {}


@pytest.mark.parametrize("written", [False, True])
def test_a_copy_of_a_version_is_another_version(folder: Path, written: bool) -> None:
    copy = Path(shutil.copytree(folder, folder.parent / "2"))
    if written:
        edit(copy, lambda document: document.update(version="2"))
    bundle = load_bundle(copy)
    assert (bundle.version, bundle.document["version"]) == ("2", "2")
    assert Session(bundle, "cpu", 1).check_golden().ok


def test_headers_are_parsed_by_one_thread_at_a_time(models_dir: Path) -> None:
    bundle = load_bundle(models_dir / "cifar10-shallow" / "10")
    stream = io.BytesIO()
    np.save(stream, np.zeros((1, *bundle.shape), np.uint8))
    with ThreadPoolExecutor(2) as pool:
        with PARSING:
            waiting: list[Future[Any]] = [pool.submit(bundle.arrays, "golden.npz")]
            waiting.append(pool.submit(read_npy, stream.getvalue(), bundle.shape))
            assert not wait(waiting, 0.2).done
        assert not wait(waiting, 10).not_done
        for future in waiting:
            future.result()
