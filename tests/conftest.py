"""Bundles and clients that several tests share."""

import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.logs import ignore_image_warnings
from service.settings import Settings
from service.state import Service
from tests.bundles import write_bundle

with warnings.catch_warnings():
    # Newer releases ask for another HTTP library here; this one serves the tests as well.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient as TestClient

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: here it is sent and awaited
    signal.signal(signal.SIGINT, signal.default_int_handler)

NewClient = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def pillow_warns_as_in_production() -> None:
    """Leaves Pillow's remarks on odd files out of the rule that warnings are errors, as the server leaves them out."""
    ignore_image_warnings()


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, the default one in RGB and in three versions, the other grey over black."""
    folder = tmp_path_factory.mktemp("models")
    for version in ("2", "9", "10"):
        write_bundle(folder, version=version)
    write_bundle(folder, "mnist-shallow", color_mode="L", alpha_background="black")
    return folder


@pytest.fixture(scope="session")
def client(models_dir: Path) -> Iterator[TestClient]:
    """A ready service with default settings, shared by tests that do not change it."""
    with TestClient(create_app(settings(models_dir))) as client:
        yield ready(client)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A ready service whose model has more outputs than the two that every model has."""
    folder = tmp_path_factory.mktemp("models")
    write_bundle(folder, embedding=True)
    with TestClient(create_app(settings(folder))) as client:
        yield ready(client)


@pytest.fixture
def new_client(models_dir: Path) -> Iterator[NewClient]:
    """Starts a service of its own with other settings, and waits until it is ready."""
    clients: list[TestClient] = []

    def start(**changes: Any) -> TestClient:
        client = TestClient(create_app(settings(models_dir, **changes)))
        client.__enter__()
        clients.append(client)
        return ready(client)

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def settings(models_dir: Path, **changes: Any) -> Settings:
    """Makes settings for a test: on the CPU, with one thread."""
    values: dict[str, Any] = {"models_dir": models_dir, "device": "cpu", "threads": 1}
    return Settings(**(values | changes))


def ready(client: TestClient) -> TestClient:
    """Waits until the service is ready."""
    limit = time.monotonic() + 30
    while client.get("/health/ready").status_code != 200:
        assert time.monotonic() < limit, client.get("/health/ready").text
        time.sleep(0.01)
    return client


def service_of(client: TestClient) -> Service:
    """Returns the service behind a client."""
    service = client.app.state.service  # type: ignore[attr-defined]  # TestClient types its app as bare ASGI
    assert isinstance(service, Service)
    return service


def metric(client: TestClient, name: str, **labels: str) -> float:
    """Reads one sample; 0 if it has not been counted yet."""
    return service_of(client).metrics.registry.get_sample_value(name, labels) or 0.0
