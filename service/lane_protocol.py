"""A connection that offers its requests to the fast lane, and knows heads that came before without parsing them."""

import asyncio
import sys
from typing import Any, cast

from starlette.responses import Response
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.guards import GONE
from service.heads import Head
from service.lane import Lane
from service.middleware import Headers
from service.protocol import HardenedProtocol
from service.questions import Known
from service.ride import Ride, scope_of
from service.trace import Trace

_MOST_HELD_BYTES = 16 * 1024
"""Of a body that is waited for; a larger image takes the long way anyway."""
_HELD_S = 0.1
"""Seconds that the second part of a request is waited for before the parser and its clocks take over."""
_JOINED_BYTES = 16 * 1024
"""Answers up to this size are joined with their head; of larger ones no copy is made."""


class LaneProtocol(HardenedProtocol):
    """One connection; a request that the lane does not take goes the web server's way."""

    lane: Lane | None = None

    _parsing = False
    _begun = False
    _followed = False
    _opening: bytes | None = None
    _held = b""
    _held_timer: asyncio.TimerHandle | None = None
    _riding: Ride | None = None
    _boarding: tuple[RequestResponseCycle, Known] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the request that is on the lane, or whose body will never come."""
        self._parse_held()
        super().connection_lost(exc)
        if self._riding is not None:
            self._riding.leave()

    def data_received(self, data: bytes) -> None:
        """Starts a request whose head came before, once its body is here, which many send apart; parses all else."""
        held = self._let_go()
        data = held + data
        if self.lane is not None and self._is_idle() and (head := self.lane.recall(data)):
            missing = head.missing(data)
            if missing == 0:
                self._repeat(head, data)
                return
            if missing > 0 and not held and head.body_bytes <= _MOST_HELD_BYTES:
                self._hold_back(data)
                return
        self._parse(data)

    def _hold_back(self, data: bytes) -> None:
        """Keeps the first part of a request, once; who sends more parts than two is the long way's to watch."""
        self._unset_keepalive_if_required()
        self._held = data
        self._held_timer = self.loop.call_later(_HELD_S, self._parse_held)

    def _let_go(self) -> bytes:
        """Returns what was held back."""
        held, self._held = self._held, b""
        if self._held_timer is not None:
            self._held_timer.cancel()
            self._held_timer = None
        return held

    def _parse_held(self) -> None:
        """Gives up waiting."""
        if held := self._let_go():
            self._parse(held)

    def count_refused(self, trace: Trace, status: int) -> None:
        """Counts an answer outside of any request among all the others."""
        if self.lane is not None:
            self.lane.count_refused(trace, status)

    def shutdown(self) -> None:
        """Lets no request wait for its body out of the server's sight when that ends."""
        self._parse_held()
        super().shutdown()

    def _parse(self, data: bytes) -> None:
        self._parsing, self._opening, self._followed = True, None if self._begun else data, False
        super().data_received(data)
        self._parsing, self._opening = False, None
        if self._boarding is not None:  # its body is not here whole
            self.hand(self._boarding[0])

    def _is_idle(self) -> bool:
        """Tells whether the next byte begins a request, and nothing before it is still to be answered or written."""
        answered = self.cycle is None or self.cycle.response_complete
        busy = self._begun or self.pipeline or self.flow.write_paused or self.transport.is_closing()
        return answered and not (busy or self._unwanted)

    def _repeat(self, head: Head, data: bytes) -> None:
        """Starts a whole request whose head came before, past the parser, which never hears of it."""
        assert self.lane is not None
        self._followed = False
        self._unset_keepalive_if_required()
        self._stop_header_timer()
        own: dict[str, Any] = {"client": self.client, "server": self.server, "state": self.app_state.copy()}
        self.cycle = RequestResponseCycle(
            scope=cast(Any, {**head.scope, **own, GONE: self.gone}),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        self.cycle.body += data[head.head_bytes :]
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if not self.lane.take(head.known, self.cycle, self):
            self.hand(self.cycle)

    def on_message_begin(self) -> None:
        """Notes that the parser is in a request, if only in its first line."""
        self._begun = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Offers the lane a request whose body is here."""
        self._begun = False
        # What else came with it, a pipelined request, does not begin with these bytes.
        self._opening = None
        super().on_message_complete()
        if self._boarding is not None:
            self._board(*self._boarding)
        # Requests that came in the same bytes, maybe a thousand, are not all to be answered before the next turn.
        self._followed = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Starts a request on the long way, unless the fast lane may take it once its body is here."""
        first = self._parsing and cycle is self.cycle and not self.flow.write_paused
        if self.lane is not None and first and not cycle.waiting_for_100_continue:
            known = self.lane.knows(scope_of(cycle))
            if known is not None:
                if self._opening is not None:
                    self.lane.remember(self._opening, known, cycle)
                self._boarding = cycle, known
                return
        self._go_long(cycle, app)

    def _go_long(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self.lane is not None:
            self.lane.notice(self)
        super()._start_asgi_task(cycle, app)

    def _board(self, cycle: RequestResponseCycle, known: Known) -> None:
        """Offers the fast lane a request whose body is here."""
        assert self.lane is not None
        self._boarding = None
        if not self.lane.take(known, cycle, self):
            self.hand(cycle)

    def hold(self, ride: Ride) -> None:
        """Keeps the server from ending before `release`; tells the ride if the client leaves."""
        self._riding = ride
        # That is where the web server looks.
        self.tasks.add(ride)  # type: ignore[arg-type]  # all that is done with a task there is to cancel it

    def release(self, ride: Ride) -> None:
        """Ends that."""
        self._riding = None
        self.tasks.discard(ride)

    def has_company(self) -> bool:
        """Tells whether the server is at work on any other request, or has just been in the same turn of its loop."""
        return bool(self.tasks) or self._followed

    def hand(self, cycle: RequestResponseCycle) -> None:
        """Starts a request on the long way."""
        self._boarding = None
        self._go_long(cycle, self.app)

    def reply(self, cycle: RequestResponseCycle, response: Response, headers: Headers) -> None:
        """Writes a whole answer in one go, with more headers than its own."""
        head = [STATUS_LINE[response.status_code]]
        for name, value in (*self.server_state.default_headers, *response.raw_headers, *headers):
            head += (name, b": ", value, b"\r\n")
        head.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if len(response.body) <= _JOINED_BYTES:
            self.transport.write(b"".join((*head, response.body)))
        else:
            self.transport.writelines((b"".join(head), response.body))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()


def protocol_class(
    receive_timeout_s: float,
    write_timeout_s: float,
    max_header_bytes: int,
    lane: Lane | None = None,
    max_connections: int = sys.maxsize,
) -> type[asyncio.Protocol]:
    """Makes a protocol class with these limits and this fast lane; the server only takes a class."""
    settings: dict[str, object] = {
        "header_timeout_s": receive_timeout_s,
        "write_timeout_s": write_timeout_s,
        "max_header_bytes": max_header_bytes,
        "max_connections": max_connections,
        "lane": lane,
    }
    return type("ConfiguredProtocol", (LaneProtocol,), settings)
