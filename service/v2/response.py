"""Computed rows → the body of a v2 inference answer: JSON, then the binary data of its tensors."""

import struct
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

from service.batch import Outputs
from service.model import Model
from service.v2.request import InferRequest, Requested

Float32Rows = NDArray[np.float32]


def write_response(request: InferRequest, model: Model, computed: Outputs) -> Response:
    """Writes the outputs in the order in which they were requested.

    Args:
        request: What was asked.
        model: What computed it.
        computed: float32 (N, …) by name.
    """
    tensors: list[dict[str, Any]] = []
    binaries: list[bytes | memoryview] = []
    for output in request.outputs:
        rows = np.ascontiguousarray(computed[output.name], "<f4")
        tensor, data = _classes(output, rows, model) if output.classes else _numbers(output, rows)
        if output.binary:
            tensor["parameters"] = {"binary_data_size": memoryview(data).nbytes}
            binaries.append(data)
        else:
            tensor["data"] = orjson.Fragment(data)
        tensors.append(tensor)
    document = {"model_name": model.name, "model_version": model.version, "outputs": tensors}
    if request.id is not None:
        document["id"] = request.id
    head = orjson.dumps(document)
    if not binaries:
        return Response(head, media_type="application/json")
    # The one copy between the tensors and the socket.
    body = b"".join((head, *binaries))
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Response(body, headers=headers, media_type="application/octet-stream")


def _numbers(output: Requested, rows: Float32Rows) -> tuple[dict[str, Any], bytes | memoryview]:
    """Describes a tensor; its data are the array's own memory, or a flat JSON list."""
    tensor = {"name": output.name, "datatype": "FP32", "shape": rows.shape}
    if output.binary:
        return tensor, rows.data
    # Row by row, so that other threads get their turn between two rows.
    texts = [orjson.dumps(row.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for row in rows]
    return tensor, b"[" + b",".join(texts) + b"]"


def _classes(output: Requested, logits: Float32Rows, model: Model) -> tuple[dict[str, Any], bytes]:
    """Writes the largest logits of each row as `value:index:label`, the largest first; of equals, the lower index."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, : output.classes]
    labels = model.bundle.manifest.labels
    texts = [
        f"{row[index]:f}:{index}:{labels[index]}"
        for row, indices in zip(logits, best, strict=True)
        for index in indices
    ]
    tensor = {"name": output.name, "datatype": "BYTES", "shape": best.shape}
    if not output.binary:
        return tensor, orjson.dumps(texts)
    encoded = [text.encode() for text in texts]
    return tensor, b"".join(struct.pack("<I", len(text)) + text for text in encoded)
