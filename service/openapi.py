"""What the OpenAPI document says beyond the routes' signatures: bodies, answers in every format, and every error."""

from typing import Any

from fastapi import FastAPI

from service import errors
from service.errors import ServiceError

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "examples": ["/errors/queue-full"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "limit": {"type": "number", "description": "The limit that was passed."},
        "actual": {"type": "number", "description": "What came instead."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/ImageFailure"}},
    },
}
_IMAGE_FAILURE = {
    "type": "object",
    "required": ["index", "code", "detail"],
    "properties": {
        "index": {"type": "integer", "description": "Place of the image in the request, from 0."},
        "code": {"type": "string", "examples": ["undecodable"]},
        "detail": {"type": "string"},
        "limit": {"type": "number"},
        "actual": {"type": "number"},
    },
}
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


def json_answer(description: str, example: Any) -> dict[str, Any]:
    """Documents a JSON answer by an example."""
    return {"description": description, "content": {"application/json": {"example": example}}}


_TAG = {"ETag": {"schema": {"type": "string"}, "description": "Of this very picture, to send as If-None-Match."}}
PNG_ANSWER: dict[str, Any] = {
    "description": "The picture.",
    "headers": _TAG,
    "content": {"image/png": {"schema": _BINARY}},
}
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has this picture.", "headers": _TAG}}
METRICS_ANSWER: dict[str, Any] = {
    "description": "All metrics.",
    "content": {
        "text/plain": {"schema": {"type": "string"}},
        "application/openmetrics-text": {"schema": {"type": "string"}},
    },
}
FEATURES_ANSWER: dict[str, Any] = {
    "description": "Feature vectors (N, D), in the order of the images; every form carries the same bits.",
    "headers": {
        "X-Model": {"schema": {"type": "string"}},
        "X-Model-Version": {"schema": {"type": "string"}},
        "X-Model-Precision": {"schema": {"type": "string", "enum": ["exact", "fast"]}},
        "X-Shape": {"schema": {"type": "string"}, "description": "Of octet-stream: N,D."},
        "X-Dtype": {"schema": {"type": "string"}, "description": "Of octet-stream: float32 or float16."},
        "X-Failed-Indices": {"schema": {"type": "string"}, "description": "With on_error=skip, what has no row."},
    },
    "content": {
        "application/json": {
            "example": {
                "model": "cifar10-shallow",
                "version": "1",
                "shape": [1, 4],
                "dtype": "float32",
                "features": [[0.0, 1.25, 0.0, 0.5]],
            }
        },
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
PREDICT_ANSWER = json_answer(
    "One prediction an image, in order.",
    {
        "model": "cifar10-shallow",
        "version": "1",
        "predictions": [
            {
                "label": "cat",
                "index": 3,
                "probability": 0.91,
                "top_k": [{"label": "cat", "index": 3, "probability": 0.91}],
            }
        ],
    },
)


def answers(success: dict[str, Any], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documents a route's answer, 200, and the errors it may answer with."""
    documented: dict[int | str, dict[str, Any]] = {200: success}
    for status in statuses:
        kinds = [kind for kind in errors.ALL if kind.status == status]
        documented[status] = {
            "description": "; ".join(kind.title for kind in kinds),
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {kind.code: {"value": _example(kind)} for kind in kinds},
                }
            },
        }
    return documented


def _example(kind: type[ServiceError]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"/errors/{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": (kind.__doc__ or "").splitlines()[0],
        "request_id": "7f1c0c1e5d5f4b7f8a53a1b0a4f0a4c2",
    }
    if kind.status == 422:
        body["errors"] = [{"index": 3, "code": "undecodable", "detail": "The file is not whole: chunk 'IDAT' is cut."}]
    return body


def install(app: FastAPI) -> None:
    """Makes the app's OpenAPI document tell what the app does, where the framework would guess otherwise."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            components = schema.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schemas.update(Problem=_PROBLEM, ImageFailure=_IMAGE_FAILURE)
            # Bad parameters are answered with 400 here, never with the framework's own 422.
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for path in schema["paths"].values():
                for operation in path.values():
                    content = operation["responses"].get("422", {}).get("content", {})
                    if "HTTPValidationError" in str(content):
                        del operation["responses"]["422"]
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            schema["security"] = [{}, {"bearer": []}, {"key": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the framework's documented way to change the document
