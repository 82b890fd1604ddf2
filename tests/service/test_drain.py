"""The end of the drain time: whoever is not answered by then is told so, whichever way the request came."""

import asyncio
import logging
import signal
from pathlib import Path

import orjson
import pytest

from tests.pictures import png
from tests.service.serving import MODEL, Answer, Held, Serving, client, run, until

V2 = f"/v2/models/{MODEL}/infer"


async def drained(running: Serving) -> None:
    """Ticks as the server's loop does, until it would stop."""
    running.server.handle_exit(signal.SIGTERM, None)
    while not await running.server.on_tick(1):
        await asyncio.sleep(0.02)


def check(answer: Answer) -> None:
    """A client can tell that it should try elsewhere."""
    assert (answer.status, answer.headers["connection"], answer.headers["retry-after"]) == (503, "close", "1")
    assert answer.headers["x-request-id"] and "server-timing" in answer.headers


def test_what_is_left_when_the_drain_time_is_over_is_told(models_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as queued, client(running) as long, client(running) as v2, client(running) as slow:
            await queued.ask("/predict", png())
            held = Held(running)
            queued.post("/predict", png())
            await until(lambda: running.taken == [True])
            long.post("/features?on_error=skip", png())
            v2.post(V2, png(), Inference_Header_Content_Length="0", Content_Type="application/octet-stream")
            slow.post("/features", png()[:50], Content_Length="5000")
            await until(lambda: len(running.server.server_state.tasks) == 4)
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 2)
            await drained(running)
            answers = [await each.answer() for each in (queued, long, slow)]
            for answer in answers:
                check(answer)
                assert answer.headers["content-type"] == "application/problem+json"
                assert orjson.loads(answer.body)["type"] == "/errors/draining"
            check(other := await v2.answer())
            assert orjson.loads(other.body) == {"error": "The server is shutting down."}
            held.open.set()
        assert running.sample("sca_images_total", model=MODEL, outcome="rejected") == 3
        assert running.sample("sca_images_total", model=MODEL, outcome="internal") == 0

    with caplog.at_level(logging.WARNING):
        run(models_dir, scenario, drain_s=0.3)
    assert any(record.message == "drain time is over" for record in caplog.records)
    assert not any(record.exc_info for record in caplog.records)


def test_what_ends_in_time_is_answered(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            held = Held(running)
            one.post("/features?on_error=skip", png())
            await until(lambda: running.sample("sca_inflight_images") == 1)
            asyncio.get_running_loop().call_later(0.3, held.open.set)
            await drained(running)
            assert (await one.answer()).status == 200

    run(models_dir, scenario, drain_s=20)
