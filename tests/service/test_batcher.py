"""Every request gets its own rows, once, in order; the queue is bounded in images."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import QueueFull
from tests.service.batching import ROWS, Session, batching, hold, images, until, values


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    max_batch=st.integers(1, 7),
    runs=st.integers(1, 3),
    max_wait_ms=st.sampled_from([0.0, 0.0, 1.0]),
    as_array=st.booleans(),
)
def test_every_request_gets_its_own_rows_in_order(
    counts: Sequence[int], max_batch: int, runs: int, max_wait_ms: float, as_array: bool
) -> None:
    async def scenario() -> None:
        session = Session()
        knobs = {"max_batch": max_batch, "runs": runs, "max_wait_s": max_wait_ms / 1000, "queue_images": sum(counts)}
        starts = np.cumsum([0, *counts])
        async with batching(session, **knobs) as batcher:
            wanted = [list(range(start, start + count)) for start, count in zip(starts, counts, strict=False)]
            given = [np.stack(images(*row)) if as_array else images(*row) for row in wanted]
            assert await asyncio.gather(*(values(batcher, one) for one in given)) == wanted
            assert batcher.waiting == 0
        assert sum(session.sizes) == sum(counts)
        assert max(session.sizes) <= max_batch

    asyncio.run(scenario())


def test_what_waits_while_the_session_is_busy_becomes_one_batch() -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session) as batcher:
            first = await hold(session, batcher)
            others = [asyncio.create_task(values(batcher, images(n))) for n in range(3)]
            await until(lambda: batcher.waiting == 3)
            session.open.set()
            assert await asyncio.gather(first, *others) == [[255], [0], [1], [2]]
            assert session.sizes == [3]

    asyncio.run(scenario())


def test_an_idle_session_never_waits_for_company() -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session) as batcher:
            for n in range(5):
                await values(batcher, images(n))
            assert session.sizes == [1] * 5

    asyncio.run(scenario())


def test_the_optional_wait_gathers_from_the_first_item_and_ends_when_the_batch_is_full() -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session, max_wait_s=30.0, max_batch=3) as batcher:
            started = time.monotonic()
            await asyncio.gather(*(values(batcher, images(n)) for n in range(3)))
            assert session.sizes == [3]
            assert time.monotonic() - started < 20

        async with batching(session, max_wait_s=0.05) as batcher:
            started = time.monotonic()
            await values(batcher, images(1))
            assert time.monotonic() - started >= 0.05

    asyncio.run(scenario())


def test_a_large_request_is_split_and_lets_small_ones_through() -> None:
    async def scenario() -> None:
        session = Session()
        finished: list[str] = []

        async def submit(name: str, *numbers: int) -> None:
            assert await values(batcher, images(*numbers)) == list(numbers)
            finished.append(name)

        async with batching(session) as batcher:
            first = await hold(session, batcher)
            large = asyncio.create_task(submit("large", *range(20)))
            await until(lambda: batcher.waiting == 20)
            small = asyncio.create_task(submit("small", 99))
            await until(lambda: batcher.waiting == 21)
            session.open.set()
            await asyncio.gather(first, large, small)
        assert session.sizes[0] == 4 and max(session.sizes) == 4
        assert finished == ["small", "large"]

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session, queue_images=3) as batcher:
            first = await hold(session, batcher)
            waiting = asyncio.create_task(values(batcher, images(1, 2)))
            await until(lambda: batcher.waiting == 2)
            with pytest.raises(QueueFull) as caught:
                batcher.admit(2)
            assert (caught.value.limit, caught.value.actual) == (3, 4)
            assert caught.value.headers["Retry-After"] == "1"
            with batcher.admit(1), pytest.raises(QueueFull):
                batcher.admit(1)
            assert batcher.waiting == 2
            session.open.set()
            assert list(await asyncio.gather(first, waiting)) == [[255], [1, 2]]
            assert await values(batcher, images(7, 8, 9)) == [7, 8, 9]

    asyncio.run(scenario())


def test_a_ticket_gives_back_what_is_not_submitted() -> None:
    async def scenario() -> None:
        async with batching(Session()) as batcher:
            with batcher.admit(5) as ticket:
                assert batcher.waiting == 5
                await ticket.submit(images(1, 2), ROWS)
                assert batcher.waiting == 0
            with batcher.admit(2) as ticket, pytest.raises(ValueError, match="3 images"):
                await ticket.submit(images(1, 2, 3), ROWS)

    asyncio.run(scenario())


def test_who_leaves_frees_the_queue_and_is_never_computed() -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session, queue_images=4) as batcher:
            first = await hold(session, batcher)
            leaver = asyncio.create_task(values(batcher, images(1, 2, 3)))
            stayer = asyncio.create_task(values(batcher, images(4)))
            await until(lambda: batcher.waiting == 4)
            leaver.cancel()
            await until(lambda: batcher.waiting == 1)
            assert leaver.cancelled()
            batcher.admit(3).__exit__()
            session.open.set()
            assert list(await asyncio.gather(first, stayer)) == [[255], [4]]
            assert session.sizes == [1]

    asyncio.run(scenario())


@settings(max_examples=25, deadline=None)
@given(plan=st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=15), max_batch=st.integers(1, 5))
def test_any_mix_of_leavers_leaves_an_empty_queue_and_right_rows(plan: list[tuple[int, bool]], max_batch: int) -> None:
    async def scenario() -> None:
        session = Session()
        async with batching(session, max_batch=max_batch) as batcher:
            first = await hold(session, batcher)
            tasks = [asyncio.create_task(values(batcher, images(*[n] * count))) for n, (count, _) in enumerate(plan)]
            await until(lambda: batcher.waiting == sum(count for count, _ in plan))
            for task, (_, leaves) in zip(tasks, plan, strict=True):
                if leaves:
                    task.cancel()
            session.open.set()
            outcomes = await asyncio.gather(first, *tasks, return_exceptions=True)
            for n, (count, leaves) in enumerate(plan):
                outcome = outcomes[n + 1]
                assert isinstance(outcome, asyncio.CancelledError) if leaves else outcome == [n] * count
            assert batcher.waiting == 0

    asyncio.run(scenario())
