"""The clocks of a connection: idle ones end, whatever came before; ones with a request in work do not."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.batch import Outputs, UInt8Array
from tests.bundles import smooth_images
from tests.pictures import png
from tests.service.serving import MODEL, Held, Serving, client, full, request, run, until

IDLE_S = 0.3


def hurry(running: Serving) -> None:
    """Lets idle connections end soon."""
    running.server.config.timeout_keep_alive = IDLE_S  # type: ignore[assignment]  # the loop takes fractions as well


def test_a_connection_that_was_answered_early_ends_when_it_is_idle(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        hurry(running)
        async with client(running) as one:
            one.writer.write(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            assert (await one.answer()).status == 404
            one.writer.write(b"abcde")
            async with asyncio.timeout(5):
                assert await one.reader.read() == b""

    run(models_dir, scenario)


def test_a_refusal_before_it_does_not_end_a_request_in_work(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        other = running.service.registry.get("mnist-shallow").batcher
        compute = other._run

        def slowly(batch: UInt8Array, wants: frozenset[str]) -> Outputs:
            time.sleep(3 * IDLE_S)
            return compute(batch, wants)

        hurry(running)
        async with client(running) as busy, client(running) as waiting, client(running) as one:
            for path in ("/predict", "/predict?model=mnist-shallow"):
                assert (await one.ask(path, png())).status == 200
            other._run = slowly
            held = await full(running, busy, waiting)
            one.writer.write(request("/predict", png()) + request("/predict?model=mnist-shallow", png()))
            assert [(await one.answer()).status for _ in range(2)] == [429, 200]
            held.open.set()
            assert [(await each.answer()).status for each in (busy, waiting)] == [200, 200]

    run(models_dir, scenario, queue_images=1)


def test_who_leaves_after_a_large_body_is_noticed(models_dir: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, smooth_images(200, 12, 12, 3))
    whole = request("/features", stream.getvalue(), Content_Type="application/x-npy")
    assert len(whole) > 80_000  # from 64 KiB on, reading pauses

    async def scenario(running: Serving) -> None:
        async with client(running) as busy:
            held = Held(running)
            busy.post("/predict", png())
            await until(held.entered.is_set)
            async with client(running) as leaver:
                leaver.writer.write(whole[:1000])
                await leaver.writer.drain()
                await asyncio.sleep(0.05)  # the server waits for more when the rest, over the limit, comes at once
                leaver.writer.write(whole[1000:])
                await until(lambda: running.sample("sca_queue_images", model=MODEL) == 200)
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 0)
            held.open.set()
            assert (await busy.answer()).status == 200
        assert running.sample("sca_images_total", model=MODEL, outcome="cancelled") == 200
        assert running.sample("sca_client_disconnects_total", stage="queue") == 1

    run(models_dir, scenario)


def test_who_waits_for_a_go_ahead_and_is_refused_is_told_that_the_connection_ends(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: image/png\r\n"
        for path, status in ((b"/nope", 404), (b"/predict?model=none", 404), (b"/predict?top_k=x", 400)):
            async with client(running) as one:
                one.writer.write(head % path + b"Content-Length: 100\r\n\r\n")
                answer = await one.answer()
                assert answer.status == status and answer.headers["connection"] == "close"
                assert await asyncio.wait_for(one.reader.read(), 5) == b""
        async with client(running) as one:
            for _ in range(2):
                one.writer.write(head % b"/predict" + b"Content-Length: %d\r\n\r\n" % len(png()))
                assert await one.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                one.writer.write(png())
                answer = await one.answer()
                assert answer.status == 200 and "connection" not in answer.headers

    run(models_dir, scenario)


class Stuck:
    """A transport that says how much of what was written is unread."""

    def __init__(self, transport: asyncio.Transport, unread: int) -> None:
        self.transport, self.unread = transport, unread

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's."""
        return getattr(self.transport, name)

    def get_write_buffer_size(self) -> int:
        """As much as the test wants."""
        return self.unread


@pytest.mark.parametrize("reads", [False, True])
def test_the_last_bytes_of_an_answer_have_a_deadline_too(models_dir: Path, reads: bool) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            (connection,) = running.server.server_state.connections
            stuck: Any = Stuck(connection.transport, 10_000)
            connection.transport = stuck
            assert (await one.ask("/predict", png())).status == 200
            if reads:
                for stuck.unread in (5_000, 2_000, 0, 0):
                    await asyncio.sleep(0.3)
                assert (await one.ask("/predict", png())).status == 200
            else:
                started = time.monotonic()
                await until(stuck.is_closing)
                assert time.monotonic() - started < 2.5  # before the clock of idle connections

    run(models_dir, scenario, request_timeout_s=0.4)


def test_what_is_refused_before_it_is_a_request_is_counted(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        for sent, status in ((b"no http at all\r\n\r\n", 400), (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 300, 431)):
            async with client(running) as one:
                one.writer.write(sent)
                assert (await one.answer()).status == status
            code = str(status)

            def counted(code: str = code) -> bool:
                return running.sample("sca_http_requests_total", route="_other", method="_other", code=code) == 1

            await until(counted)

    run(models_dir, scenario, max_header_bytes=1024)
