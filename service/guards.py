"""What ends a request early: its deadline, or a client who left."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive

from service.errors import ClientGone, DeadlinePassed
from service.trace import Trace


@asynccontextmanager
async def end_by_deadline(trace: Trace, seconds: float) -> AsyncIterator[None]:
    """Ends what is inside when the request's time is over."""
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(now + trace.started + seconds - time.monotonic()):
            yield
    except TimeoutError:
        detail = f"The answer was not ready within {seconds:g} s."
        raise DeadlinePassed(detail, limit=seconds) from None


@asynccontextmanager
async def end_if_client_leaves(receive: Receive) -> AsyncIterator[None]:
    """Ends what is inside when the client leaves; the whole body must have been received."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def wait_for_disconnect() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.create_task(wait_for_disconnect())
    try:
        yield
    except asyncio.CancelledError:
        # A cancellation from elsewhere, such as the deadline's, is not ours to swallow.
        if gone and task.uncancel() == 0:
            raise ClientGone("The client left.") from None
        raise
    finally:
        watcher.cancel()
