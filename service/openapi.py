"""What the OpenAPI document says beyond the routes' signatures: bodies, answers in every format, and every error."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from service.openapi_errors import Answers, Refused, everywhere, problems
from service.schemas import HEADERS, SCHEMAS, headers, manifest_schemas, ref
from service.schemas_v2 import V2_SCHEMAS

_BINARY = {"type": "string", "format": "binary"}
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff")

IMAGES_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "Images, decoded by their content, or pixels of the model's own size. A model of several views "
        "takes those of each sample one after the other.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "images": {"type": "array", "items": _BINARY},
                        "image": _BINARY,
                        "file": _BINARY,
                    },
                }
            },
            **{media_type: {"schema": _BINARY} for media_type in _IMAGE_TYPES},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "additionalProperties": False,
                    "properties": {
                        "images": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "description": "base64, or a data: URI with ;base64."},
                        }
                    },
                },
                "examples": {"one": {"value": {"images": ["data:image/png;base64,iVBORw0KGgo…"]}}},
            },
            "application/x-npy": {"schema": _BINARY | {"description": "uint8 (N, H, W, C), or (N, H, W) for grey."}},
        },
    }
}


def json_answer(description: str, schema: str, **examples: Any) -> dict[str, Any]:
    """Documents a JSON answer by the name of its schema, and examples by theirs."""
    return {"description": description, "content": _json(schema, **examples)}


def _json(schema: str, **examples: Any) -> dict[str, Any]:
    return {
        "application/json": {
            "schema": ref(schema),
            "examples": {name: {"value": value} for name, value in examples.items()},
        }
    }


_MODEL = headers("X-Model", "X-Model-Version", "X-Model-Precision")
_PICTURE = headers("ETag", "Cache-Control", "X-Model", "X-Model-Version")
PNG_ANSWER: dict[str, Any] = {
    "description": "The picture.",
    "headers": _PICTURE,
    "content": {"image/png": {"schema": _BINARY}},
}
IF_CHANGED: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "ETags of pictures that the client has (RFC 9110, section 13.1.2).",
        }
    ]
}
"""Goes with `UNCHANGED`."""
UNCHANGED: Answers = {304: {"description": "The client has this picture.", "headers": _PICTURE}}
METRICS_ANSWER: dict[str, Any] = {
    "description": "All metrics.",
    "content": {
        "text/plain": {"schema": {"type": "string"}},
        "application/openmetrics-text": {"schema": {"type": "string"}},
    },
}
_SOURCE = {"model": "cifar10-shallow", "version": "1"}
_ROWS = _SOURCE | {"shape": [1, 4], "dtype": "float32"}
_SKIPPED = {
    "indices": [1],
    "errors": [{"index": 0, "code": "undecodable", "detail": "The file is not whole: chunk 'IDAT' is cut."}],
}
_VECTOR = [0.0, 1.25, 0.0, 0.5]
FEATURES_ANSWER: dict[str, Any] = {
    "description": "Feature vectors (N, D), in the order of the images; every form carries the same bits.",
    "headers": {
        **_MODEL,
        **headers("Vary"),
        "X-Shape": {"schema": {"type": "string"}, "description": "Of octet-stream: N,D."},
        "X-Dtype": {"schema": {"type": "string"}, "description": "Of octet-stream: float32 or float16."},
        "X-Failed-Indices": {"schema": {"type": "string"}, "description": "With on_error=skip, what has no row."},
    },
    "content": {
        **_json(
            "Features",
            list=_ROWS | {"features": [_VECTOR]},
            base64=_ROWS | {"features": ["AAAAAAAAoD8AAAAAAAAAPw=="]},
            float16=_ROWS | {"dtype": "float16", "features": [_VECTOR]},
            base64_of_float16=_ROWS | {"dtype": "float16", "features": ["AAAAPQAAADg="]},
            another_output=_ROWS | {"output": "embedding", "features": [_VECTOR]},
            skip=_ROWS | _SKIPPED | {"features": [_VECTOR]},
        ),
        "application/x-npy": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY | {"description": "Little-endian numbers, row-major."}},
        "application/vnd.apache.arrow.stream": {
            "schema": _BINARY | {"description": "An Arrow IPC stream; column features, fixed-size lists of D numbers."}
        },
        "application/x-safetensors": {"schema": _BINARY | {"description": "One tensor: features (N, D)."}},
        "application/vnd.sca.csr+safetensors": {
            "schema": _BINARY
            | {"description": "Compressed sparse rows in safetensors: indptr (N + 1), indices, data, shape (2)."}
        },
    },
}
_CLASS = {"label": "cat", "index": 3, "probability": 0.91}
_PREDICTIONS = _SOURCE | {"predictions": [_CLASS | {"top_k": [_CLASS]}]}
PREDICT_ANSWER: dict[str, Any] = {
    **json_answer("One prediction an image, in order.", "Predictions", one=_PREDICTIONS, skip=_PREDICTIONS | _SKIPPED),
    "headers": _MODEL,
}


def answers(success: dict[str, Any], *refused: Refused) -> Answers:
    """Documents a route's answer, 200, and the errors that it has beyond those of every route."""
    return {200: success} | problems(*refused)


_ABOUT = (
    "HEAD is answered wherever GET is; any other method that a path lacks with 405, and a path that is not here with "
    "404. Errors are problems (RFC 9457), but under /v2 objects with an error. Every answer has an X-Request-Id and a "
    "Server-Timing."
)
_DOCUMENT: dict[str, Any] = {
    "get": {
        "tags": ["documentation"],
        "summary": "Document",
        "description": "Describes this service to machines, in OpenAPI 3.1.",
        "operationId": "document_openapi_json_get",
        "responses": {
            "200": {
                "description": "This document.",
                "content": {
                    "application/json": {"schema": {"type": "object", "required": ["openapi", "info", "paths"]}}
                },
            }
        },
    }
}


def install(app: FastAPI) -> None:
    """Makes the app's OpenAPI document tell what the app does, where the framework would guess otherwise."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(generate())
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the framework's documented way to change the document


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """Adds what the framework cannot know, and takes out what it guessed wrong."""
    document["info"]["description"] += f" {_ABOUT}"
    document["paths"]["/openapi.json"] = _DOCUMENT
    for path, operations in document["paths"].items():
        document["paths"][path] = {method: _operation(path, told) for method, told in operations.items()}
    document["components"] = {
        "schemas": SCHEMAS | manifest_schemas() | V2_SCHEMAS,
        "headers": HEADERS,
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
    }
    document["security"] = [{}, {"bearer": []}, {"key": []}]
    return document


def _operation(path: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to an operation's answers those that every route has, and to each of them the headers of all."""
    responses: dict[str, Any] = {}
    for status, answer in told["responses"].items():
        # Bad parameters are answered with 400 here, never with the framework's own 422.
        if "HTTPValidationError" not in str(answer):
            responses[status] = answer
    for number, answer in everywhere(path).items():
        own = responses.get(str(number))
        responses[str(number)] = _joined(own, answer) if own else answer
    every = headers("X-Request-Id", "Server-Timing")
    for status, answer in responses.items():
        responses[status] = answer | {"headers": every | answer.get("headers", {})}
    # The routes that never need a key have no 401.
    open_to_all: dict[str, Any] = {} if "401" in responses else {"security": []}
    return {**told, **open_to_all, "responses": dict(sorted(responses.items()))}


def _joined(own: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Adds to a route's answer what may also come with its status: other media types, and other errors in its own."""
    content = dict(own.get("content", {}))
    for kind, body in more["content"].items():
        known = content.get(kind, body)
        both = body.get("examples", {}) | known.get("examples", {})
        content[kind] = known | ({"examples": both} if both else {})
    titles = dict.fromkeys(own["description"].removesuffix(".").split("; ") + more["description"].split("; "))
    return more | own | {"description": "; ".join(titles), "content": content}
