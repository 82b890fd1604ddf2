"""The fast lane answers as the long way does, and leaves to it what it should."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from service.batch import Outputs, UInt8Array
from service.errors import InferenceFailed
from tests.bundles import smooth_images, write_bundle
from tests.pictures import encode, png
from tests.service.serving import Serving, client, request, serving

MODEL = "cifar10-shallow"


def run(models_dir: Path, scenario: Callable[[Serving], Awaitable[None]], **changes: Any) -> None:
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
        self.open = threading.Event()
        batcher = running.service.registry.get(None).batcher
        self._run, self._fault = batcher._run, fault
        batcher._run = self

    def __call__(self, batch: UInt8Array, wants: frozenset[str]) -> Outputs:
        assert self.open.wait(20)
        if self._fault is not None:
            raise self._fault
        return self._run(batch, wants)


@pytest.mark.parametrize("path", ["/predict?top_k=2", "/features", "/features?format=npy", "/features?dtype=float16"])
def test_both_ways_give_the_same_answer_and_count_the_same(models_dir: Path, path: str) -> None:
    async def scenario(running: Serving) -> None:
        route = path.partition("?")[0]
        async with client(running) as one:
            long = await one.ask(path, png(2))
            assert not running.taken
            for number in range(3):
                fast = await one.ask(path, png(2), X_Request_Id=f"job-{number}")
                assert fast.headers["x-request-id"] == f"job-{number}"
                assert (fast.status, fast.body) == (200, long.body)
                assert set(fast.headers) == set(long.headers)
                same = ("content-type", "content-length", "x-model", "x-model-version", "x-content-type-options")
                assert [fast.headers[name] for name in same] == [long.headers[name] for name in same]
        assert running.taken == [True] * 3
        assert running.sample("sca_http_requests_total", route=route, method="POST", code="200") == 4
        assert running.sample("sca_http_request_duration_seconds_count", route=route) == 4
        assert running.sample("sca_images_total", model=MODEL, outcome="ok") == 4
        assert running.sample("sca_decode_seconds_count") == 4
        # A worker thread counts it after it has handed the rows over.
        await until(lambda: running.sample("sca_queue_wait_seconds_count", model=MODEL) == 4)
        statistics = running.service.registry.get(None).statistics.document()
        assert statistics["inference_stats"]["success"]["count"] == 4

    run(models_dir, scenario)


def test_a_long_answer_is_written_whole(tmp_path: Path) -> None:
    write_bundle(tmp_path, size=48, maps=32)
    picture = encode(smooth_images(1, 48, 48, 3)[0], "PNG")

    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            answers = [await one.ask("/features?format=octet-stream", picture) for _ in range(3)]
        assert running.taken == [True, True]
        assert len(answers[0].body) == 32 * 24 * 24 * 4
        assert answers[0].body == answers[1].body == answers[2].body

    run(tmp_path, scenario)


def test_pipelined_requests_are_answered_in_order(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            wanted = [(await one.ask("/features?format=npy", png(seed))).body for seed in range(4)]
            one.writer.write(b"".join(request("/features?format=npy", png(seed)) for seed in range(4)))
            assert [(await one.answer()).body for _ in range(4)] == wanted

    run(models_dir, scenario)


def test_a_body_in_pieces_takes_the_long_way(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            wanted = await one.ask("/predict", png())
            whole = request("/predict", png())
            for cut in (len(whole) - 1, len(whole) - len(png()), 20):
                one.writer.write(whole[:cut])
                await asyncio.sleep(0.05)
                one.writer.write(whole[cut:])
                assert (await one.answer()).body == wanted.body
        # Of the last one all of the body came with the end of the headers.
        assert running.taken == [True]

    run(models_dir, scenario)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/features", png()[:-9], {}, 422),
        ("/features", b"", {}, 400),
        ("/features", b"%PDF-1.7", {}, 415),
        ("/features", png(), {"Content_Encoding": "gzip"}, 415),
        ("/features", png(size=70), {}, 200),
        ("/features?on_error=skip", png(), {}, 200),
        ("/features", png() + bytes(20_000), {}, 413),
    ],
)
def test_the_unusual_takes_the_long_way(
    models_dir: Path, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            assert (await one.ask(path, png())).status == 200
            for _ in range(2):
                assert (await one.ask(path, body, **headers)).status == status
        assert not any(running.taken)

    run(models_dir, scenario, max_body_bytes=20_000)


def test_a_full_queue_refuses_at_once(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as busy, client(running) as waiting, client(running) as refused:
            await busy.ask("/predict", png())
            held = Held(running)
            busy.post("/predict", png())
            await until(lambda: running.taken == [True])
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 0)
            waiting.post("/predict", png())
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 1)
            assert len(running.server.server_state.tasks) == 2
            answer = await refused.ask("/predict", png(), X_Request_Id="me")
            assert running.taken == [True] * 3
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
            assert answer.headers["content-type"] == "application/problem+json"
            assert b'"request_id":"me"' in answer.body and answer.headers["x-request-id"] == "me"
            assert running.sample("sca_rejected_total", reason="queue_full") == 1
            assert running.sample("sca_http_requests_total", route="/predict", method="POST", code="429") == 1
            held.open.set()
            assert [(await busy.answer()).status, (await waiting.answer()).status] == [200, 200]
            assert (await refused.ask("/predict", png())).status == 200

    run(models_dir, scenario, queue_images=1)


def test_the_deadline_passes_in_the_queue(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            held = Held(running)
            answer = await one.ask("/predict", png(), X_Request_Id="late")
            assert running.taken == [True]
            assert answer.status == 504 and b'"limit":0.3' in answer.body
            assert answer.headers["x-request-id"] == "late"
            held.open.set()
            assert (await one.ask("/predict", png())).status == 200
        assert running.sample("sca_images_total", model=MODEL, outcome="timeout") == 1
        assert running.sample("sca_http_requests_total", route="/predict", method="POST", code="504") == 1

    run(models_dir, scenario, request_timeout_s=0.3)


def test_who_leaves_while_queued_is_dropped_and_counted(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as busy:
            await busy.ask("/predict", png())
            held = Held(running)
            busy.post("/predict", png())
            await until(lambda: running.taken == [True])
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 0)
            async with client(running) as leaver:
                leaver.post("/predict", png())
                await until(lambda: running.sample("sca_queue_images", model=MODEL) == 1)
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 0)
            held.open.set()
            assert (await busy.answer()).status == 200
            await until(lambda: running.sample("sca_client_disconnects_total", stage="queue") == 1)
        assert running.taken == [True, True]
        assert running.sample("sca_images_total", model=MODEL, outcome="cancelled") == 1
        assert running.sample("sca_http_requests_total", route="/predict", method="POST", code="499") == 1

    run(models_dir, scenario)


@pytest.mark.parametrize(
    ("fault", "status"), [(InferenceFailed("The runtime failed; try again."), 503), (RuntimeError("secret cause"), 500)]
)
def test_a_run_that_fails_is_answered_and_counted(models_dir: Path, fault: Exception, status: int) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            Held(running, fault).open.set()
            answer = await one.ask("/predict", png())
        assert running.taken == [True]
        assert answer.status == status and b"secret" not in answer.body
        assert running.sample("sca_http_requests_total", route="/predict", method="POST", code=str(status)) == 1
        assert running.service.registry.get(None).statistics.document()["inference_stats"]["fail"]["count"] == 1

    run(models_dir, scenario)


def test_a_bug_in_writing_is_500(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())

            def fail(*_: object) -> None:
                raise KeyError("secret cause")

            monkeypatch.setattr("service.lane.write", fail)
            answer = await one.ask("/predict", png())
            assert answer.status == 500 and b"secret" not in answer.body

    run(models_dir, scenario)


def test_a_server_that_ends_gives_up_what_is_left(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            held = Held(running)
            one.post("/predict", png())
            await until(lambda: running.taken == [True])
            await until(lambda: len(running.server.server_state.tasks) == 1)
            next(iter(running.server.server_state.tasks)).cancel()
            assert (await one.answer()).status == 503
            held.open.set()

    run(models_dir, scenario)


def test_new_work_is_refused_while_draining(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            running.service.drain()
            answer = await one.ask("/predict", png())
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert not running.taken

    run(models_dir, scenario)


def test_a_key_is_asked_for_each_time(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            for _ in range(2):
                assert (await one.ask("/predict", png(), X_API_Key="alpha")).status == 200
            assert (await one.ask("/predict", png(), X_API_Key="beta")).status == 401
            assert (await one.ask("/predict", png())).status == 401
        assert running.taken == [True]

    run(models_dir, scenario, api_keys="alpha")


def test_answers_that_need_headers_of_another_layer_do_not_come_from_here(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            for _ in range(2):
                answer = await one.ask("/predict", png(), Origin="https://a.example")
                assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert not running.taken

    run(models_dir, scenario, cors_origins="https://a.example")


def test_a_connection_ends_when_the_client_asks_for_it(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            answer = await one.ask("/predict", png(), Connection="close")
            assert answer.headers["connection"] == "close"
            assert await one.reader.read() == b""
        assert running.taken == [True]

    run(models_dir, scenario)
