"""What the OpenAPI document says of the v2 routes: bodies, answers by example, and errors in that protocol's form."""

from typing import Any

from service import errors
from service.openapi import json_answer
from service.v2 import metadata

_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_PARAMETERS = {"type": "object", "description": "Those of the protocol and its extensions; others are ignored."}
_LENGTH = {
    "schema": {"type": "integer"},
    "description": "Bytes of JSON at the start of the body, where binary data of the tensors follow.",
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string", "enum": ["images", "files"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "enum": ["UINT8", "BYTES"]},
        "parameters": _PARAMETERS | {"properties": {"binary_data_size": {"type": "integer", "minimum": 0}}},
        "data": {"type": "array", "items": {}, "description": "UINT8: 0 to 255. BYTES: base64 of an image file."},
    },
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "parameters": _PARAMETERS
        | {"properties": {"binary_data": {"type": "boolean"}, "classification": {"type": "integer", "minimum": 0}}},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Returned with the answer."},
        "parameters": _PARAMETERS | {"properties": {"binary_data_output": {"type": "boolean"}}},
        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": _TENSOR},
        "outputs": {"type": "array", "items": _OUTPUT, "description": "Left out, every output is sent."},
    },
}

VERSION: dict[str, Any] = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "Version that must be the served one.",
}
INFER_BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            **_LENGTH,
            "description": f"{_LENGTH['description']} 0: the body is one image file and nothing else.",
        }
    ],
    "requestBody": {
        "required": True,
        "description": "JSON, or JSON and the binary data of its input. The Content-Type does not matter.",
        "content": {
            "application/json": {"schema": _REQUEST},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}
INDEX_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}},
        }
    }
}
_ROWS = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 1.25, 0.0, 0.5]}
_DURATION = {"count": 1, "ns": 4200000}
INFER_ANSWER: dict[str, Any] = {
    "description": "The requested outputs.",
    "headers": {"Inference-Header-Content-Length": _LENGTH},
    "content": {
        "application/json": {
            "example": {"model_name": "cifar10-shallow", "model_version": "1", "id": "42", "outputs": [_ROWS]}
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "server": json_answer("The server.", metadata.of_server()),
    "live": json_answer("Alive.", {"live": True}),
    "ready": json_answer("Ready.", {"live": True, "ready": True}),
    "index": json_answer("The models.", [{"name": "cifar10-shallow", "version": "1", "state": "READY", "reason": ""}]),
    "model": json_answer(
        "The model.",
        {
            "name": "cifar10-shallow",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}],
            "outputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 32768]}],
        },
    ),
    "model ready": json_answer("Ready.", {"name": "cifar10-shallow", "ready": True}),
    "config": json_answer("The configuration.", {"name": "cifar10-shallow", "max_batch_size": 256}),
    "stats": json_answer(
        "The statistics.",
        {
            "model_stats": [
                {
                    "name": "cifar10-shallow",
                    "version": "1",
                    "last_inference": 1767225600000,
                    "inference_count": 1,
                    "execution_count": 1,
                    "inference_stats": {"success": _DURATION, "queue": _DURATION, "compute_infer": _DURATION},
                    "batch_stats": [{"batch_size": 1, "compute_infer": _DURATION}],
                }
            ]
        },
    ),
}
"""Successful answers, by route."""


def v2_answers(success: dict[str, Any], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documents a route's answer, 200, and the errors it may answer with, in this protocol's form."""
    documented: dict[int | str, dict[str, Any]] = {200: success}
    for status in statuses:
        titles = [kind.title for kind in errors.ALL if kind.status == status]
        documented[status] = {
            "description": "; ".join(titles),
            "content": {"application/json": {"schema": _ERROR}},
        }
    return documented
