"""What the OpenAPI document says of the v2 routes: bodies, answers, and errors in that protocol's form."""

from typing import Any

from service.openapi import json_answer
from service.openapi_errors import Answers, Refused, v2_errors
from service.schemas import headers, ref
from service.v2 import metadata

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
_ROWS = {"name": "features", "datatype": "FP32", "shape": [1, 4]}
_INFERENCE = {"model_name": "cifar10-shallow", "model_version": "1"}
_NUMBERS = _ROWS | {"data": [0.0, 1.25, 0.0, 0.5]}
_BEST = {"name": "logits", "datatype": "BYTES", "shape": [1, 2], "data": ["2.500000:3:cat", "1.250000:5:dog"]}
INFER_ANSWER: Answers = {
    200: {
        "description": "The requested outputs.",
        "headers": {
            "Inference-Header-Content-Length": _LENGTH,
            **headers("X-Model", "X-Model-Version", "X-Model-Precision"),
        },
        "content": {
            "application/json": {
                "schema": ref("V2Inference"),
                "examples": {
                    "numbers": {"value": _INFERENCE | {"id": "42", "outputs": [_NUMBERS]}},
                    "classes": {"value": _INFERENCE | {"outputs": [_BEST]}},
                },
            },
            "application/octet-stream": {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": "JSON as in the other form, then the data of its binary outputs.",
                }
            },
        },
    }
}


def _health(schema: str, green: dict[str, Any], red: dict[str, Any], refused: bool = False) -> Answers:
    """Documents what is answered with 503 and its reason if it is not so; while draining it may be refused as well."""
    no = json_answer("It is not, and why.", schema, red=green | red)
    if refused:
        no["content"]["application/json"]["schema"] = {"anyOf": [ref(schema), ref("V2Error")]}
        no["headers"] = headers("Retry-After")
    return {200: json_answer("It is.", schema, green=green), 503: no}


_DURATION = {"count": 1, "ns": 4200000}
_STAGES = ("success", "compute_input", "queue", "compute_infer", "compute_output")
_MODEL = {"name": "cifar10-shallow"}
_VERSION = _MODEL | {"version": "1"}
ANSWERS: dict[str, Answers] = {
    "server": {200: json_answer("The server.", "V2Server", server=metadata.of_server())},
    "live": _health("V2Live", {"live": True}, {"live": False, "error": "dead or stuck: cifar10-shallow"}),
    "ready": _health("V2Ready", {"live": True, "ready": True}, {"ready": False, "error": "shutting down"}),
    "index": {200: json_answer("The models.", "V2Index", ready=[_VERSION | {"state": "READY", "reason": ""}])},
    "model": {
        200: json_answer(
            "The model.",
            "V2Model",
            model=_MODEL
            | {
                "versions": ["1"],
                "platform": "onnxruntime_onnx",
                "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}],
                "outputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 32768]}],
            },
        )
    },
    "model ready": _health("V2ModelReady", _MODEL | {"ready": True}, {"ready": False, "error": "loading"}, True),
    "config": {
        200: json_answer(
            "The configuration.",
            "V2Config",
            config=_MODEL
            | {
                "platform": "onnxruntime_onnx",
                "backend": "onnxruntime",
                "default_model_filename": "model.onnx",
                "version_policy": {"latest": {"num_versions": 1}},
                "max_batch_size": 256,
                "input": [{"name": "images", "data_type": "TYPE_UINT8", "dims": [32, 32, 3]}],
                "output": [{"name": "features", "data_type": "TYPE_FP32", "dims": [32768]}],
                "instance_group": [_MODEL | {"kind": "KIND_CPU", "count": 2}],
                "dynamic_batching": {"max_queue_delay_microseconds": 0},
            },
        )
    },
    "stats": {
        200: json_answer(
            "The statistics.",
            "V2Statistics",
            stats={
                "model_stats": [
                    _VERSION
                    | {
                        "last_inference": 1767225600000,
                        "inference_count": 1,
                        "execution_count": 1,
                        "inference_stats": {"fail": {"count": 0, "ns": 0}} | dict.fromkeys(_STAGES, _DURATION),
                        "batch_stats": [{"batch_size": 1, "compute_infer": _DURATION}],
                    }
                ]
            },
        )
    },
}
"""By route; a 503 among them is an answer to the question, and no error."""


def v2_answers(own: Answers, *refused: Refused) -> Answers:
    """Documents a route's own answers, and the errors that it has beyond those of every route."""
    return v2_errors(*refused) | own
