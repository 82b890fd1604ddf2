"""The edge of the app, as plain ASGI: request ids, timing and counting; then who may come in, and when."""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Draining, Internal, ServiceError, Unauthorized
from service.flow import ENDED
from service.metrics import Metrics
from service.problems import refusal
from service.state import Service
from service.trace import KEY, Trace, start_trace

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
_CLOSE: Headers = [(b"connection", b"close")]
_OPEN = ("/health/", "/errors/", "/v2/health/")
_OPEN_PATHS = frozenset(("/", "/metrics", "/docs", "/openapi.json"))


class Edge:
    """The outermost layer: gives each request its trace, each answer its headers, and counts it."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        """Wraps the app."""
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request, or passes the lifespan through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = start_trace(scope)
        method = scope["method"]
        # HEAD is GET without the body, which the server leaves out by itself.
        inner = {**scope, KEY: trace, "method": "GET" if method == "HEAD" else method}
        status = 0
        waiting = any(name == b"expect" for name, _ in scope["headers"])

        async def receive_at_last() -> Message:
            nonlocal waiting
            waiting = False
            return await receive()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *headers_of(trace)]
                if waiting:  # Its body may come or not, so nobody knows what the connection's next bytes will be.
                    message["headers"] += _CLOSE
            await send(message)

        try:
            await self._app(inner, receive_at_last if waiting else receive, send_with_headers)
        except ServiceError as error:
            await refusal(error, inner)(inner, receive, send_with_headers)
        # The last place before the server, which would answer with a page of its own.
        except Exception as error:
            logger.error("unexpected error", exc_info=error, extra={"request_id": trace.request_id})
            if not status:
                await refusal(Internal(), inner)(inner, receive, send_with_headers)
        # The server gives up what is left when the drain time is over: no bug, and the client may try elsewhere.
        except asyncio.CancelledError:
            if status or not self._service.draining:
                raise
            await refusal(Draining(), inner)(inner, receive, send_with_headers)
        finally:
            count_request(self._service.metrics, inner, trace, method, status or 499)


def headers_of(trace: Trace) -> Headers:
    """Lists the headers that every answer has."""
    return [
        (b"x-request-id", trace.request_id.encode()),
        (b"server-timing", trace.server_timing().encode()),
        (b"x-content-type-options", b"nosniff"),
    ]


def count_request(metrics: Metrics, scope: Scope, trace: Trace, method: str, status: int) -> None:
    """Counts a request that is over, and logs it where that is wanted."""
    # The framework's own pages have no route object.
    own = scope["path"] if scope["path"] in _OPEN_PATHS else "_other"
    route = str(getattr(scope.get("route"), "path", own))
    seconds = time.monotonic() - trace.started
    method = method if method in _METHODS else "_other"
    metrics.note(metrics.child(metrics.requests, route, method, str(status)).inc)
    metrics.note(metrics.child(metrics.request_seconds, route).observe, seconds)
    if trace.reason is not None:
        metrics.rejected.labels(trace.reason).inc()
    if status == 499:
        metrics.disconnects.labels(trace.stage).inc()
    # What is refused on purpose, as by a server that drains, is counted and no news.
    level = logging.WARNING if status >= 500 and trace.reason is None else logging.DEBUG
    if logger.isEnabledFor(level):
        extra = {"request_id": trace.request_id, "route": route, "method": method, "status": status}
        logger.log(level, "request", extra=extra | {"seconds": round(seconds, 6), "images": trace.images})


class Gate:
    """Refuses who has no key, and new work while draining; health, metrics and documentation stay open."""

    def __init__(self, app: ASGIApp, service: Service, routes: Sequence[BaseRoute]) -> None:
        """Wraps the app, whose routes name what is refused here.

        Keys are kept as digests, so that comparing takes the same time for any length.
        """
        self._app = app
        self._service = service
        self._routes = routes
        self._keys = [_digest(key.get_secret_value().encode()) for key in service.settings.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers in its place."""
        # What ended was let in before.
        reason = self.reason(scope) if scope["type"] == "http" and ENDED not in scope else None
        if reason is None:
            await self._app(scope, receive, send)
        else:
            scope["route"] = next((each for each in self._routes if each.matches(scope)[0] is not Match.NONE), None)
            # Answered here and not raised, so that the CORS layer around this one adds its headers.
            await refusal(reason, scope)(scope, receive, send)

    def reason(self, scope: Scope) -> ServiceError | None:
        """Tells why a request may not come in; None lets it."""
        if _is_open(scope["path"]):
            return None
        if self._keys and not self._has_key(scope["headers"]):
            return Unauthorized(
                "This server needs an API key: send Authorization: Bearer KEY or X-API-Key: KEY.",
                headers={"WWW-Authenticate": 'Bearer realm="sca"'},
            )
        if self._service.draining:
            return Draining()
        return None

    def _has_key(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        found = False
        for name, value in headers:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = _digest(value[7:].strip())
            elif name == b"x-api-key":
                given = _digest(value.strip())
            else:
                continue
            for key in self._keys:
                # No early way out: the time must not tell which key came close.
                found = hmac.compare_digest(given, key) | found
        return found


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(_OPEN)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
