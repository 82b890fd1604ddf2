"""An address that cannot be had is told in one line that names the settings, however late it shows."""

from pathlib import Path

import pytest

from service.app import create_app
from service.port import PortError, bind
from service.server import Server
from service.state import create_service
from tests.conftest import settings


@pytest.mark.parametrize("host", ["a..b", "256.1.1.1"])
def test_a_bad_host_is_named(host: str) -> None:
    with pytest.raises(PortError, match=f"SCA_HOST='{host}' SCA_PORT=8000: ."):
        bind(host, 8000)


def test_two_servers_that_start_at_once(models_dir: Path) -> None:
    first = bind("127.0.0.1", 0)
    port = first.getsockname()[1]
    second = bind("127.0.0.1", port)  # as nobody listens yet
    first.listen()
    service = create_service(settings(models_dir, port=port))
    server = Server(create_app(service.settings, service), service)
    server.run([second])
    assert not server.started
    assert [str(error) for error in service.startup_errors] == [
        f"SCA_HOST='127.0.0.1' SCA_PORT={port}: Address already in use"
    ]
    service.registry.close()
    first.close()
