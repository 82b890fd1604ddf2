"""The memory of request bodies: bounded over all connections, and given back when a request ends, however it ends."""

import asyncio
import gc
from pathlib import Path

import pytest

from service.bodies import Bodies
from service.errors import NoMemory
from service.guards import Guard
from service.trace import fresh_trace
from tests.conftest import TestClient
from tests.pictures import png
from tests.service import serving
from tests.service.serving import Serving, request, run, until

MOST = 200_000


def test_unfinished_uploads_share_a_limit(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        half = bytes(MOST // 2)
        async with serving.client(running) as one, serving.client(running) as two, serving.client(running) as three:
            for each in (one, two):
                each.writer.write(request("/predict", half + b"....", Content_Length=str(MOST - 1))[:-8])
            await until(lambda: running.service.bodies.held > MOST - 100)
            assert running.sample("sca_body_bytes") == running.service.bodies.held
            assert running.sample("sca_body_limit_bytes") == MOST
            three.writer.write(request("/predict", half))
            answer = await three.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert b"/errors/overloaded" in answer.body
            assert running.sample("sca_rejected_total", reason="memory") == 1
            one.writer.close()
            two.writer.close()
            await until(lambda: running.service.bodies.held == 0)
            assert (await three.ask("/predict", png())).status == 200
        await until(lambda: running.service.bodies.held == 0)

    run(models_dir, scenario, body_memory_bytes=MOST, max_body_bytes=MOST)


def test_what_did_not_fit_is_not_held() -> None:
    bodies = Bodies(10)
    with bodies.hold() as one, bodies.hold() as two:
        one.add(6)
        with pytest.raises(NoMemory) as caught:
            two.add(5)
        assert (caught.value.limit, caught.value.actual) == (10, 11)
        two.add(4)
        assert bodies.held == 10
    assert bodies.held == 0


def test_one_body_of_the_largest_size_always_fits(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with serving.client(running) as one:
            assert (await one.ask("/predict", png())).status == 200

    run(models_dir, scenario, body_memory_bytes=1)


def test_a_request_that_is_ended_leaves_no_circle_that_keeps_its_body() -> None:
    class Body:
        alive = 0

        def __init__(self) -> None:
            Body.alive += 1

        def __del__(self) -> None:
            Body.alive -= 1

    async def work(body: Body) -> None:
        await asyncio.sleep(10)

    async def scenario() -> None:
        trace = fresh_trace()
        try:
            async with Guard({}, asyncio.Event().wait, trace, 0.01, 10):  # type: ignore[arg-type]  # never received from
                await work(Body())
        except Exception as error:
            assert type(error).__name__ == "UploadTimeout"
        await asyncio.sleep(0.01)
        assert Body.alive == 0

    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


@pytest.mark.parametrize("codings", [["gzip"], ["identity", "gzip"], ["identity, br"]])
def test_a_compressed_body_is_refused_and_told_what_is_not(client: TestClient, codings: list[str]) -> None:
    headers = [("Content-Type", "image/png"), *(("Content-Encoding", coding) for coding in codings)]
    answer = client.post("/features", content=png(), headers=headers)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")


def test_identity_is_no_compression(client: TestClient) -> None:
    headers = [("Content-Type", "image/png"), ("Content-Encoding", "identity"), ("Content-Encoding", "Identity")]
    assert client.post("/predict", content=png(), headers=headers).status_code == 200
