"""The server's HTTP/1.1 protocol, hardened: deadlines for headers and readers, a cap on headers, errors as problems."""

import asyncio
import sys

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import Malformed, NoConnection, ServiceError
from service.files import WAITING
from service.framing import find_fault, last_answer, too_large, without_offer
from service.guards import GONE
from service.middleware import headers_of
from service.problems import problem
from service.trace import Trace, fresh_trace

_FULL = "The server has as many connections as it may have."
_MAX_DISCARDED_BYTES = 64 * 1024 * 1024


class HardenedProtocol(HttpToolsProtocol):
    """One connection.

    Without this, a connection that never completes its headers stays for ever, headers may have any size, and a client
    that never reads its answer keeps it in memory for ever.
    """

    header_timeout_s: float = 10.0
    write_timeout_s: float = 30.0
    max_header_bytes: int = 64 * 1024
    max_connections: int = sys.maxsize

    gone: asyncio.Future[None]
    _header_bytes = 0
    _framing_bytes = 0
    _discarded_bytes = 0
    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _written = 0
    _working: RequestResponseCycle | None = None
    _previous: RequestResponseCycle | None = None
    _broken = False
    _unwanted = False
    _received = b""
    _rest: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base class does
        """Starts the clock for the first request's headers."""
        super().connection_made(transport)
        self.gone = self.loop.create_future()
        self._arm_header_timer()
        over = len(self.connections) - self.max_connections
        self._unwanted = over > 0
        if over > WAITING:
            self._refuse(NoConnection(_FULL))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops all clocks, and tells the requests that are still being worked on."""
        self.gone.set_result(None)
        if self._working is not None:
            self._working.disconnected = True  # the base class tells the newest request, which may wait behind this one
        self._stop_header_timer()
        self._write_timer = _stop(self._write_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came; headers that are still incomplete may not go on for ever, nor grow for ever."""
        if self._broken:
            return
        if self._unwanted:
            return self._refuse(NoConnection(_FULL))
        if self._header_timer is None and not self._in_message:
            self._arm_header_timer()
        # In a message the clock is that of a body whose answer is already out; what comes then are no headers.
        if self._header_timer is not None and not self._in_message:
            self._header_bytes += len(data)
        if self._in_message:
            self._framing_bytes += len(data)
        rest: bytes | None = data
        while rest is not None:
            self._received, self._rest = rest, None
            super().data_received(rest)
            rest = self._rest
        if self._header_timer is not None and not self._in_message and self._header_bytes > self.max_header_bytes:
            self._refuse(too_large(self.max_header_bytes))
        if self._in_message and self._framing_bytes > self.max_header_bytes:
            # Of a chunked body nothing comes any more but trailers, or what else is between its chunks.
            self._refuse(too_large(self.max_header_bytes))

    _in_message = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header; a trailer is none, and nothing here is defined to come as one (RFC 9110, section 6.5.1)."""
        if not self._in_message:
            super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Stops the clock of an idle connection, which a refusal just before, in the same bytes, may have started."""
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stops the clock for headers: from here the app has its own for the body."""
        if self.parser.should_upgrade():
            return  # an offer to change the protocol, or CONNECT: see `_unsupported_upgrade_warning`
        version = self.parser.get_http_version()
        if (fault := find_fault(self.url, self.headers, version, self.max_header_bytes)) is not None:
            self._refuse(fault)
            # The parser turns this into the error that it reports for a broken request, which ends the connection.
            raise ValueError(fault.detail)
        if version == "1.0":
            self.expect_100_continue = False  # such a client knows no interim answers (RFC 9110, section 10.1.1)
        self._stop_header_timer()
        self._header_bytes = self._discarded_bytes = self._framing_bytes = 0
        self._in_message = True
        self.scope[GONE] = self.gone  # type: ignore[literal-required]  # ASGI lets servers add keys of their own
        self._previous = self.cycle
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._working = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Takes a piece of the body, or throws it away if the answer is already out (413, for example).

        Closing at once instead would reset the connection under a client that is still sending, and the answer would be
        lost with it.
        """
        self._framing_bytes = 0
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > _MAX_DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Notes that what comes next are headers again."""
        if self.parser.should_upgrade():
            return
        self._in_message = False
        self._stop_header_timer()
        super().on_message_complete()
        if not self.pipeline:
            # A large body pauses reading until the app asks for more, which it does not when all is here; and what is
            # not read from tells of no departure.
            self.flow.resume_reading()
        if self.cycle.response_complete and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            # Answered before its end, which has stopped the clock of an idle connection again.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Gives a client that was answered early some time to finish its body, and every client some to read."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch_writing()
        # With pipelining the newest request may be another one, which is only about to be answered.
        if self._in_message and self.cycle.response_complete and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.header_timeout_s, self.transport.close)

    def pause_writing(self) -> None:
        """Starts the clock for a client that does not read its answer."""
        super().pause_writing()
        self._watch_writing()

    def _watch_writing(self) -> None:
        """Sees to it that a client which reads nothing is cut off; one that reads slowly may take its time."""
        self._written += 1
        if self._write_timer is None:
            self._look_later()

    def _look_later(self) -> None:
        """Looks again in a while: if nothing was written meanwhile, less must be unread than now."""
        unread, written = self.transport.get_write_buffer_size(), self._written

        def look() -> None:
            self._write_timer = None
            still = self.transport.get_write_buffer_size()
            if still >= unread > 0 and self._written == written:
                self.transport.abort()
            elif still:
                self._look_later()

        self._write_timer = self.loop.call_later(self.write_timeout_s, look)

    def _unsupported_upgrade_warning(self) -> None:
        """Stays with HTTP/1.1, as a server may (RFC 9110, section 7.8), when a client offers another protocol.

        Called in the handler of the error by which the parser tells of it. That has stopped after the head, and would
        take the body for the other protocol's bytes; so a new one gets the same head without the offer, and the rest.
        """
        offer = sys.exc_info()[1]
        assert isinstance(offer, httptools.HttpParserUpgrade)
        method, rest = self.parser.get_method(), self._received[offer.args[0] :]
        if method == b"CONNECT":
            self._refuse(Malformed("CONNECT is not supported."))
            return
        self._rest = without_offer(method, self.url, self.parser.get_http_version(), self.headers) + rest
        self.parser = httptools.HttpRequestParser(self)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP with a problem, like everything else."""
        self._refuse(Malformed(msg))

    def _arm_header_timer(self) -> None:
        self._header_bytes = 0
        self._header_timer = self.loop.call_later(self.header_timeout_s, self.transport.close)

    def _stop_header_timer(self) -> None:
        self._header_timer = _stop(self._header_timer)

    def _refuse(self, error: ServiceError) -> None:
        """Answers outside of any request, and closes; after the answers that are owed, of which the last says so."""
        if self._broken or self.transport.is_closing():
            return
        self._stop_header_timer()
        if self._in_message and self.cycle.response_started:
            self.transport.close()
            return
        if (owed := self._last_owed()) is not None:
            self._broken, owed.keep_alive = True, False
            return
        trace = fresh_trace()
        fields = [*self.server_state.default_headers, *headers_of(trace)]
        self.transport.write(last_answer(problem(error, trace), error.title, fields))
        self.transport.close()
        self.count_refused(trace, error.status)

    def _last_owed(self) -> RequestResponseCycle | None:
        """Returns the newest request before what is being parsed that is not answered yet; drops one that is broken."""
        if self._in_message and self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
            return self._previous
        if self._in_message or self.cycle is None or self.cycle.response_complete:
            return None
        return self.cycle

    def count_refused(self, trace: Trace, status: int) -> None:
        """Told of each answer outside of any request."""


def _stop(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer is not None:
        timer.cancel()
    return None
