"""The fast lane: one small image whose question is known, answered from callbacks, without a task or a framework.

The web server starts a task for each request, which passes through layers, timers and message objects. That is a fair
price for a photo, and a fifth of the whole for a thumbnail. What is decided here is only what goes well: whatever is
unusual before the image is queued takes the long way from its beginning, and whatever goes wrong afterwards takes it to
its end, so that errors are made in one place.
"""

import time
from typing import Any

from numpy.typing import NDArray
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.errors import ImageFailure, QueueFull, ServiceError
from service.flow import INLINE_VALUES, Order
from service.heads import Head, Heads
from service.images import decode, is_small
from service.middleware import Gate, count_request, headers_of
from service.model import Model
from service.problems import refusal
from service.questions import Known, Questions, question_of
from service.ride import Connection, Ride, scope_of
from service.state import Service
from service.trace import KEY, Trace, start_trace, trace_of

_CALM_S = 0.02
"""A client counts as the only one after so long without another's request; it is the time of some runs."""


class Lane:
    """Takes the requests that it can answer."""

    def __init__(self, service: Service, questions: Questions, gate: Gate) -> None:
        """Shares what the app knows: how questions are answered, and who may come in."""
        self._service = service
        self._questions = questions
        self._gate = gate
        self._heads = Heads()
        self._last: object = None
        self._only_since = 0.0

    def recall(self, data: bytes) -> Head | None:
        """Returns the head that `data` begins with, if it came before, was let in and would be now."""
        return None if self._service.draining else self._heads.find(data)

    def remember(self, data: bytes, known: Known, cycle: RequestResponseCycle) -> None:
        """Keeps the head of a request that was let in; `data` are its bytes, from the first one on."""
        self._heads.remember(data, scope_of(cycle), known)

    def knows(self, scope: Scope) -> Known | None:
        """Returns how a request is answered, if it may come in and its question was asked before."""
        if self._service.settings.cors_origins:  # which would add headers of their own
            return None
        known = self._questions.get(question_of(scope))
        return known if known and not known.ask.skip_bad and self._gate.reason(scope) is None else None

    def take(self, known: Known, cycle: RequestResponseCycle, connection: Connection) -> bool:
        """Takes a request whose body is here whole, and answers it later.

        Or at once: with rows if there is nothing else to do, with a refusal if the queue is full.

        Args:
            known: How it is answered.
            cycle: The web server's object of the request.
            connection: Where the answer goes.

        Returns:
            False if it is to take the long way.
        """
        service, scope = self._service, scope_of(cycle)
        trace = start_trace(scope)
        self.notice(connection)
        deadline = trace.started + service.settings.request_timeout_s
        if len(cycle.body) > service.limits.body_bytes:
            return False
        try:
            model = service.registry.get(known.ask.model, known.ask.version, known.ask.precision)
            trace.model = model.label
            model.batcher.check_room()
            order = known.read(model, bytes(cycle.body))
            pixels = _decoded(service, trace, model, order)
            if pixels is None:
                return False
            ride = Ride(service, model, order, cycle, connection)
            rows = model.compute_now(pixels, order.wants) if self._is_only(connection) else None
            if rows is None:
                ride.entry = model.batcher.offer([pixels], order.wants, deadline, ride)
        except QueueFull as error:
            scope["route"], scope[KEY] = known.route, trace
            model.statistics.fail(trace)
            self._refuse(error, cycle, connection)
            return True
        except Exception:  # on the long way it goes wrong again, and there the client is told
            return False
        service.metrics.note(service.metrics.decode_seconds.observe, trace.seconds["decode"])
        scope["route"], scope[KEY] = known.route, trace
        trace.images, trace.stage = 1, "queue"
        ride.start(deadline) if rows is None else ride.arrive(rows)
        return True

    def notice(self, connection: Connection) -> None:
        """Told of every request, so that a client which is the only one can be told from one that is not."""
        if connection is not self._last:
            self._last, self._only_since = connection, time.monotonic()

    def _is_only(self, connection: Connection) -> bool:
        """Tells whether this client's requests are the only ones, and have been for a while.

        Of several clients each would wait for the other's run, instead of sharing the cores or a batch with it.
        """
        return time.monotonic() - self._only_since > _CALM_S and not connection.has_company()

    def count_refused(self, trace: Trace, status: int) -> None:
        """Counts what was refused before it was a request."""
        count_request(self._service.metrics, {"path": ""}, trace, "", status)

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
    file = upload[0]
    if model.session.values(order.wants) > INLINE_VALUES or isinstance(file, ImageFailure) or not is_small(file):
        return None
    started = time.monotonic()
    pixels = decode(file, model.bundle.rule, service.settings.max_image_pixels)
    trace.seconds["decode"] = time.monotonic() - started
    return pixels
