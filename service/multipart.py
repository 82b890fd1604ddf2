"""A `multipart/form-data` body in memory → the bytes of its image parts; nothing is ever spilled to a file."""

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import Malformed, TooManyImages

PART_NAMES = ("images", "image", "file", "images[]")
_MAX_PART_HEADERS = 16
_MAX_PART_HEADER_BYTES = 4096


class _TooManyPartsError(Exception):
    """Parsing ends here: taking on many small parts would take seconds."""


class _Collector:
    """Receives the parser's callbacks and keeps the parts, up to a limit."""

    def __init__(self, max_images: int) -> None:
        self.images: list[bytes] = []
        self.complete = False
        self._max_images = max_images
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._pieces: list[bytes] = []
        self._unnamed = False

    def on_part_begin(self) -> None:
        if len(self.images) >= self._max_images:
            raise _TooManyPartsError
        self._headers, self._pieces = {}, []

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._unnamed = options.get(b"filename") == b""
        if disposition != b"form-data" or name not in PART_NAMES:
            raise Malformed(f"A part is named {name[:100]!r}; image parts are named {', '.join(PART_NAMES[:3])}.")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def on_part_end(self) -> None:
        if self._unnamed and not any(self._pieces):
            return  # that is how a form sends a field in which no file was chosen
        self.images.append(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))

    def on_end(self) -> None:
        self.complete = True


def read_multipart(content_type: bytes, body: bytes, max_images: int) -> list[bytes]:
    """Splits a body into its image parts.

    Args:
        content_type: The header's value, which holds the boundary.
        body: The whole body.
        max_images: Parts allowed; the next one ends the parsing.

    Raises:
        Malformed: No boundary, broken or cut framing, or a part that is no image part.
        TooManyImages: More parts than allowed.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary or len(boundary) > 200:
        raise Malformed("The multipart content type has no usable boundary.")
    start = body.find(b"\r\n--" + boundary) if not body.lstrip(b"\r\n").startswith(b"--" + boundary) else -1
    if start > 0:  # a preamble, which is for readers that know nothing of parts (RFC 2046, section 5.1.1)
        body = body[start:]
    parts = _Collector(max_images)
    callbacks = {name: getattr(parts, name) for name in dir(parts) if name.startswith("on_")}
    try:
        parser = MultipartParser(
            boundary,
            callbacks,  # type: ignore[arg-type]  # a TypedDict, whose keys the collector's methods are named after
            max_header_count=_MAX_PART_HEADERS,
            max_header_size=_MAX_PART_HEADER_BYTES,
        )
        parser.write(body)
        parser.finalize()
    except _TooManyPartsError:
        # Every boundary but the first follows a line break, and the last one closes.
        actual = max(max_images + 1, body.count(b"\r\n--" + boundary) - body.startswith(b"\r\n"))
        detail = f"The request has {actual} images; the limit is {max_images}."
        raise TooManyImages(detail, limit=max_images, actual=actual) from None
    except (MultipartParseError, ValueError) as error:
        raise Malformed(f"The multipart body is broken: {error}.") from None
    if not parts.complete:
        raise Malformed("The multipart body is cut: its closing boundary is missing.")
    return parts.images
