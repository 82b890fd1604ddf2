"""A session that tests can hold, and a batcher around it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from service.batch import Images, Outputs, UInt8Array
from service.batcher import Batcher

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
