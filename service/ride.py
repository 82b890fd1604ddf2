"""One request on the fast lane, from the queue to its answer: told of its rows by the batcher, without a future."""

import asyncio
import time
from typing import Protocol, cast

from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.batch import Entry, Rows
from service.errors import ClientGone, DeadlinePassed, Draining
from service.flow import ENDED, Answered, Order, finish, write
from service.middleware import Headers, count_request, headers_of
from service.model import Model
from service.state import Service
from service.trace import trace_of


class Connection(Protocol):
    """What a ride needs of the web server's connection.

    Attributes:
        loop: The event loop in whose thread it lives.
    """

    loop: asyncio.AbstractEventLoop

    def hold(self, ride: "Ride") -> None:
        """Keeps the server from ending before `release`; tells the ride if the client leaves."""

    def release(self, ride: "Ride") -> None:
        """Ends that."""

    def reply(self, cycle: RequestResponseCycle, response: Response, headers: Headers) -> None:
        """Writes a whole answer, with more headers than its own."""

    def hand(self, cycle: RequestResponseCycle) -> None:
        """Hands a request to the long way."""

    def has_company(self) -> bool:
        """Tells whether the server is at work on any other request, or has just been in the same turn of its loop."""


def scope_of(cycle: RequestResponseCycle) -> Scope:
    """Returns a request's scope, which the web server types as one that holds nothing but its own keys."""
    return cast(Scope, cycle.scope)


class Ride:
    """One queued request; the `Waiter` of its entry. It ends once: with rows, or with an error on the long way.

    Attributes:
        entry: Its place in the queue, until it ends; set before it starts.
    """

    __slots__ = ("_connection", "_cycle", "_done", "_loop", "_model", "_order", "_service", "_timer", "entry")

    entry: Entry

    def __init__(
        self, service: Service, model: Model, order: Order, cycle: RequestResponseCycle, connection: Connection
    ) -> None:
        """Knows what was asked, and where the answer goes."""
        self._service, self._model, self._order = service, model, order
        self._cycle, self._connection = cycle, connection
        self._loop = connection.loop
        self._done = False

    def arrive(self, rows: Rows) -> None:
        """Answers without having waited."""
        self._done = True
        try:
            self._answer(rows)
        except Exception as bug:
            self._hand(bug)

    def start(self, deadline: float) -> None:
        """Waits for the rows, the deadline, or the client to leave."""
        self._service.metrics.note(self._service.metrics.inflight.inc)
        self._timer = self._loop.call_later(max(0.0, deadline - time.monotonic()), self._on_deadline)
        self._connection.hold(self)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """See `Waiter`."""
        return self._loop

    def done(self) -> bool:
        """See `Waiter`."""
        return self._done

    def set_result(self, result: Rows, /) -> None:
        """Answers."""
        self._end()
        self.arrive(result)

    def set_exception(self, exception: Exception, /) -> None:
        """Leaves the answer to the long way, where errors are made."""
        self._end()
        self._hand(exception)

    def cancel(self, msg: object = None) -> None:
        """Gives up; the web server does so with what is left at its end."""
        self._give_up(Draining())

    def leave(self) -> None:
        """Gives up because the client left."""
        self._give_up(ClientGone("The client left."))

    def _on_deadline(self) -> None:
        seconds = self._service.settings.request_timeout_s
        self._give_up(DeadlinePassed(f"The answer was not ready within {seconds:g} s.", limit=seconds))

    def _give_up(self, error: Exception) -> None:
        if not self._done:
            self._model.batcher.drop(self.entry)
            self.set_exception(error)

    def _end(self) -> None:
        self._done = True
        # The two know each other, and a cycle would keep the rows until the collector comes by.
        del self.entry
        self._timer.cancel()
        self._connection.release(self)
        self._service.metrics.note(self._service.metrics.inflight.dec)

    def _hand(self, error: Exception) -> None:
        scope_of(self._cycle)[ENDED] = error
        self._connection.hand(self._cycle)

    def _answer(self, rows: Rows) -> None:
        service, scope = self._service, scope_of(self._cycle)
        trace = trace_of(scope)
        trace.seconds["queue"], trace.seconds["infer"] = rows.queue_s, rows.infer_s
        answered = Answered(self._model, rows.outputs, None, [])
        response = finish(service, trace, answered, write(service, trace, self._order, answered))
        self._connection.reply(self._cycle, response, headers_of(trace))
        count_request(service.metrics, scope, trace, "POST", response.status_code)
