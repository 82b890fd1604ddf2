"""The fast lane: one small image whose question is known, answered from callbacks, without a task or a framework.

The web server starts a task for each request, which passes through layers, timers and message objects. That is a fair
price for a photo, and a fifth of the whole for a thumbnail. What is decided here is only what goes well: whatever is
unusual before the image is queued takes the long way from its beginning, and whatever goes wrong afterwards takes it to
its end, so that errors are made in one place.
"""

import asyncio
import math
import time
from typing import Any, Protocol, cast

from numpy.typing import NDArray
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.batch import Entry, Rows
from service.errors import ClientGone, DeadlinePassed, Draining, QueueFull, ServiceError
from service.flow import ENDED, INLINE_VALUES, Answered, Order, check_room, finish, write
from service.images import decode, is_small
from service.middleware import Gate, Headers, count_request, headers_of
from service.model import Model
from service.problems import refusal
from service.questions import Known, Questions, question_of
from service.state import Service
from service.trace import KEY, Trace, start_trace, trace_of


class Connection(Protocol):
    """What the lane needs of the web server's connection.

    Attributes:
        gone: Ends when the client leaves.
    """

    gone: "asyncio.Future[None]"

    def hold(self, future: "asyncio.Future[Any]") -> None:
        """Keeps the server from ending before this future does."""

    def reply(self, cycle: RequestResponseCycle, response: Response, headers: Headers) -> None:
        """Writes a whole answer, with more headers than its own."""

    def hand(self, cycle: RequestResponseCycle) -> None:
        """Hands a request to the long way."""


def scope_of(cycle: RequestResponseCycle) -> Scope:
    """Returns a request's scope, which the web server types as one that holds nothing but its own keys."""
    return cast(Scope, cycle.scope)


class Lane:
    """Takes the requests that it can answer."""

    def __init__(self, service: Service, questions: Questions, gate: Gate) -> None:
        """Shares what the app knows: how questions are answered, and who may come in."""
        self._service = service
        self._questions = questions
        self._gate = gate

    def knows(self, scope: Scope) -> Known | None:
        """Returns how a request is answered, if it may come in and its question was asked before."""
        if self._service.settings.cors_origins:  # which would add headers of their own
            return None
        known = self._questions.get(question_of(scope))
        return known if known and not known.ask.skip_bad and self._gate.reason(scope) is None else None

    def take(self, known: Known, cycle: RequestResponseCycle, connection: Connection) -> bool:
        """Takes a request whose body is here whole: it is answered later, or refused at once if the queue is full.

        Args:
            known: How it is answered.
            cycle: The web server's object of the request.
            connection: Where the answer goes.

        Returns:
            False if it is to take the long way.
        """
        service, scope = self._service, scope_of(cycle)
        trace = start_trace(scope)
        deadline = trace.started + service.settings.request_timeout_s
        if len(cycle.body) > service.limits.body_bytes:
            return False
        try:
            model = service.registry.get(known.ask.model, known.ask.version, known.ask.precision)
            trace.model = model.label
            check_room(model)
            with model.batcher.admit(1) as ticket:
                order = known.read(model, bytes(cycle.body))
                pixels = _decoded(service, trace, model, order)
                if pixels is None:
                    return False
                entry = ticket.put([pixels], order.wants, deadline)
        except QueueFull as error:
            scope["route"], scope[KEY] = known.route, trace
            model.statistics.fail(trace)
            self._refuse(error, cycle, connection)
            return True
        # On the long way it goes wrong again, and there the client is told.
        except Exception:
            return False
        service.metrics.note(service.metrics.decode_seconds.observe, trace.seconds["decode"])
        scope["route"], scope[KEY] = known.route, trace
        trace.images, trace.stage = 1, "queue"
        connection.hold(entry.future)
        _Ride(service, model, order, entry, cycle, connection).start(deadline)
        return True

    def _refuse(self, error: ServiceError, cycle: RequestResponseCycle, connection: Connection) -> None:
        """Says at once that there is no room; under overload this is what most requests come to."""
        scope = scope_of(cycle)
        trace = trace_of(scope)
        response = refusal(error, scope)
        connection.reply(cycle, response, headers_of(trace))
        count_request(self._service.metrics, scope, trace, "POST", response.status_code)


def _decoded(service: Service, trace: Trace, model: Model, order: Order) -> NDArray[Any] | None:
    """Decodes the image of an order; None if it is not one small image, or its rows are long."""
    upload = order.upload
    if not isinstance(upload, list) or len(upload) != 1 or model.bundle.manifest.input.views != 1:
        return None
    values = sum(math.prod(model.session.outputs[name]) for name in order.wants)
    if values > INLINE_VALUES or not is_small(upload[0]):
        return None
    started = time.monotonic()
    pixels = decode(upload[0], model.bundle.rule, service.settings.max_image_pixels)
    trace.seconds["decode"] = time.monotonic() - started
    return pixels


class _Ride:
    """One queued request."""

    __slots__ = ("_connection", "_cycle", "_entry", "_error", "_model", "_order", "_service", "_timer")

    def __init__(
        self,
        service: Service,
        model: Model,
        order: Order,
        entry: Entry,
        cycle: RequestResponseCycle,
        connection: Connection,
    ) -> None:
        self._service, self._model, self._order, self._entry = service, model, order, entry
        self._cycle, self._connection = cycle, connection
        self._error: ServiceError | None = None

    def start(self, deadline: float) -> None:
        """Waits for the rows, the deadline, or the client to leave."""
        self._service.metrics.note(self._service.metrics.inflight.inc)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, deadline - time.monotonic()), self._on_deadline)
        self._connection.gone.add_done_callback(self._on_gone)
        self._entry.future.add_done_callback(self._on_end)

    def _on_deadline(self) -> None:
        seconds = self._service.settings.request_timeout_s
        self._stop(DeadlinePassed(f"The answer was not ready within {seconds:g} s.", limit=seconds))

    def _on_gone(self, gone: "asyncio.Future[None]") -> None:
        self._stop(ClientGone("The client left."))

    def _stop(self, error: ServiceError) -> None:
        if not self._entry.future.done():
            self._error = error
            self._entry.future.cancel()

    def _on_end(self, future: "asyncio.Future[Rows]") -> None:
        self._timer.cancel()
        self._connection.gone.remove_done_callback(self._on_gone)
        self._service.metrics.note(self._service.metrics.inflight.dec)
        if future.cancelled():
            self._model.batcher.drop(self._entry)
            # If not by us, then by the web server, which gives up what is left at its end.
            error: BaseException | None = self._error or Draining("The server is shutting down.")
        else:
            error = future.exception()
        if error is None:
            try:
                self._answer(future.result())
                return
            except Exception as bug:
                error = bug
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
