"""Feature vectors → the bytes of the format that the client asked for; all formats carry the same bits."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import orjson

from service.accept import choose
from service.arrow import write_arrow
from service.errors import NotAcceptable
from service.tensors import write_csr, write_safetensors
from service.vectors import DEFAULT_OUTPUT, DType, Vectors

_HEADERS = 256


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write vectors: its short name in `?format=` and metrics, its media type, and the writer."""

    name: str
    media_type: str
    write: Callable[[Vectors], bytes | memoryview]
    headers: Callable[[Vectors], dict[str, str]] = field(default=lambda vectors: {})


def _write_json(vectors: Vectors) -> bytes:
    head = {
        "model": vectors.model,
        "version": vectors.version,
        "shape": vectors.rows.shape,
        "dtype": vectors.dtype,
    }
    if vectors.output != DEFAULT_OUTPUT:
        head["output"] = vectors.output
    if vectors.indices is not None:
        head |= {"indices": list(vectors.indices), "errors": list(vectors.errors)}
    if vectors.base64:
        rows = [b'"' + base64.b64encode(row) + b'"' for row in vectors.rows]
    else:
        # Row by row, so that other threads get their turn between two rows.
        rows = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in vectors.rows]
    return b"".join((orjson.dumps(head)[:-1], b',"features":[', b",".join(rows), b"]}"))


def _write_npy(vectors: Vectors) -> bytes:
    # The library's own writer copies the numbers three times on their way into a stream.
    return b"".join((_npy_header(vectors.rows.shape, vectors.dtype), vectors.rows.data))


@lru_cache(_HEADERS)
def _npy_header(shape: tuple[int, ...], dtype: DType) -> bytes:
    """Writes what comes before the numbers; for a single image that takes as long as copying them."""
    head = io.BytesIO()
    descr = np.dtype(dtype).newbyteorder("<").str
    np.lib.format.write_array_header_1_0(head, {"descr": descr, "fortran_order": False, "shape": shape})
    return head.getvalue()


def _write_octets(vectors: Vectors) -> memoryview:
    return vectors.rows.data.cast("B")


def _shape_header(vectors: Vectors) -> dict[str, str]:
    return {"X-Shape": ",".join(map(str, vectors.rows.shape)), "X-Dtype": vectors.dtype}


JSON = Format("json", "application/json", _write_json)
FORMATS: tuple[Format, ...] = (
    JSON,
    Format("npy", "application/x-npy", _write_npy),
    Format("octet-stream", "application/octet-stream", _write_octets, _shape_header),
    Format("arrow", "application/vnd.apache.arrow.stream", write_arrow),
    Format("safetensors", "application/x-safetensors", write_safetensors),
    Format("csr", "application/vnd.sca.csr+safetensors", write_csr),
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
