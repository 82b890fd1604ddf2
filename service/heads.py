"""The head of a request, as bytes → how the request is answered, if the same bytes came before.

A client that asks again sends the same lines again, but for the body. Parsing them is a large part of what a small
image costs besides the model; looking them up is not. An API key in a head that was let in was right, and keys do not
change while the server runs.
"""

from typing import NamedTuple

from starlette.types import Scope

from service.questions import Known

_START = b"POST "
_END = b"\r\n\r\n"
_MAX_HEADS = 1024
_MAX_BYTES = 1024
_PLAIN = frozenset(
    (
        *(b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"content-type"),
        *(b"content-length", b"authorization", b"x-api-key"),
    )
)
"""Headers that may come again and do not concern the connection: an id of its own would make every head a new one."""
_KEEP_ALIVE = (b"connection", b"keep-alive")
_OWN = frozenset(("client", "server", "state"))
"""What the web server puts into a scope that belongs to a connection."""


class Head(NamedTuple):
    """A head that was parsed.

    Attributes:
        known: How the request is answered.
        scope: The web server's, but for what belongs to the connection.
        head_bytes: Bytes of it, with the empty line that ends it.
        body_bytes: Bytes that follow.
    """

    known: Known
    scope: Scope
    head_bytes: int
    body_bytes: int

    def missing(self, data: bytes) -> int:
        """Returns how many bytes of the request are still to come; what goes beyond it counts below zero."""
        return self.head_bytes + self.body_bytes - len(data)


class Heads:
    """A bounded memory: a new head pushes out the oldest one."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> Head | None:
        """Returns the head that `data` begins with, if it came before."""
        end = data.find(_END, 0, _MAX_BYTES)
        return self._heads.get(data[:end]) if end > 0 and data.startswith(_START) else None

    def remember(self, data: bytes, scope: Scope, known: Known) -> None:
        """Keeps the head of a request that was let in, if it is likely to come again.

        Args:
            data: The request's bytes, from the first one on.
            scope: What the web server made of its head; what was added to it since has keys with a dot.
            known: How it is answered.
        """
        end = data.find(_END, 0, _MAX_BYTES)
        # Most clients say what goes without saying.
        headers = [header for header in scope["headers"] if header != _KEEP_ALIVE]
        names = [name for name, _ in headers]
        plain = _PLAIN.issuperset(names) and names.count(b"content-length") == 1
        # The parser skips empty lines before a request; with them its head would not end where they do.
        if end < 0 or not data.startswith(_START) or scope["http_version"] != "1.1" or not plain:
            return
        body_bytes = int(dict(headers)[b"content-length"])
        kept = {key: value for key, value in scope.items() if key not in _OWN and key != "route" and "." not in key}
        if len(self._heads) >= _MAX_HEADS:
            del self._heads[next(iter(self._heads))]
        self._heads[data[:end]] = Head(known, kept, end + len(_END), body_bytes)
