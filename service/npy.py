"""An `.npy` body → pixels; its header is read here, strictly, and no pickle can be in what is left: raw bytes."""

import ast
import math
import threading

import numpy as np
from numpy.typing import NDArray

from service.errors import Malformed

PARSING = threading.Lock()
"""To be held by whatever parses such headers, numpy's own reader included: CPython 3.11's parser of literals counts its
depth for all threads together, and fails with a SystemError when two are in it (python/cpython#106905)."""
_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 1024
_ONE_VIEW = (1, 3)
"""Channels of one image; with more there are several, each in its place."""
# Nested or exotic literals exhaust or upset the parser in several ways; all of them mean the same here.
_HEADER_ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, Warning)


def read_npy(body: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Reads an array of ready-made pixels.

    Args:
        body: A whole `.npy` file, version 1, 2 or 3.
        shape: (H, W, C) that each image must have; grey ones, (H, W), are colourless with three colours.

    Returns:
        uint8 (N, H, W, C), C-contiguous, N at least 1; a view of `body` where order and colours allow.

    Raises:
        Malformed: It is anything else.
    """
    dtype, fortran, actual, start = _read_header(body)
    if dtype not in ("|u1", "u1", "<u1", ">u1", "=u1"):
        raise Malformed(f"The array is {dtype[:100]!r}; it must be uint8, '|u1'.")
    may_be_grey = shape[2] in _ONE_VIEW
    wanted = f"(N, {shape[0]}, {shape[1]}, {shape[2]})" + (f" or (N, {shape[0]}, {shape[1]})" if may_be_grey else "")
    if actual[1:] not in (shape, *([shape[:2]] if may_be_grey else [])):
        raise Malformed(f"The array has shape {str(actual)[:200]}; it must be {wanted}, the model's own size.")
    if actual[0] == 0:
        raise Malformed("The request holds no images.")
    if len(body) - start != math.prod(actual):
        raise Malformed(f"The array's header says {str(actual)[:200]}, its data has {len(body) - start} bytes.")
    flat = np.frombuffer(body, np.uint8, offset=start)
    pixels = flat.reshape(actual[::-1]).T if fortran else flat.reshape(actual)
    if pixels.ndim < 1 + len(shape):
        pixels = np.broadcast_to(pixels[..., np.newaxis], (actual[0], *shape))
    return np.ascontiguousarray(pixels)


def _read_header(body: bytes) -> tuple[str, bool, tuple[int, ...], int]:
    """Returns dtype, whether the order is Fortran's, shape, and where the data starts."""
    if body[:6] != _MAGIC or len(body) < 12 or body[6] not in (1, 2, 3):
        raise Malformed("The body is not an .npy array of version 1, 2 or 3.")
    prefix = 10 if body[6] == 1 else 12
    length = int.from_bytes(body[8:prefix], "little")
    if length > _MAX_HEADER_BYTES or prefix + length > len(body):
        raise Malformed("The .npy header is too long, or cut.")
    encoding = "utf-8" if body[6] == 3 else "latin-1"
    try:
        with PARSING:
            fields = ast.literal_eval(body[prefix : prefix + length].decode(encoding).strip())
    except _HEADER_ERRORS:
        raise Malformed("The .npy header is not a Python literal.") from None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise Malformed("The .npy header must hold descr, fortran_order and shape.")
    dtype, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    if not (isinstance(dtype, str) and isinstance(fortran, bool) and isinstance(shape, tuple)):
        raise Malformed("The .npy header's fields have wrong types; a structured dtype is not allowed.")
    if any(type(size) is not int or size < 0 for size in shape):
        raise Malformed("The .npy header's shape is not a tuple of sizes.")
    return dtype, fortran, shape, prefix + length
