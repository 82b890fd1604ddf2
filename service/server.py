"""The web server around the app: signals, draining, and an exit code that says how it went."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn

from service.app import ROUTES, App
from service.files import most_connections
from service.lane import Lane
from service.lane_protocol import protocol_class
from service.middleware import Gate
from service.port import port_error
from service.state import Service

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LINGER_S = 0.5
"""Seconds that a draining server stays reachable even with nothing in flight, so that probes see it red."""


class Server(uvicorn.Server):
    """Stops in this order: readiness red and new work refused, work in flight finished, connections closed."""

    def __init__(self, app: App, service: Service) -> None:
        """Configures the server from the service's settings."""
        settings = service.settings
        lane = Lane(service, app.questions, Gate(app, service, ROUTES))
        protocol = protocol_class(
            settings.receive_timeout_s, settings.request_timeout_s, settings.max_header_bytes, lane, most_connections()
        )
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._service = service
        self._drain_started: float | None = None
        self._cut = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts listening, and says where; a server that took the same address at the same time may be earlier."""
        await super().startup(sockets)
        if any(sock.fileno() < 0 for sock in sockets or ()):  # that is how uvloop says that it could not listen
            settings = self._service.settings
            error = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            self._service.startup_errors.append(port_error(settings.host, settings.port, error))
            self.started, self.should_exit = False, True
            return
        for sock in sockets or ():
            host, port = sock.getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            logger.info("listening", extra={"host": host, "port": port, "url": url})

    async def on_tick(self, counter: int) -> bool:
        """Runs ten times a second; says whether it is time to stop."""
        if self._service.startup_errors:
            self.should_exit = True
        if self._drain_started is not None and self._is_drained(time.monotonic() - self._drain_started):
            self.should_exit = True
        return await super().on_tick(counter)

    def _is_drained(self, seconds: float) -> bool:
        """Tells whether nothing is left; what is when the time is over is given up, and answers so."""
        tasks = self.server_state.tasks
        if not tasks:
            return seconds >= min(_LINGER_S, self._service.settings.drain_s)
        if seconds >= self._service.settings.drain_s and not self._cut:
            self._cut = True
            logger.warning("drain time is over", extra={"requests_left": len(tasks)})
            for task in list(tasks):
                task.cancel()
        return seconds >= self._service.settings.drain_s + _LINGER_S

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals here: the base class would raise them again at the end and die of them instead of exiting."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Starts draining at the first signal, and leaves at the second."""
        if self._drain_started is not None:
            logger.warning("second signal: leaving at once")
            logging.shutdown()
            # Threads may be in the middle of a run, and nobody waits for them any more.
            os._exit(1)
        logger.info("draining", extra={"signal": signal.Signals(sig).name})
        self._drain_started = time.monotonic()
        self._service.drain()
