"""Pictures are drawn one at a time, and neither hold up images nor are drawn for nobody."""

import asyncio
import threading
from pathlib import Path

import pytest

from service.errors import QueueFull
from service.pictures import MOST_WAITING, Pictures
from tests.conftest import TestClient
from tests.pictures import png
from tests.service.serving import Client, Serving, client, run, until

HEAD = b"GET /filters/%d HTTP/1.1\r\nHost: x\r\n\r\n"


class Drawn:
    """Holds what is drawn, and counts it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.count = threading.Event(), 0
        monkeypatch.setattr("service.routes.filters.draw_filter", self)

    def __call__(self, *_: object) -> bytes:
        self.count += 1
        assert self.open.wait(20)
        return b"picture"


async def ask(one: Client, index: int) -> None:
    one.writer.write(HEAD % index)


def test_images_are_answered_while_pictures_wait(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(running: Serving) -> None:
        drawn = Drawn(monkeypatch)
        async with client(running) as one, client(running) as two, client(running) as other:
            await ask(one, 0)
            await ask(two, 1)
            await until(lambda: drawn.count == 1)
            assert (await other.ask("/predict", png(size=200))).status == 200  # decoded in the pool
            drawn.open.set()
            assert [(await each.answer()).body for each in (one, two)] == [b"picture"] * 2

    run(models_dir, scenario)


def test_who_leaves_gets_no_picture_drawn(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(running: Serving) -> None:
        drawn = Drawn(monkeypatch)
        async with client(running) as one:
            await ask(one, 0)
            await until(lambda: drawn.count == 1)
            async with client(running) as two:
                await ask(two, 1)
                await asyncio.sleep(0.1)
            await until(lambda: running.sample("sca_client_disconnects_total", stage="encode") == 1)
            drawn.open.set()
            assert (await one.answer()).status == 200
            await ask(one, 2)
            assert (await one.answer()).status == 200 and drawn.count == 2

    run(models_dir, scenario)


def test_a_picture_has_a_deadline(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(running: Serving) -> None:
        drawn = Drawn(monkeypatch)
        async with client(running) as one:
            await ask(one, 0)
            assert (await one.answer()).status == 504
        drawn.open.set()

    run(models_dir, scenario, request_timeout_s=0.3)


def test_too_many_pictures_are_refused() -> None:
    async def scenario() -> None:
        pictures, hold = Pictures(), threading.Event()

        def slowly() -> bytes:
            assert hold.wait(20)
            return b"x"

        waiting = [asyncio.create_task(pictures.draw(slowly)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as refused:
            await pictures.draw(lambda: b"y")
        assert refused.value.limit == MOST_WAITING
        hold.set()
        assert await asyncio.gather(*waiting) == [b"x"] * MOST_WAITING
        await asyncio.sleep(0.05)
        assert await pictures.draw(lambda: b"y") == b"y"
        pictures.close()

    asyncio.run(scenario())


def test_a_tag_is_of_one_picture(client: TestClient) -> None:
    tag = client.get("/filters?scale=2").headers["etag"]
    assert client.get("/filters?scale=2", headers={"If-None-Match": tag}).status_code == 304
    assert client.get("/filters?scale=3", headers={"If-None-Match": tag}).status_code == 200
    assert client.get("/filters?layer=99", headers={"If-None-Match": tag}).status_code == 404
