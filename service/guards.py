"""What ends a request early: an upload that is too slow, its deadline, or a client who left."""

import asyncio
import time
from types import TracebackType

from starlette.types import Receive, Scope

from service.errors import ClientGone, DeadlinePassed, ServiceError
from service.intake import upload_timeout
from service.trace import Trace

GONE = "sca.gone"
"""Where the server's protocol puts a future that ends when the connection does."""


class Guard:
    """Ends what is inside by cancelling it, and raises the reason in its place.

    One timer a request, which looks again when it goes off, and no task: under our own server a client's departure is
    told by a future. A cancellation from elsewhere passes.
    """

    def __init__(self, scope: Scope, receive: Receive, trace: Trace, upload_s: float, request_s: float) -> None:
        """Takes the request, and its limits in seconds.

        Args:
            scope: The request's.
            receive: Listened to after the upload, where the server tells of departures in no other way.
            trace: Holds when the request began, which is what `request_s` counts from.
            upload_s: Limit from now until `uploaded` is called.
            request_s: Limit for all of it.
        """
        self._receive = receive
        self._gone: asyncio.Future[None] | None = scope.get(GONE)
        self._upload_s, self._request_s = upload_s, request_s
        self._uploading = time.monotonic() + upload_s
        self._deadline = trace.started + request_s
        self._error: ServiceError | None = None
        self._ended = False

    async def __aenter__(self) -> "Guard":
        """Starts the clock."""
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._watch()
        return self

    def uploaded(self) -> None:
        """Says that the whole body is here: its limit is off, and from now on the client must stay."""
        self._uploading = float("inf")
        if self._gone is None:
            self._gone = asyncio.create_task(self._listen())
        self._gone.add_done_callback(self._leave)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops to watch."""
        self._ended = True  # a callback may be on its way already
        self._timer.cancel()
        if self._gone is not None:
            self._gone.remove_done_callback(self._leave)
            if isinstance(self._gone, asyncio.Task):
                self._gone.cancel()
        raised, self._error = self._error, None
        if raised is not None:
            others = self._task.uncancel() > self._cancelling
            if kind is asyncio.CancelledError and not others:
                try:
                    raise raised from None
                finally:
                    # An error leads to this frame, and a frame to its error: such a circle would keep the body.
                    del raised, error, trace

    def _watch(self) -> None:
        """Sets the timer to the next limit."""
        loop = asyncio.get_running_loop()
        seconds = min(self._uploading, self._deadline) - time.monotonic()
        self._timer = loop.call_later(max(0.0, seconds), self._look)

    def _look(self) -> None:
        """Ends the request, unless the limit that the timer was set to is off."""
        now = time.monotonic()
        if now >= self._deadline:
            seconds = self._request_s
            self._end(DeadlinePassed(f"The answer was not ready within {seconds:g} s.", limit=seconds))
        elif now >= self._uploading:
            self._end(upload_timeout(self._upload_s))
        else:
            self._watch()

    def _leave(self, gone: "asyncio.Future[None]") -> None:
        self._end(ClientGone("The client left."))

    def _end(self, error: ServiceError) -> None:
        if not self._ended and self._error is None:
            self._error = error
            self._task.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
