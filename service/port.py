"""The address that the server listens on, taken before anything slow happens."""

import socket


class PortError(Exception):
    """The address cannot be had; the message is one line that names the settings."""


def bind(host: str, port: int) -> socket.socket:
    """Takes the address before anything slow happens; nobody can connect until the server listens on it.

    Raises:
        PortError: It is in use, or not ours.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except (OSError, UnicodeError) as error:
        raise port_error(host, port, error) from None
    return sock


def port_error(host: str, port: int, error: Exception) -> PortError:
    """Says in one line why an address cannot be had."""
    return PortError(f"SCA_HOST={host!r} SCA_PORT={port}: {getattr(error, 'strerror', None) or error}")
