"""What may be wrong with a request's head before anything is asked of it (RFC 9112), and how to answer then."""

from collections.abc import Iterator, Sequence

from starlette.responses import Response

from service.errors import HeadersTooLarge, Malformed, ServiceError

Fields = Sequence[tuple[bytes, bytes]]
"""Header fields in order, their names in lower case."""


def find_fault(url: bytes, fields: Fields, version: str, max_bytes: int) -> ServiceError | None:
    """Looks at a whole head.

    Args:
        url: The request's target.
        fields: Its header fields.
        version: Of HTTP, such as `1.1`.
        max_bytes: Bytes that the target and the fields may have.

    Returns:
        The error to answer with; None if nothing is wrong.
    """
    size = len(url) + sum(len(name) + len(value) + 4 for name, value in fields)  # with ": " and line end
    if size > max_bytes:
        return too_large(max_bytes)
    hosts = sum(name == b"host" for name, _ in fields)
    if hosts > 1 or not (hosts or version == "1.0"):
        return Malformed("A request of HTTP/1.1 has one Host header (RFC 9112, section 3.2).")
    if any(name == b"transfer-encoding" and value.strip().lower() != b"chunked" for name, value in fields):
        return Malformed("Of transfer codings only chunked is understood (RFC 9112, section 6.1).")
    return None


def too_large(max_bytes: int) -> HeadersTooLarge:
    """Makes the error of a head, or a trailer, that has more bytes."""
    return HeadersTooLarge(f"The headers are over {max_bytes} bytes.", limit=max_bytes)


def last_answer(response: Response, title: str, fields: Fields) -> bytes:
    """Writes a whole answer, with more header fields than its own, after which the connection is closed."""
    head = b"HTTP/1.1 %d %b\r\n" % (response.status_code, title.encode())
    head += b"".join(b"%b: %b\r\n" % field for field in (*fields, *response.raw_headers))
    return head + b"connection: close\r\n\r\n" + bytes(response.body)


def without_offer(method: bytes, url: bytes, version: str, fields: Fields) -> bytes:
    """Writes a request's head without what offers another protocol; whatever else `Connection` says stays."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    return b"\r\n".join((*lines, *(b"%b: %b" % field for field in _without_offer(fields)), b"", b""))


def _without_offer(fields: Fields) -> Iterator[tuple[bytes, bytes]]:
    for name, value in fields:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() not in (b"upgrade", b"http2-settings"))
            if not value:
                continue
        if name not in (b"upgrade", b"http2-settings"):
            yield name, value
