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
    # Only now: a bad setting should not have to wait for the libraries.
    from service.app import create_app, create_service
    from service.bundle import BundleError
    from service.logs import configure_logging
    from service.server import PortError, Server, bind

    configure_logging(settings.log_level)
    try:
        service = create_service(settings)
        sock = bind(settings.host, settings.port)
    except (BundleError, PortError) as error:
        print(error, file=sys.stderr)
        return EXIT_STARTUP
    # Before the app is built, so that the models load meanwhile.
    service.registry.start(service.startup_errors.append)
    server = Server(create_app(settings, service), service)
    # What is there by now stays; looking through it again and again would stop all threads for milliseconds.
    gc.collect()
    gc.freeze()
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
