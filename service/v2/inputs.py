"""The input tensor of a v2 request → image files or pixels; every size is checked against the bytes that are there."""

import math
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import Malformed
from service.intake import File, Limits, Upload, check_count, from_base64

DATATYPES = {"images": ("UINT8", "BYTES"), "files": ("BYTES",)}
"""Datatypes of each input; a request brings exactly one of them. `files` is `images` as BYTES, by a name of its own."""

Shape = tuple[int, int, int]


def read_input(tensor: Any, body: bytes, start: int, shape: Shape, limits: Limits) -> Upload:
    """Reads the one input of a request.

    Args:
        tensor: Its JSON object.
        body: The whole body.
        start: Where binary data starts in it; its length if there is none.
        shape: (H, W, C) that pixels must have.
        limits: Only the number of images matters here.

    Returns:
        UINT8: uint8 (N, H, W, C), a view of the body if binary. BYTES: N files.

    Raises:
        Malformed: It is not what it says, or says what cannot be.
        TooManyImages: Too many images.
    """
    name, datatype, dims, size = _head(tensor)
    if size is not None and tensor.get("data") is not None:
        raise Malformed(f"The input {name!r} has both data and binary_data_size.")
    if size is None and tensor.get("data") is None:
        raise Malformed(f"The input {name!r} has neither data nor binary_data_size.")
    if start + (size or 0) != len(body):
        raise Malformed(f"The inputs announce {size or 0} bytes of binary data; the body has {len(body) - start}.")
    if datatype == "BYTES":
        return _files(name, dims, tensor.get("data"), body, start, limits)
    wanted = [shape, *([shape[:2]] if shape[2] == 1 else [])]
    if not dims or dims[1:] not in wanted:
        listed = " or ".join(f"[N, {', '.join(map(str, one))}]" for one in wanted)
        raise Malformed(f"The input {name!r} has shape {_shown(dims)}; as UINT8 it must be {listed}.")
    return _pixels(name, dims, tensor.get("data"), body, start, limits).reshape(dims[0], *shape)


def _head(tensor: Any) -> tuple[str, str, tuple[int, ...], int | None]:
    """Returns name, datatype, shape and the size of the binary data, None if there is none."""
    if not isinstance(tensor, dict):
        raise Malformed("An input is not a JSON object.")
    name, datatype, dims = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if not isinstance(name, str) or name not in DATATYPES:
        raise Malformed(f"There is no input {str(name)[:100]!r}; there are {', '.join(DATATYPES)}.")
    if datatype not in DATATYPES[name]:
        listed = " or ".join(DATATYPES[name])
        raise Malformed(f"The input {name!r} has datatype {str(datatype)[:100]!r}; it must be {listed}.")
    if not isinstance(dims, list) or any(type(size) is not int or size < 0 for size in dims):
        raise Malformed(f"The input {name!r} has no shape that is a list of sizes.")
    parameters = tensor.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Malformed(f"The parameters of the input {name!r} are not a JSON object.")
    if "shared_memory_region" in parameters:
        raise Malformed("Shared memory is not supported; send the data with the request.")
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise Malformed(f"The binary_data_size of the input {name!r} is not a number of bytes.")
    return name, datatype, tuple(dims), size


def _pixels(name: str, dims: tuple[int, ...], data: Any, body: bytes, start: int, limits: Limits) -> NDArray[np.uint8]:
    """Reads UINT8 data, flat or nested like its shape; returns it flat."""
    if data is None:
        if len(body) - start != math.prod(dims):
            raise Malformed(f"The input {name!r} of shape {_shown(dims)} has {len(body) - start} bytes of data.")
        _check_images(dims[0], limits)
        return np.frombuffer(body, np.uint8, offset=start)
    values = _flat(name, dims, data)
    _check_images(dims[0], limits)
    # Checked by type, because True would pass as 1.
    if set(map(type, values)) - {int}:
        raise Malformed(f"The data of the input {name!r} are not all integers.")
    try:
        return np.frombuffer(bytes(values), np.uint8)
    except (ValueError, OverflowError):
        raise Malformed(f"The data of the input {name!r} are not all within 0 to 255.") from None


def _files(name: str, dims: tuple[int, ...], data: Any, body: bytes, start: int, limits: Limits) -> list[File]:
    """Reads BYTES data: elements with their lengths before them, or base64 in JSON, where bytes have no other form."""
    if len(dims) not in (1, 2) or dims[1:] not in ((), (1,)):
        raise Malformed(f"The input {name!r} has shape {_shown(dims)}; as BYTES it must be [N] or [N, 1].")
    if data is not None:
        texts = _flat(name, dims, data)
        _check_images(dims[0], limits)
        return [from_base64(index, text) for index, text in enumerate(texts)]
    if 4 * dims[0] > len(body) - start:  # so many lengths alone
        raise Malformed(f"The input {name!r} of shape {_shown(dims)} has {len(body) - start} bytes of data.")
    _check_images(dims[0], limits)
    files: list[File] = []
    for _ in range(dims[0]):
        end = start + 4 + int.from_bytes(body[start : start + 4], "little")
        if start + 4 > len(body) or end > len(body):
            break
        files.append(body[start + 4 : end])
        start = end
    if len(files) != dims[0] or start != len(body):
        raise Malformed(f"The lengths inside the input {name!r} do not add up to {dims[0]} elements.")
    return files


def _flat(name: str, dims: tuple[int, ...], data: Any) -> list[Any]:
    """Flattens JSON data that is flat or nested exactly like its shape."""
    level: list[Any] = [data]
    nested = isinstance(data, list) and len(data) > 0 and isinstance(data[0], list)
    for size in dims if nested else (math.prod(dims),):
        if any(not isinstance(part, list) or len(part) != size for part in level):
            raise Malformed(f"The data of the input {name!r} do not have its shape, {_shown(dims)}.")
        level = list(chain.from_iterable(level))
    return level


def _check_images(count: int, limits: Limits) -> None:
    if count == 0:
        raise Malformed("The request holds no images.")
    check_count(count, limits.images)


def _shown(dims: tuple[int, ...]) -> str:
    return str(list(dims))[:200]
