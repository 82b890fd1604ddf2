"""Deadlines, failing runs and closing end exactly who they must, and nothing stops the loop."""

import asyncio
import time

import numpy as np
import pytest

from service.batch import UInt8Array
from service.batcher import Batcher
from service.errors import DeadlinePassed, Draining, InferenceFailed, Internal
from tests.service.batching import ROWS, Session, batching, hold, images, until, values


def test_a_deadline_ends_a_request_that_still_waits() -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session) as batcher:
            first = await hold(session, batcher)
            late = asyncio.create_task(batcher.submit(images(1), ROWS, time.monotonic() + 0.01))
            fresh = asyncio.create_task(values(batcher, images(2)))
            await until(lambda: batcher.waiting == 2)
            await asyncio.sleep(0.02)
            session.open.set()
            with pytest.raises(DeadlinePassed):
                await late
            assert list(await asyncio.gather(first, fresh)) == [[255], [2]]
            assert session.sizes == [1]

    asyncio.run(scenario())


def test_a_failing_image_fails_alone_or_with_its_half_and_the_loop_lives_on() -> None:
    def fault(batch: UInt8Array) -> None:
        if (batch == 13).any():
            raise RuntimeError("unlucky")

    async def scenario() -> None:
        session = Session()
        session.fault = fault
        async with batching(session) as batcher:
            first = await hold(session, batcher)
            tasks = [asyncio.create_task(values(batcher, images(n))) for n in (1, 2, 3, 13)]
            await until(lambda: batcher.waiting == 4)
            session.open.set()
            outcomes = await asyncio.gather(first, *tasks, return_exceptions=True)
            assert outcomes[:3] == [[255], [1], [2]]
            assert [type(outcome) for outcome in outcomes[3:]] == [Internal, Internal]
            assert await values(batcher, images(5)) == [5]
            assert batcher.alive(60)

    asyncio.run(scenario())


def test_a_batch_that_is_too_large_for_memory_succeeds_in_halves() -> None:
    def fault(batch: UInt8Array) -> None:
        if len(batch) > 2:
            raise InferenceFailed("out of memory")

    async def scenario() -> None:
        session = Session()
        session.fault = fault
        async with batching(session) as batcher:
            assert await values(batcher, images(1, 2, 3, 4)) == [1, 2, 3, 4]
            assert session.sizes == [4, 2, 2]
            session.fault = lambda batch: (_ for _ in ()).throw(InferenceFailed("out of memory"))
            with pytest.raises(InferenceFailed, match="out of memory"):
                await values(batcher, images(1, 2, 3, 4, 5))

    asyncio.run(scenario())


def test_a_run_that_answers_too_few_rows_is_a_bug_not_a_mix_up() -> None:
    async def scenario() -> None:
        async with batching(lambda batch, wants: {"rows": np.zeros((len(batch) - 1, 1), np.float32)}) as batcher:
            with pytest.raises(Internal):
                await values(batcher, images(1, 2))

    asyncio.run(scenario())


def test_outputs_that_only_some_want_go_only_to_them() -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session) as batcher:
            first = await hold(session, batcher)
            a = asyncio.create_task(batcher.submit(images(1), frozenset(("a",))))
            both = asyncio.create_task(batcher.submit(images(2), frozenset(("a", "b"))))
            await until(lambda: batcher.waiting == 2)
            session.open.set()
            await first
            assert set((await a).outputs) == {"a"}
            assert set((await both).outputs) == {"a", "b"}
            assert session.sizes == [2]

    asyncio.run(scenario())


def test_closing_ends_everyone_who_waits() -> None:
    async def scenario() -> None:
        session = Session()
        batcher = Batcher(session, (2, 2, 1), max_batch=4, queue_images=100)
        first = await hold(session, batcher)
        waiting = asyncio.create_task(values(batcher, images(1, 2)))
        await until(lambda: batcher.waiting == 2)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        with pytest.raises(Draining):
            await waiting
        session.open.set()
        assert await first == [255]
        await closing
        assert batcher.waiting == 0
        with pytest.raises(Draining):
            batcher.admit(1)
        assert not batcher.alive(60)

    asyncio.run(scenario())


def test_a_stuck_run_shows() -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session) as batcher:
            first = await hold(session, batcher)
            await asyncio.sleep(0.01)
            assert batcher.alive(60) and not batcher.alive(0.001)
            session.open.set()
            await first
            await until(lambda: batcher.alive(0.001))

    asyncio.run(scenario())


def test_batches_are_reported_with_the_wait_of_each_request_once() -> None:
    async def scenario() -> None:
        seen: list[tuple[int, int]] = []
        session = Session()
        report = lambda images, waits_s, run_s: seen.append((images, len(waits_s)))  # noqa: E731  # shorter than a def
        async with batching(session, on_batch=report) as batcher:
            await values(batcher, images(*range(9)))
            await until(lambda: len(seen) == 3)
        assert seen == [(4, 1), (4, 0), (1, 0)]

    asyncio.run(scenario())
