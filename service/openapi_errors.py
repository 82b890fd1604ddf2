"""What the OpenAPI document says of errors: as problems, as v2 clients read them, and what any request may meet."""

from collections.abc import Callable, Sequence
from typing import Any

from service import problem_types
from service.errors import HeadersTooLarge, Internal, Malformed, MethodNotAllowed, Overloaded, ServiceError
from service.schemas import headers, ref

Answer = dict[str, Any]
Answers = dict[int | str, Answer]
Kind = type[ServiceError]
Refused = int | Kind
"""A class of errors, or a status: every class that has it."""

_PROBLEM = "application/problem+json"
_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def problems(*refused: Refused) -> Answers:
    """Documents errors as problems."""
    return _answers(refused, _as_problem)


def v2_errors(*refused: Refused) -> Answers:
    """Documents errors in the form of the Open Inference Protocol."""
    return _answers(refused, lambda kinds: {"application/json": {"schema": ref("V2Error")}})


def everywhere(path: str) -> Answers:
    """Documents the errors that any request of a path may meet.

    What is no HTTP, has too large a head or comes by a connection too many is refused before its path is looked at,
    and so always with a problem.
    """
    own = v2_errors if f"{path}/".startswith("/v2/") else problems
    return problems(Malformed, HeadersTooLarge, Overloaded) | own(MethodNotAllowed, ServiceError)


def _answers(refused: Sequence[Refused], content: Callable[[Sequence[Kind]], Answer]) -> Answers:
    kinds = [kind for one in refused for kind in problem_types.ALL if one in (kind, kind.status)]
    documented: Answers = {}
    for status in dict.fromkeys(kind.status for kind in kinds):
        those = [kind for kind in kinds if kind.status == status]
        answer: Answer = {"description": "; ".join(kind.title for kind in those), "content": content(those)}
        if status in _HEADERS:
            answer["headers"] = headers(_HEADERS[status])
        documented[status] = answer
    return documented


def _as_problem(kinds: Sequence[Kind]) -> Answer:
    examples = {kind.code: {"value": _example(kind)} for kind in kinds}
    return {_PROBLEM: {"schema": ref("Problem"), "examples": examples}}


def _example(kind: Kind) -> Answer:
    body: Answer = {
        "type": f"/errors/{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": Internal().args[0] if kind.status == 500 else (kind.__doc__ or "").splitlines()[0],
        "request_id": "7f1c0c1e5d5f4b7f8a53a1b0a4f0a4c2",
    }
    if kind.status == 422:
        body["errors"] = [{"index": 3, "code": "undecodable", "detail": "The file is not whole: chunk 'IDAT' is cut."}]
    return body
