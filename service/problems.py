"""Errors → `application/problem+json` (RFC 9457), or what v2 clients read: the one place where they become answers."""

import logging
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service.errors import (
    ImageFailure,
    Internal,
    Malformed,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    TooManyPixels,
    Undecodable,
    UnsupportedType,
)
from service.trace import Trace, trace_of

logger = logging.getLogger(__name__)

_MAX_JSON_INTEGER = 2**63 - 1
_BY_STATUS: dict[int, type[ServiceError]] = {400: Malformed, 413: TooManyPixels, 415: UnsupportedType, 422: Undecodable}


def refusal(error: ServiceError, scope: Scope) -> Response:
    """Builds the answer for an error in the form of the protocol that the request's path belongs to."""
    trace = trace_of(scope)
    if not f"{scope['path']}/".startswith("/v2/"):
        return problem(error, trace)
    trace.reason = error.reason
    return Response(orjson.dumps({"error": error.detail}), error.status, error.headers, "application/json")


def problem(error: ServiceError, trace: Trace | None = None) -> Response:
    """Builds the problem for an error.

    Args:
        error: What went wrong.
        trace: The request it went wrong for; none if it broke before it was one.
    """
    body: dict[str, Any] = {
        "type": f"/errors/{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if trace is not None:
        body["request_id"] = trace.request_id
        trace.reason = error.reason
    if error.limit is not None:
        body["limit"] = error.limit
    if error.actual is not None:
        # A client can announce numbers that no JSON integer holds.
        body["actual"] = min(error.actual, _MAX_JSON_INTEGER)
    if error.failures:
        body["errors"] = listed(error.failures)
    return Response(orjson.dumps(body), error.status, error.headers, "application/problem+json")


def listed(failures: Sequence[ImageFailure]) -> list[dict[str, Any]]:
    """Writes failed images as the `errors` list of a body."""
    return [
        {"index": failure.index, "code": failure.code, "detail": failure.detail}
        | ({} if failure.limit is None else {"limit": failure.limit})
        | ({} if failure.actual is None else {"actual": failure.actual})
        for failure in failures
    ]


def of_failures(failures: Sequence[ImageFailure]) -> ServiceError:
    """Makes one error of the images that failed: their status if they agree on one, 400 if any has it, else 422."""
    statuses = {failure.status for failure in failures}
    if 400 in statuses:
        kind: type[ServiceError] = Malformed
    else:
        kind = _BY_STATUS[statuses.pop()] if len(statuses) == 1 else Undecodable
    first = failures[0]
    detail = f"Image {first.index}: {first.detail}"
    if len(failures) > 1:
        detail = f"{len(failures)} images cannot be used. {detail}"
    return kind(detail, failures=failures, limit=first.limit, actual=first.actual)


async def on_service_error(request: Request, error: Exception) -> Response:
    """Answers a ServiceError that a route raised."""
    assert isinstance(error, ServiceError)
    return refusal(error, request.scope)


async def on_bug(request: Request, error: Exception) -> Response:
    """Answers an error that nobody expected; the framework raises it again for the edge, which logs it."""
    return refusal(Internal(), request.scope)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answers what the framework refuses by itself: unknown routes and methods."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    known: ServiceError
    if error.status_code == 404:
        known = NotFound(f"There is nothing at {path}; /docs lists the routes.")
    elif error.status_code == 405:
        methods = {method.strip() for method in (error.headers or {}).get("Allow", "").split(",") if method}
        # The edge answers HEAD wherever GET is answered.
        allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
        known = MethodNotAllowed(f"{path} answers {allowed or 'other methods'} only.", headers={"Allow": allowed})
    elif error.status_code < 500:
        known = Malformed(str(error.detail))
    else:
        logger.error("framework error", exc_info=error)
        known = Internal()
    return refusal(known, request.scope)


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Answers bad query values with 400, and a path that cannot name anything with 404."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place, name = str(first["loc"][0]), str(first["loc"][-1])
    given = str(first.get("input"))[:100]
    if place == "path":
        return refusal(NotFound(f"There is nothing under {given!r}: {first['msg']}."), request.scope)
    detail = f"{place} parameter {name} = {given!r}: {first['msg']}."
    return refusal(Malformed(detail), request.scope)
