"""A request → a list of image files or an array of pixels, under the byte and image caps."""

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.types import Receive, Scope

from service.bodies import Hold
from service.containers import Broken, inspect
from service.errors import (
    ClientGone,
    ImageFailure,
    Malformed,
    ServiceError,
    TooManyBytes,
    TooManyImages,
    UnsupportedType,
    UploadTimeout,
)
from service.multipart import read_multipart
from service.npy import read_npy

_WHITESPACE = re.compile(r"\s+")
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_MAX_DIGITS = 18
_SPARE_VALUES = 10_000
"""Values that a JSON body may hold beyond those that it needs."""
_ACCEPTED = "image/*, multipart/form-data, application/json, application/x-npy"

File = bytes | ImageFailure
"""An image file, or why there is none in its place."""
Upload = list[File] | NDArray[np.uint8]
"""Image files in order, or pixels of the model's size, uint8 (N, H, W, C)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may bring: bytes of its body, images, and seconds until the body is here."""

    body_bytes: int
    images: int
    receive_s: float


async def read_body(scope: Scope, receive: Receive, limits: Limits, hold: Hold) -> bytes:
    """Receives the body as `collect_body` does, in limited time.

    Raises:
        UploadTimeout: The body is not here in time.
    """
    try:
        async with asyncio.timeout(limits.receive_s):
            return await collect_body(scope, receive, limits.body_bytes, hold)
    except TimeoutError:
        raise upload_timeout(limits.receive_s) from None


async def collect_body(scope: Scope, receive: Receive, max_bytes: int, hold: Hold) -> bytes:
    """Receives the body, and stops at the byte that passes the limit.

    Raises:
        TooManyBytes: The announced or the real length is over the limit.
        ClientGone: The client left.
        NoMemory: Bodies already take as much memory as they may.
        UnsupportedType: The body is compressed, so its real size is unknown.
    """
    _check_announced(scope, max_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left during the upload.")
        if chunk := message.get("body", b""):
            size += len(chunk)
            if size > max_bytes:
                raise _over(max_bytes, size)
            hold.add(len(chunk))
            chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def upload_timeout(seconds: float) -> UploadTimeout:
    """Makes the error of a body that was not here within so many seconds."""
    detail = f"The body did not arrive within {seconds:g} s."
    return UploadTimeout(detail, limit=seconds, headers={"Connection": "close"})


def _check_announced(scope: Scope, max_bytes: int) -> None:
    announced = header(scope, b"content-length")
    if set(list_header(scope, b"content-encoding").lower().replace(b" ", b"").split(b",")) - {b"", b"identity"}:
        detail = "Compressed request bodies are not accepted; send the images as they are."
        raise UnsupportedType(detail, headers={"Accept-Encoding": "identity"})  # RFC 9110, section 15.5.16
    if announced.isdigit() and (size := int(announced[:_MAX_DIGITS])) > max_bytes:
        raise _over(max_bytes, size)


def parse(content_type: bytes, body: bytes, shape: tuple[int, int, int], limits: Limits) -> Upload:
    """Takes a body apart by its content type.

    Args:
        content_type: The header's value; empty lets the content itself decide.
        body: The whole body.
        shape: (H, W, C) that ready-made pixels must have.
        limits: Only the number of images matters here.

    Raises:
        Malformed: The body is not what its type says, or holds no image.
        TooManyImages: Too many images.
        UnsupportedType: Not a type that requests may have.
    """
    kind = content_type.partition(b";")[0].strip().lower()
    images: list[File]
    if kind == b"multipart/form-data":
        images = [*read_multipart(content_type, body, limits.images)]
    elif kind == b"application/json":
        images = _read_json(body, limits.images)
    elif kind == b"application/x-npy":
        pixels = read_npy(body, shape)
        check_count(len(pixels), limits.images)
        return pixels
    elif kind.startswith(b"image/") or (not kind and (not body or _is_image(body))):
        images = [body] if body else []
    else:
        name = kind.decode("latin-1")[:100] or "(none)"
        raise UnsupportedType(f"Requests of type {name} are not accepted; send one of {_ACCEPTED}.")
    if not images:
        raise Malformed("The request holds no images.")
    return images


def header(scope: Scope, name: bytes) -> bytes:
    """Returns a request header's value, stripped; empty if it is not there."""
    for key, value in scope["headers"]:
        if key == name:
            stripped: bytes = value.strip()
            return stripped
    return b""


def list_header(scope: Scope, name: bytes) -> bytes:
    """Returns a request header that is a list: the values of all its lines, with commas (RFC 9110, section 5.3)."""
    return b", ".join(value for key, value in scope["headers"] if key == name)


def parse_json(body: bytes, end: int, values: int) -> Any:
    """Parses JSON, unless it would take far more memory than its bytes: two of them can become an object of 70.

    Args:
        body: What starts with the JSON.
        end: Its length.
        values: How many values an honest one has, at most.

    Raises:
        Malformed: It is not JSON.
        TooManyImages: It has far more values.
    """
    actual, limit = body.count(b",", 0, end), values + _SPARE_VALUES
    if actual > limit:
        raise TooManyImages(f"The JSON has more than {limit} values.", limit=limit, actual=actual)
    try:
        return orjson.loads(memoryview(body)[:end])
    except orjson.JSONDecodeError as error:
        wrapped = " (line breaks in base64? `base64 -w0` makes none)" if "control character" in str(error) else ""
        raise Malformed(f"The body is not JSON: {error}{wrapped}.") from None


def _over(limit: int, actual: int) -> ServiceError:
    return TooManyBytes(f"The body is larger than {limit} bytes.", limit=limit, actual=actual)


def _is_image(body: bytes) -> bool:
    try:
        return inspect(body) is not None
    except Broken:
        return True


def _read_json(body: bytes, max_images: int) -> list[File]:
    document = parse_json(body, len(body), 2 * max_images)  # a data: URI has a comma of its own
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise Malformed('The body must be {"images": ["<base64 or data: URI>", …]}.')
    if unknown := sorted(set(document) - {"images"}):
        raise Malformed(f"The body has an unknown member {unknown[0][:100]!r}; it may only hold images.")
    texts: list[Any] = document["images"]
    check_count(len(texts), max_images)
    return [_file(index, text) for index, text in enumerate(texts)]


def _file(index: int, text: Any) -> File:
    """Decodes an entry; one that is no base64 is a bad image among others, not a bad request."""
    try:
        return from_base64(index, text)
    except Malformed as error:
        return error.failures[0]


def from_base64(index: int, text: Any) -> bytes:
    """Decodes one base64 text or data: URI, strictly, except for white space.

    Args:
        index: Place of the image in the request, for the error.
        text: Anything that JSON can hold.

    Raises:
        Malformed: It is no such text.
    """
    if not isinstance(text, str):
        raise _bad_base64(index, "is not a text")
    if text[:5].lower() == "data:":
        found = _DATA_URI.match(text)
        if found is None:
            raise _bad_base64(index, "is a data: URI without ;base64")
        text = text[found.end() :]
    try:
        return base64.b64decode(_WHITESPACE.sub("", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_base64(index, f"is not base64: {error}") from None


def _bad_base64(index: int, reason: str) -> Malformed:
    failure = ImageFailure(index, 400, "bad-base64", f"The entry {reason}.")
    return Malformed(f"Image {index} {reason}.", failures=[failure])


def check_count(actual: int, limit: int) -> None:
    """Refuses too many images.

    Raises:
        TooManyImages: There are more than `limit`.
    """
    if actual > limit:
        raise TooManyImages(f"The request has {actual} images; the limit is {limit}.", limit=limit, actual=actual)
