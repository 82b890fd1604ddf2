"""Feature vectors → the bytes of the format that the client asked for; all formats carry the same float32 bits."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.accept import choose
from service.errors import NotAcceptable

Float32Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Vectors:
    """What is to be written.

    Attributes:
        model: Name of the model that computed them.
        version: Its version.
        rows: float32 (N, D).
        indices: Place in the request of each row, where single images failed; None if none did.
        errors: The failed images, as in a problem's `errors`.
        base64: In JSON, writes each row as base64 of little-endian float32 in the place of the list.
    """

    model: str
    version: str
    rows: Float32Rows
    indices: Sequence[int] | None = None
    errors: Sequence[dict[str, Any]] = ()
    base64: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write vectors: its short name in `?format=` and metrics, its media type, and the writer."""

    name: str
    media_type: str
    write: Callable[[Vectors], bytes]
    headers: Callable[[Vectors], dict[str, str]] = field(default=lambda vectors: {})


def _write_json(vectors: Vectors) -> bytes:
    head = {
        "model": vectors.model,
        "version": vectors.version,
        "shape": vectors.rows.shape,
        "dtype": "float32",
    }
    if vectors.indices is not None:
        head |= {"indices": list(vectors.indices), "errors": list(vectors.errors)}
    if vectors.base64:
        rows = [b'"' + base64.b64encode(row) + b'"' for row in _little_endian(vectors.rows)]
    else:
        # Row by row, so that other threads get their turn between two rows.
        contiguous = np.ascontiguousarray(vectors.rows)
        rows = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in contiguous]
    return b"".join((orjson.dumps(head)[:-1], b',"features":[', b",".join(rows), b"]}"))


def _write_npy(vectors: Vectors) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, _little_endian(vectors.rows), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _write_octets(vectors: Vectors) -> bytes:
    return _little_endian(vectors.rows).tobytes()


def _little_endian(rows: Float32Rows) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows, "<f4")


def _shape_header(vectors: Vectors) -> dict[str, str]:
    return {"X-Shape": ",".join(map(str, vectors.rows.shape)), "X-Dtype": "float32"}


JSON = Format("json", "application/json", _write_json)
FORMATS: tuple[Format, ...] = (
    JSON,
    Format("npy", "application/x-npy", _write_npy),
    Format("octet-stream", "application/octet-stream", _write_octets, _shape_header),
)
"""In the order of preference; a new format is one more line here."""

_BY_NAME = {form.name: form for form in FORMATS} | {form.media_type: form for form in FORMATS}


def pick_format(name: str | None, accept: bytes, offered: Sequence[Format] = FORMATS) -> Format:
    """Finds the format of an answer: `?format=` if given, else the best of `Accept`.

    Raises:
        NotAcceptable: No offered format is what the client accepts.
    """
    if name is not None:
        form = _BY_NAME.get(name.lower())
        if form in offered and form is not None:
            return form
        asked = name[:100]
    else:
        media_type = choose(accept, [form.media_type for form in offered])
        if media_type is not None:
            return _BY_NAME[media_type]
        asked = accept.decode("latin-1")[:100]
    have = ", ".join(f"{form.media_type} ({form.name})" for form in offered)
    raise NotAcceptable(f"There is no output format {asked!r} here; there is {have}.")
