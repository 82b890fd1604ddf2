"""The fast lane answers as the long way does, and leaves to it what it should."""

import asyncio
import gc
from pathlib import Path

import pytest

from service.batch import Entry
from service.ride import Ride
from tests.bundles import smooth_images, write_bundle
from tests.pictures import encode, png
from tests.service.serving import MODEL, Serving, client, request, run, until


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


def test_each_precision_is_answered_by_its_own_graph(tmp_path: Path) -> None:
    write_bundle(tmp_path, MODEL, fast=True)

    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            for precision in ("fast", "exact"):
                long, fast = [await one.ask(f"/features?format=npy&precision={precision}", png(2)) for _ in range(2)]
                assert fast.headers["x-model-precision"] == precision and fast.body == long.body
        assert running.taken == [True, True]
        for label in (MODEL, f"{MODEL}:fast"):
            assert running.sample("sca_images_total", model=label, outcome="ok") == 2

    run(tmp_path, scenario)


def test_pipelined_requests_are_answered_in_order(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            wanted = [(await one.ask("/features?format=npy", png(seed))).body for seed in range(4)]
            one.writer.write(b"".join(request("/features?format=npy", png(seed)) for seed in range(4)))
            assert [(await one.answer()).body for _ in range(4)] == wanted

    run(models_dir, scenario)


def test_a_request_in_pieces_is_answered_the_same(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            wanted = await one.ask("/predict", png())
            whole = request("/predict", png())
            for cut in (len(whole) - 1, len(whole) - len(png()), 20):
                one.writer.write(whole[:cut])
                await asyncio.sleep(0.05)
                one.writer.write(whole[cut:])
                assert (await one.answer()).body == wanted.body
        # The first one's head is new and its body not there; the second's is waited for, of the last all came at once.
        assert running.taken == [True, True]

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


def held() -> int:
    """Counts what may hold rows; by type, since to look at a module's lazy attributes can have effects."""
    return sum(type(thing) in (Entry, Ride) for thing in gc.get_objects())


def test_rows_are_let_go_with_their_answer(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            for _ in range(3):
                await one.ask("/features?format=npy", png())
        assert running.taken == [True] * 2
        await until(lambda: held() <= before)

    gc.collect()
    gc.disable()
    before = held()
    try:
        run(models_dir, scenario)
    finally:
        gc.enable()
