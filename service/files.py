"""Open files of this process: as many as it may have, and how many connections they are enough for."""

import resource
import sys

RESERVED = 64
"""File descriptors that connections leave to models, libraries, and answers that refuse further connections."""
WAITING = 16
"""Of those, for connections that are refused once they have asked, and so read the answer for sure."""


def raise_limit() -> None:
    """Raises the limit of open files as far as this process may; what starts it often leaves it at 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def most_connections() -> int:
    """Returns how many connections there may be.

    One more would end without an answer at the system's own limit, and whatever opens a file then would fail.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else max(limit - RESERVED, limit // 2)
