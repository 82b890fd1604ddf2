"""Which provider a session gets when CUDA is there, or only says so."""

import logging
from pathlib import Path
from typing import Any

import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
import pytest

from service import devices
from service.bundle import BundleError, find_versions, load_bundle
from service.devices import CPU, CUDA, DeviceError
from service.session import Session
from tests.bundles import write_bundle

Made = list[list[Any]]
DIGITS = Path(__file__).parents[2] / "models" / "mnist-shallow" / "1"


@pytest.fixture
def folder(models_dir: Path) -> Path:
    name, versions = next(iter(find_versions(models_dir).items()))
    return models_dir / name / versions[0]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """An onnxruntime that knows CUDA, on a machine where no session starts on it."""
    asked: Made = []
    real = ort.InferenceSession

    def session(graph: bytes, options: Any, providers: list[Any], **more: Any) -> Any:
        asked.append(providers)
        if providers != [CPU]:
            raise RuntimeError("no kernel image is available")
        return real(graph, options, providers=providers, **more)

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(ort, "InferenceSession", session)
    return asked


def graphs(providers: list[Any]) -> bool:
    """Whether a session was to capture CUDA graphs."""
    return isinstance(providers[0], tuple) and providers[0][1].get("enable_cuda_graph") == "1"


def test_auto_tries_cuda_without_graphs_then_takes_the_cpu_and_says_so(
    folder: Path, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        session = Session(load_bundle(folder), "auto", 1)
    assert session.provider == CPU
    assert [graphs(asked) for asked in made[:3]] == [True, False, False]
    assert made[2] == [CPU]
    assert any("no kernel image" in str(record.__dict__.get("error")) for record in caplog.records)
    session.warm_up()
    assert session.check_golden().relative_error < 1e-3


def test_cuda_never_ends_on_the_cpu(folder: Path, made: Made) -> None:
    with pytest.raises(BundleError, match="no kernel image"):
        Session(load_bundle(folder), "cuda", 1)
    assert [graphs(asked) for asked in made] == [True, False]


def test_cuda_computes_in_float32(folder: Path, made: Made) -> None:
    with pytest.raises(BundleError):
        Session(load_bundle(folder), "cuda", 1)
    assert all(asked[0][0] == CUDA and asked[0][1]["use_tf32"] == "0" for asked in made)


def test_cuda_is_missed_where_only_integers_are_computed_too(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path, "integers", fast=True)
    with pytest.raises(DeviceError, match="SCA_DEVICE='cuda'"):
        Session(load_bundle(folder), "cuda", 1, precision="fast")


def test_integers_on_the_cpu_are_told_of_where_cuda_was_asked_for(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    devices._tell_of_integers.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert Session(load_bundle(DIGITS), "cuda", 1, precision="fast").provider == CPU
    assert "8-bit graphs are computed on the CPU" in caplog.text
