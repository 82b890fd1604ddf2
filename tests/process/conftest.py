"""The real server as a process of its own, on a free loopback port."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]


class Running:
    """A started server."""

    def __init__(self, models_dir: Path, **settings: object) -> None:
        """Starts it; `settings` are in lower case, without the prefix."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("SCA_")}
        values = {"models_dir": models_dir, "port": 0, "threads": 1, "device": "cpu"} | settings
        environ |= {f"SCA_{name.upper()}": str(value) for name, value in values.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            env=environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = 0
        self.lines: list[str] = []

    def wait_for_port(self) -> None:
        """Reads the log until the server tells its port."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if (entry := json.loads(line))["message"] == "listening":
                self.port = entry["port"]
                return
        raise AssertionError("".join(self.lines) + self.process.communicate()[1])

    def wait_until_ready(self) -> None:
        """Polls readiness."""
        limit = time.monotonic() + 30
        while self.get("/health/ready").status_code != 200:
            assert time.monotonic() < limit
            time.sleep(0.02)

    def get(self, path: str) -> httpx.Response:
        """Asks on a connection of its own."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=20)

    def post(self, path: str, content: bytes, media_type: str = "image/png") -> httpx.Response:
        """Posts on a connection of its own."""
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.post(url, content=content, headers={"Content-Type": media_type}, timeout=20)

    def connect(self) -> socket.socket:
        """Opens a raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def metric(self, line: str) -> float:
        """Reads one sample by its full name with labels; 0 if it is not there."""
        for sample in self.get("/metrics").text.splitlines():
            if sample.startswith(line + " "):
                return float(sample.rsplit(" ", 1)[1])
        return 0.0

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals, then as `end`."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Waits for the end, and returns the exit code; the log must be one JSON object a line."""
        rest, errors = self.process.communicate(timeout=30)
        self.lines += rest.splitlines()
        for line in self.lines:
            assert {"time", "level", "logger", "message"} <= set(json.loads(line)), line
        self.errors = errors
        return self.process.returncode


@contextmanager
def running(models_dir: Path, **settings: object) -> Iterator[Running]:
    """A server that is ready; it has to end with 0, and is killed if the tests did not get that far."""
    server = Running(models_dir, **settings)
    try:
        server.wait_for_port()
        server.wait_until_ready()
        yield server
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


Start = Callable[..., Running]


@pytest.fixture
def start(models_dir: Path) -> Iterator[Start]:
    """Starts servers and ends them after the test."""
    servers: list[Running] = []

    def run(folder: Path = models_dir, wait: bool = True, **settings: object) -> Running:
        server = Running(folder, **settings)
        servers.append(server)
        if wait:
            server.wait_for_port()
            server.wait_until_ready()
        return server

    yield run
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def shared(models_dir: Path) -> Iterator[Running]:
    """One server with short deadlines and small limits, for the tests that do not stop it."""
    with running(models_dir, receive_timeout_s=1, max_body_bytes=200_000, max_header_bytes=8192) as server:
        yield server
    assert server.errors == ""
