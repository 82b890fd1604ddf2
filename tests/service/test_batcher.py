"""Every request gets its own rows, once, in order; the queue is bounded in images; nothing stops the loop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batch import Images, Outputs, UInt8Array
from service.batcher import Batcher
from service.errors import DeadlinePassed, Draining, InferenceFailed, Internal, QueueFull

ROWS = frozenset(("rows",))


class Session:
    """A run that answers each image's first value, can be held, and remembers its batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.sizes: list[int] = []
        self.fault: Callable[[UInt8Array], None] = lambda batch: None

    def __call__(self, batch: UInt8Array, wants: frozenset[str]) -> Outputs:
        self.sizes.append(len(batch))
        self.entered.set()
        assert self.open.wait(10)
        self.fault(batch)
        return {name: batch[:, 0, 0, :1].astype(np.float32) for name in wants}


def images(*values: int) -> list[UInt8Array]:
    return [np.full((2, 2, 1), value, np.uint8) for value in values]


@asynccontextmanager
async def batching(run: Any, **knobs: Any) -> AsyncIterator[Batcher]:
    batcher = Batcher(run, (2, 2, 1), **({"max_batch": 4, "queue_images": 100} | knobs))
    try:
        yield batcher
    finally:
        if isinstance(run, Session):
            run.open.set()
        batcher.close()
        assert batcher.waiting == 0


async def values(batcher: Batcher, given: Images) -> list[int]:
    return (await batcher.submit(given, ROWS)).outputs["rows"][:, 0].astype(int).tolist()  # type: ignore[no-any-return]  # numpy types tolist as Any


async def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        await asyncio.sleep(0.001)


async def hold(session: Session, batcher: Batcher) -> "asyncio.Task[list[int]]":
    """Occupies the session with one image until `session.open` is set."""
    session.open.clear()
    session.entered.clear()
    task = asyncio.create_task(values(batcher, images(255)))
    await until(session.entered.is_set)
    session.sizes.clear()
    return task


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
