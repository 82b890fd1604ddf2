"""The OpenAPI document as a judge: is an answer one of those that the document says its route gives?"""

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

UNTOLD = {
    *("content-type", "content-length", "connection", "date", "transfer-encoding"),
    *("cache-control", "vary", "x-content-type-options"),
}
"""Headers that HTTP itself and its caches read, and the document leaves to them."""


class Documented:
    """The document, with schemas made strict: what they do not name may not be there."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._components: dict[str, Any] = strict(document["components"])

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> str:
        """Checks an answer, whose headers have names in lower case; returns its route.

        For a method that a path does not have any of the path's operations tells of the answer.
        """
        route = self.route(path)
        operations = self.document["paths"][route]
        method = "get" if method == "HEAD" else method.lower()
        operation = operations.get(method) or next(iter(operations.values()))
        told = operation["responses"].get(str(status))
        assert told is not None, f"{method} {route} does not tell of {status}"
        names = {name.lower(): self._resolved(header) for name, header in told["headers"].items()}
        missing = {name for name, header in names.items() if header.get("required")} - set(headers)
        assert not missing, f"{method} {route} {status} lacks {missing}"
        more = set(headers) - set(names) - UNTOLD
        assert not more, f"{method} {route} {status} does not tell of {more}"
        kind = headers.get("content-type", "").partition(";")[0]
        contents = told.get("content", {})
        assert kind in contents or not (kind or contents), f"{method} {route} {status} does not tell of {kind!r}"
        if kind.endswith("json") and body:
            self.validate(contents[kind]["schema"], json.loads(body))
        return route

    def validate(self, schema: Mapping[str, Any], value: Any) -> None:
        """Raises if a value is not as the schema says, or has members that it does not name."""
        whole = strict(schema) | {"components": self._components}
        Draft202012Validator(whole).validate(value)

    def route(self, path: str) -> str:
        """Finds the path of the document that this one is; of several, the one with the fewest parameters."""
        routes: dict[str, Any] = self.document["paths"]
        fitting = [
            route for route in routes if re.fullmatch("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", route))), path)
        ]
        assert fitting, f"no route is {path}"
        return min(fitting, key=lambda route: route.count("{"))

    def _resolved(self, header: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in header:
            return header
        found: dict[str, Any] = self.document["components"]["headers"][header["$ref"].rsplit("/", 1)[-1]]
        return found


def strict(schema: Any) -> Any:
    """Forbids members that an object's schema does not name, unless it says that there may be some."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema and schema.get("type") == "object" else {}
    return closed | {name: strict(part) for name, part in schema.items()}
