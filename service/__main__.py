"""`python -m service`: settings → a running server."""

import gc
import logging
import os
import sys
from collections.abc import Sequence

from service.settings import SettingsError, read_settings

EXIT_STARTUP = 1
EXIT_SETTINGS = 2


def main(arguments: Sequence[str]) -> int:
    """Runs the server until it is told to stop.

    Returns:
        0 after a clean stop, 1 if a model or the port cannot be had, 2 for an unknown or bad setting.
    """
    try:
        settings = read_settings(arguments)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_SETTINGS
    # Imports make little garbage and many objects that stay, which the collector would look through time and again.
    gc.disable()
    # Only now: a bad setting should not have to wait for the libraries.
    from service.bundle import BundleError
    from service.logs import configure_logging
    from service.port import PortError, bind
    from service.state import create_service

    configure_logging(settings.log_level)
    try:
        service = create_service(settings)
        sock = bind(settings.host, settings.port)
    except (BundleError, PortError) as error:
        print(error, file=sys.stderr)
        return EXIT_STARTUP
    service.registry.start(service.startup_errors.append)
    # Only now: the framework takes as long as the models, which load meanwhile.
    from service.app import create_app
    from service.server import Server

    server = Server(create_app(settings, service), service)
    # All that is there by now stays; the collector would stop all threads for milliseconds to look through it.
    gc.freeze()
    gc.enable()
    # A run that ends waits at most so long for the interpreter while the event loop writes JSON; the default is 5 ms.
    sys.setswitchinterval(0.0002)
    server.run([sock])
    for startup_error in service.startup_errors:
        print(str(startup_error) or repr(startup_error), file=sys.stderr)
    return EXIT_STARTUP if service.startup_errors or not server.started else 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread may still be inside the runtime; tearing the interpreter down under it could crash an orderly exit.
    os._exit(code)
