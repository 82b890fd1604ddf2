"""A client that has the server to itself is answered without a change of thread; others share the worker threads."""

import asyncio
import threading
from pathlib import Path

import pytest

from service import lane
from service.batch import Outputs, UInt8Array
from service.errors import InferenceFailed
from tests.bundles import smooth_images
from tests.pictures import encode, png
from tests.service.serving import MODEL, Client, Held, Serving, client, request, run, until

QUICK = 10.0
"""Seconds that a run at once may take: on any machine the tiny model is quicker."""


class Watched:
    """The default model's session, and the threads that its runs were in."""

    def __init__(self, running: Serving, monkeypatch: pytest.MonkeyPatch, faults: int = 0) -> None:
        self.at_once: list[bool] = []
        session = running.service.registry.get(None).session
        compute, loop = session.run, threading.current_thread()

        def watch(images: UInt8Array, wants: frozenset[str]) -> Outputs:
            self.at_once.append(threading.current_thread() is loop)
            if self.at_once[-1] and self.at_once.count(True) <= faults:
                raise InferenceFailed("The model's runtime failed.")
            return compute(images, wants)

        monkeypatch.setattr(session, "run", watch)
        # the batcher was made with the method as it was
        monkeypatch.setattr(running.service.registry.get(None).batcher, "_run", watch)


async def settled(one: Client, path: str = "/features") -> bytes:
    """Asks until the lane knows the question and the client counts as the only one."""
    bodies = {(await one.ask(path, png(2))).body for _ in range(3)}
    await asyncio.sleep(1.5 * lane._CALM_S)
    (body,) = bodies
    return body


@pytest.mark.parametrize("path", ["/predict?top_k=2", "/features", "/features?format=npy", "/features?dtype=float16"])
def test_the_only_client_gets_the_same_answers_without_a_change_of_thread(
    models_dir: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            body = await settled(one, path)
            watched = Watched(running, monkeypatch)
            answers = [await one.ask(path, png(2), X_Request_Id=f"job-{number}") for number in range(4)]
        assert watched.at_once == [True] * 4
        assert [(answer.status, answer.body) for answer in answers] == [(200, body)] * 4
        assert [answer.headers["x-request-id"] for answer in answers] == [f"job-{number}" for number in range(4)]
        assert all("queue;dur=0.000" in answer.headers["server-timing"] for answer in answers)
        route = path.partition("?")[0]
        assert running.sample("sca_http_requests_total", route=route, method="POST", code="200") == 7
        for count in ("sca_batch_images_count", "sca_batch_images_sum", "sca_queue_wait_seconds_count"):
            await until(lambda count=count: running.sample(count, model=MODEL) == 7)  # type: ignore[misc]
        assert running.sample("sca_images_total", model=MODEL, outcome="ok") == 7
        statistics = running.service.registry.get(None).statistics.document()
        assert statistics["inference_stats"]["success"]["count"] == statistics["execution_count"] == 7

    run(models_dir, scenario, at_once_s=QUICK)


def test_of_requests_that_come_together_only_the_first_holds_up_the_loop(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            body = await settled(one)
            watched = Watched(running, monkeypatch)
            one.writer.write(5 * request("/features", png(2)))
            assert [(await one.answer()).body for _ in range(5)] == [body] * 5
            await until(lambda: len(watched.at_once) == 5)
        assert watched.at_once == [True, False, False, False, False]

    run(models_dir, scenario, at_once_s=QUICK)


def test_clients_with_other_requests_are_company_too(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = encode(smooth_images(1, 600, 600, 3)[0], "PNG")

    async def scenario(running: Serving) -> None:
        async with client(running) as one, client(running) as other:
            await settled(one)
            watched = Watched(running, monkeypatch)
            for _ in range(3):
                assert (await other.ask("/features", photo)).status == 200
                assert (await one.ask("/features", png(2))).status == 200
        assert watched.at_once == [False] * 6

    run(models_dir, scenario, at_once_s=QUICK)


def test_clients_that_take_turns_use_the_worker_threads(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one, client(running) as other:
            await settled(one)
            await settled(other)
            watched = Watched(running, monkeypatch)
            for _ in range(3):
                assert (await one.ask("/features", png(2))).status == 200
                assert (await other.ask("/features", png(2))).status == 200
            assert watched.at_once == [False] * 6
            await asyncio.sleep(1.5 * lane._CALM_S)
            assert (await other.ask("/features", png(2))).status == 200
        assert watched.at_once[6:] == [True], "after a while it is the only one again"

    run(models_dir, scenario, at_once_s=QUICK)


def test_while_another_request_is_worked_on_nothing_holds_up_the_loop(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one, client(running) as other:
            await settled(one)
            held = Held(running)
            other.post("/predict", png(2))
            await until(held.entered.is_set)
            await asyncio.sleep(1.5 * lane._CALM_S)
            one.post("/features", png(2))
            await until(lambda: running.sample("sca_inflight_images") == 2)
            held.open.set()
            assert [(await one.answer()).status, (await other.answer()).status] == [200, 200]

    run(models_dir, scenario, at_once_s=QUICK)


def test_a_slow_model_never_holds_up_the_loop(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await settled(one)
            watched = Watched(running, monkeypatch)
            assert (await one.ask("/features", png(2))).status == 200
        assert watched.at_once == [False]

    run(models_dir, scenario, at_once_s=1e-9)


def test_a_run_at_once_that_fails_is_tried_again_by_the_batcher(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            body = await settled(one)
            watched = Watched(running, monkeypatch, faults=1)
            answer = await one.ask("/features", png(2))
            assert (answer.status, answer.body) == (200, body)
            assert watched.at_once == [True, False]

    run(models_dir, scenario, at_once_s=QUICK)
