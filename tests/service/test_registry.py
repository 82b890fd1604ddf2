"""What the service says of a models folder before it loads anything: what is missing, and what lies beside the way."""

import logging
from pathlib import Path

import pytest

from service.bundle import BundleError
from service.state import create_service
from tests.bundles import write_bundle
from tests.conftest import settings


def refusal(models_dir: Path, **changes: object) -> str:
    with pytest.raises(BundleError) as caught:
        create_service(settings(models_dir, **changes))
    return str(caught.value)


def test_a_folder_that_is_not_there_is_named_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(Path("none")) == f"SCA_MODELS_DIR='none': there is no folder {tmp_path / 'none'}"


def test_a_default_model_that_is_not_there_comes_with_those_that_are(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("(there: none)")
    write_bundle(tmp_path, "photos")
    assert refusal(tmp_path).startswith("SCA_DEFAULT_MODEL='cifar10-shallow': no such model in SCA_MODELS_DIR=")
    assert refusal(tmp_path).endswith("(set SCA_DEFAULT_MODEL=photos)")
    write_bundle(tmp_path, "digits")
    assert refusal(tmp_path).endswith("(there: digits, photos)")


def test_what_looks_like_a_bundle_and_is_none_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_bundle(tmp_path).rename(tmp_path / "cifar10-shallow" / "v1")
    write_bundle(tmp_path)
    flat, bare, hidden = tmp_path / "flat", tmp_path / "bare" / "1", tmp_path / "cifar10-shallow" / ".2.half"
    for folder in (flat, bare, hidden):
        folder.mkdir(parents=True)
    (flat / "manifest.json").touch()
    (bare / "model.onnx").touch()
    (hidden / "manifest.json").touch()  # training is about to put it in its place
    with caplog.at_level(logging.WARNING):
        create_service(settings(tmp_path))
    assert [record.getMessage() for record in caplog.records] == [
        f"{flat} is not served: its manifest.json is not in <name>/<version>/",
        f"{tmp_path / 'cifar10-shallow' / 'v1'} is not served: its manifest.json is not in <name>/<version>/",
        f"{bare} is not served: it has no manifest.json",
    ]


def test_more_threads_than_processors_are_told(models_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        create_service(settings(models_dir, threads=1000))
    assert [record.getMessage() for record in caplog.records] == ["SCA_THREADS is more than there are processors"]
