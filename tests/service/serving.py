"""The service's web server on a real socket inside the test, with a spy on its fast lane."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service import model
from service.app import create_app
from service.batch import Outputs, UInt8Array
from service.lane import Lane
from service.server import Server
from service.state import Service, create_service
from tests.conftest import settings
from tests.pictures import png

MODEL = "cifar10-shallow"


@dataclass
class Serving:
    """A running server.

    Attributes:
        port: Where it listens.
        service: What its routes share.
        server: The web server.
        taken: What the lane said to each request that it was offered.
    """

    port: int
    service: Service
    server: Server
    taken: list[bool] = field(default_factory=list)

    def sample(self, name: str, **labels: str) -> float:
        """Reads one sample of the metrics; 0 if it has not been counted yet."""
        return self.service.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def serving(models_dir: Path, at_once_s: float = 0.0, **changes: Any) -> AsyncIterator[Serving]:
    """Runs a server in this loop; without runs at once, which a test that holds a run would never get past."""
    service = create_service(settings(models_dir, **changes))
    server = Server(create_app(service.settings, service), service)
    server.config.load()

    def connect() -> asyncio.Protocol:
        kind: Any = server.config.http_protocol_class
        protocol: asyncio.Protocol = kind(config=server.config, server_state=server.server_state, app_state={})
        return protocol

    service.registry.start(service.startup_errors.append)
    while not service.registry.ready:
        assert not service.startup_errors
        await asyncio.sleep(0.01)
    listener = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    running = Serving(listener.sockets[0].getsockname()[1], service, server)
    take = Lane.take
    with pytest.MonkeyPatch.context() as patch:

        def spy(lane: Lane, *arguments: Any) -> bool:
            running.taken.append(take(lane, *arguments))
            return running.taken[-1]

        patch.setattr(Lane, "take", spy)
        patch.setattr(model, "_AT_ONCE_S", at_once_s)
        try:
            yield running
        finally:
            listener.close()
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await asyncio.to_thread(service.registry.close)
            service.pool.shutdown()


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def post(self, path: str, body: bytes, **headers: str) -> None:
        """Sends a request whole; underscores in header names stand for hyphens."""
        self.writer.write(request(path, body, **headers))

    async def answer(self) -> Answer:
        """Reads one answer."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode()
        lines = head.split("\r\n")[:-2]
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 10)
        return Answer(int(lines[0].split()[1]), headers, body)

    async def ask(self, path: str, body: bytes, **headers: str) -> Answer:
        """Sends a request and reads its answer."""
        self.post(path, body, **headers)
        return await self.answer()


def request(path: str, body: bytes, **headers: str) -> bytes:
    """Writes a request with an image."""
    fields = {"Host": "x", "Content_Type": "image/png", "Content_Length": str(len(body))} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


@asynccontextmanager
async def client(running: Serving) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def run(models_dir: Path, scenario: Callable[[Serving], Awaitable[None]], **changes: Any) -> None:
    """Runs a scenario against a server, and looks whether it left anything behind."""

    async def main() -> None:
        async with serving(models_dir, **changes) as running:
            await scenario(running)
            await until(lambda: running.sample("sca_inflight_images") == 0)
            assert running.sample("sca_queue_images", model=MODEL) == 0
            assert not running.server.server_state.tasks

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


class Held:
    """Holds the default model's runs until `open` is set."""

    def __init__(self, running: Serving, fault: Exception | None = None) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        batcher = running.service.registry.get(None).batcher
        self._run, self._fault = batcher._run, fault
        batcher._run = self

    def __call__(self, batch: UInt8Array, wants: frozenset[str]) -> Outputs:
        self.entered.set()
        assert self.open.wait(20)
        if self._fault is not None:
            raise self._fault
        return self._run(batch, wants)


async def full(running: Serving, busy: Client, waiting: Client) -> Held:
    """Fills the default model with a run that is held, and a queue of one image with another request."""
    held = Held(running)
    busy.post("/predict", png(), X_Request_Id="busy")
    await until(held.entered.is_set)
    waiting.post("/predict", png(), X_Request_Id="waiting")
    await until(lambda: running.sample("sca_queue_images", model=MODEL) == 1)
    return held
