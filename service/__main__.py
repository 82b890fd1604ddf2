"""`python -m service`: settings → a running server."""

import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

EXIT_STARTUP = 1
EXIT_SETTINGS = 2


def main(arguments: Sequence[str]) -> int:
    """Runs the server until it is told to stop.

    Returns:
        0 after a clean stop, 1 if a model or the port cannot be had, 2 for an unknown or bad setting.
    """
    # Whatever takes time is imported where it is needed: after the signals' handlers here, and each after what may fail
    # before it.
    from service.settings import SettingsError, read_settings

    try:
        settings = read_settings(arguments)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_SETTINGS
    # Imports make little garbage and many objects that stay, which the collector would look through time and again.
    gc.disable()
    from service.bundle import BundleError
    from service.files import raise_limit
    from service.logs import configure_logging
    from service.port import PortError, bind
    from service.state import create_service

    configure_logging(settings.log_level)
    raise_limit()
    try:
        service = create_service(settings)
        sock = bind(settings.host, settings.port)
    except (BundleError, PortError) as error:
        print(error, file=sys.stderr)
        return EXIT_STARTUP
    service.registry.start(service.startup_errors.append)
    # The framework takes as long as the models, which load meanwhile.
    from service.app import create_app
    from service.server import Server

    server = Server(create_app(settings, service), service)
    # All that is there by now stays; the collector would stop all threads for milliseconds to look through it.
    gc.freeze()
    gc.enable()
    # A run that ends waits at most so long for the interpreter while the event loop writes JSON; the default is 5 ms.
    sys.setswitchinterval(0.0002)
    server.run([sock])
    # Of several models each may miss the same device.
    for message in dict.fromkeys(str(error) or repr(error) for error in service.startup_errors):
        print(message, file=sys.stderr)
    return EXIT_STARTUP if service.startup_errors or not server.started else 0


def _leave(number: int, _frame: FrameType | None) -> None:
    """Ends a process that serves nothing yet."""
    os._exit(128 + number)


if __name__ == "__main__":
    # Until the server has its own. The first process of a container ignores what it has no handler for.
    for early in (signal.SIGTERM, signal.SIGINT):
        signal.signal(early, _leave)
    code = main(sys.argv[1:])
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):  # closed before the start, or by who read it
            stream.flush()
    # A thread may still be inside the runtime; tearing the interpreter down under it could crash an orderly exit.
    os._exit(code)
