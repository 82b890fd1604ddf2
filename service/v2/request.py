"""The body of a v2 inference request → its images, its id, and the outputs that it wants."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from service.errors import Malformed
from service.intake import Limits, Upload, parse_json
from service.v2.inputs import Shape, read_input

_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Requested:
    """One output to send: as binary data or as JSON, and of logits, if `classes` is not 0, only that many best."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request.

    Attributes:
        id: To be returned, if there is one.
        upload: The images.
        outputs: What to send, in order.
    """

    id: str | None
    upload: Upload
    outputs: tuple[Requested, ...]


def read_request(body: bytes, length: bytes, shape: Shape, names: Collection[str], limits: Limits) -> InferRequest:
    """Takes a body apart.

    Args:
        body: JSON, then the binary data of its tensors.
        length: The `Inference-Header-Content-Length` header: bytes of JSON. Empty if all of it is; 0 if none of it, and
            the body is one image file.
        shape: (H, W, C) that pixels must have.
        names: The model's outputs; all are sent if the request names none.
        limits: Only the number of images matters here.

    Raises:
        Malformed: It is no such request.
        TooManyImages: Too many images.
    """
    end = _json_bytes(length, len(body))
    if end == 0 and length:
        if not body:
            raise Malformed("The request holds no images.")
        return InferRequest(None, [body], tuple(Requested(name, True) for name in names))
    document = parse_json(body, end, limits.images * math.prod(shape))
    if not isinstance(document, dict):
        raise Malformed("The request is not a JSON object.")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise Malformed("The id is not a text.")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1:
        count = f"{len(inputs)} inputs" if isinstance(inputs, list) else "no list of inputs"
        raise Malformed(f"The request has {count}; it must have one, images or files.")
    outputs = _outputs(document, names)
    return InferRequest(identity, read_input(inputs[0], body, end, shape, limits), outputs)


def _json_bytes(length: bytes, size: int) -> int:
    """Returns how many bytes of the body are JSON."""
    if not length:
        return size
    digits = length.lstrip(b"0") or length[-1:]
    if not length.isdigit() or len(digits) > _MAX_DIGITS or int(digits) > size:
        shown = length.decode("latin-1")[:100]
        raise Malformed(f"Inference-Header-Content-Length is {shown!r}, and the body has {size} bytes.")
    return int(digits)


def _outputs(document: dict[str, Any], names: Collection[str]) -> tuple[Requested, ...]:
    """Reads which outputs are wanted, and how; every output if none is named."""
    parameters = _object(document.get("parameters"), "The parameters")
    binary = _flag(parameters.get("binary_data_output", False), "binary_data_output")
    listed = document.get("outputs")
    if listed is None or listed == []:
        return tuple(Requested(name, binary) for name in names)
    if not isinstance(listed, list):
        raise Malformed("The outputs are not a list.")
    outputs = tuple(_output(tensor, names, binary) for tensor in listed)
    if len({output.name for output in outputs}) != len(outputs):
        raise Malformed("An output is requested twice.")
    return outputs


def _output(tensor: Any, names: Collection[str], binary: bool) -> Requested:
    name = _object(tensor, "An output").get("name")
    if not isinstance(name, str) or name not in names:
        raise Malformed(f"There is no output {str(name)[:100]!r}; there are {', '.join(names)}.")
    parameters = _object(tensor.get("parameters"), f"The parameters of the output {name!r}")
    if "shared_memory_region" in parameters:
        raise Malformed("Shared memory is not supported; the data come with the answer.")
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise Malformed(f"The classification of the output {name!r} is not a number of classes.")
    if classes and name != "logits":
        raise Malformed(f"The output {name!r} has no classes; logits has.")
    return Requested(name, _flag(parameters.get("binary_data", binary), "binary_data"), classes)


def _object(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{what} is not a JSON object.")
    return value


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise Malformed(f"{what} is neither true nor false.")
    return value
