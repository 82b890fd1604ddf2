"""What ends a request early: its deadline, or a client who left."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

from starlette.types import Receive, Scope

from service.errors import ClientGone, DeadlinePassed
from service.trace import Trace

GONE = "sca.gone"
"""Where the server's protocol puts a future that ends when the connection does."""


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


class EndIfClientLeaves:
    """Ends what is inside when the client leaves; the whole body must have been received.

    Our own server tells it through a future that costs a request next to nothing; under any other, a task listens.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Takes the request's scope and its `receive`."""
        self._receive = receive
        self._told: asyncio.Future[None] | None = scope.get(GONE)
        self._gone = self._ended = False

    async def __aenter__(self) -> None:
        """Starts to watch."""
        self._task = asyncio.current_task()
        if self._told is None:
            self._told = asyncio.create_task(self._listen())
        self._told.add_done_callback(self._leave)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops to watch; a cancellation from elsewhere, such as the deadline's, is not ours to swallow."""
        assert self._told is not None and self._task is not None
        self._ended = True  # the callback may be on its way already
        self._told.remove_done_callback(self._leave)
        if isinstance(self._told, asyncio.Task):
            self._told.cancel()
        if kind is asyncio.CancelledError and self._gone and self._task.uncancel() == 0:
            raise ClientGone("The client left.") from None

    def _leave(self, told: "asyncio.Future[None]") -> None:
        assert self._task is not None
        if not self._ended:
            self._gone = True
            self._task.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
