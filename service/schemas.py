"""The OpenAPI document's components: a schema for each JSON answer, and the headers that many answers have."""

from collections.abc import Mapping
from typing import Any

from service.manifest import Manifest

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MANIFEST = "Manifest"


def ref(name: str) -> Schema:
    """Points to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def headers(*names: str) -> dict[str, Schema]:
    """Points to headers of the components."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def listed(items: Schema, description: str = "") -> Schema:
    """Describes a list of such items."""
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def member_of(properties: Mapping[str, Schema], *optional: str, **more: Any) -> Schema:
    """Describes an object that has all these members, but for the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": dict(properties)} | more


_SOURCE = {"model": _TEXT, "version": _TEXT}
_SKIPPED = {
    "indices": listed(
        _COUNT,
        "Only with on_error=skip: the place in the request of what each row or item is for. Of a model that takes "
        "images in pairs it counts pairs.",
    ),
    "errors": listed(ref("ImageFailure"), "Only with on_error=skip: the images that failed, counted one by one."),
}
_BOTH_OR_NONE = {"dependentRequired": {"indices": ["errors"], "errors": ["indices"]}}
_CLASS = {"label": _TEXT, "index": _COUNT, "probability": {"type": "number", "minimum": 0, "maximum": 1}}
_VECTORS = {
    "anyOf": [
        listed(listed({"type": ["number", "null"]}, "D numbers; null is an infinity, which only float16 has.")),
        listed(_TEXT | {"contentEncoding": "base64", "description": "With encoding=base64: D little-endian numbers."}),
    ],
    "description": "N vectors, in the order of the images.",
}

SCHEMAS: dict[str, Schema] = {
    "Problem": member_of(
        {
            "type": {"type": "string", "format": "uri-reference", "examples": ["/errors/queue-full"]},
            "title": _TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": _TEXT,
            "request_id": _TEXT,
            "limit": {"type": "number", "description": "The limit that was passed."},
            "actual": {"type": "number", "description": "What came instead."},
            "errors": listed(ref("ImageFailure")),
        },
        *("limit", "actual", "errors"),
        description="Any error but those of /v2 (RFC 9457).",
    ),
    "ImageFailure": member_of(
        {
            "index": _COUNT | {"description": "Place of the image in the request, from 0."},
            "code": _TEXT | {"examples": ["undecodable"]},
            "detail": _TEXT,
            "limit": {"type": "number"},
            "actual": {"type": "number"},
        },
        *("limit", "actual"),
    ),
    "Features": member_of(
        {
            **_SOURCE,
            "shape": listed(_COUNT, "N, D.") | {"minItems": 2, "maxItems": 2},
            "dtype": {"enum": ["float32", "float16"], "description": "Type of the numbers, as the query asked for."},
            "output": _TEXT | {"description": "Which vector of the model, if it is not features."},
            **_SKIPPED,
            "features": _VECTORS,
        },
        *("output", "indices", "errors"),
        **_BOTH_OR_NONE,
    ),
    "Class": member_of(_CLASS),
    "Prediction": member_of(
        _CLASS | {"top_k": listed(ref("Class"), "The most probable first.") | {"minItems": 1}},
        description="The most probable class of an image, and as many as top_k asked for.",
    ),
    "Predictions": member_of(
        _SOURCE | {"predictions": listed(ref("Prediction"))} | _SKIPPED, *("indices", "errors"), **_BOTH_OR_NONE
    ),
    "Model": member_of(
        {
            "name": _TEXT,
            "version": _TEXT | {"description": "The one that is served."},
            "versions": listed(_TEXT, "Those on disk, the served one first."),
            "default": _FLAG | {"description": "Whether it answers requests that name no model."},
            "ready": _FLAG,
            "manifest": ref(_MANIFEST),
        }
    ),
    "Models": member_of({"default": _TEXT, "models": listed(ref("Model"))}),
    "Health": member_of(
        {
            "status": {"enum": ["ok", "unavailable"]},
            "checks": listed(
                member_of({"name": _TEXT, "ok": _FLAG, "age_s": {"type": "number", "minimum": 0}, "detail": _TEXT}),
                "ok only if all of them are.",
            ),
        }
    ),
    "ErrorKind": member_of(
        {"code": _TEXT, "status": {"type": "integer"}, "title": _TEXT, "description": _TEXT},
        description="What a problem's type means.",
    ),
}
"""By name; the manifest's are beside them, from `manifest_schemas`."""

HEADERS: dict[str, Schema] = {
    "X-Request-Id": {
        "required": True,
        "schema": _TEXT,
        "description": "The client's own, if it sent one that is short and plain; else a fresh one.",
    },
    "Server-Timing": {
        "required": True,
        "schema": _TEXT,
        "description": "Milliseconds of decode, queue, infer and encode; 0 where none were spent.",
    },
    "Retry-After": {"schema": _COUNT, "description": "Seconds after which to try again, where that is known to help."},
    "WWW-Authenticate": {"schema": _TEXT, "description": "How to send a key."},
    "Allow": {"schema": _TEXT, "description": "The methods that the path has."},
    "ETag": {"schema": _TEXT, "description": "Of this very picture, to send as If-None-Match."},
    "Cache-Control": {"schema": _TEXT, "description": "no-cache: it may be kept, but ask whether it has changed."},
    "Vary": {"schema": _TEXT, "description": "Request headers that the answer depends on."},
    "X-Model": {"schema": _TEXT, "description": "Name of the model."},
    "X-Model-Version": {"schema": _TEXT, "description": "Its version."},
    "X-Model-Precision": {"schema": {"enum": ["exact", "fast"]}, "description": "Which of its graphs computed."},
}


def manifest_schemas() -> dict[str, Schema]:
    """Writes the schemas of the manifest and its parts, from the classes that read it."""
    whole = Manifest.model_json_schema(ref_template=f"#/components/schemas/{_MANIFEST}{{model}}")
    parts = whole.pop("$defs")
    schemas = {_MANIFEST: whole} | {_MANIFEST + name: part for name, part in parts.items()}
    for schema in schemas.values():
        schema["additionalProperties"] = True  # as on disk, where training writes more than serving reads
    return schemas
