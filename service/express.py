"""The short way for a question that was asked before: the framework does not take it apart again.

A question is all of a request that decides how its body is answered: path, query, `Accept` and `Content-Type`. The
framework checks it the first time and the route turns it into an `Ask` and a `Read`, which depend on nothing else; from
then on they are taken from here. For a small image the framework's share would be the largest after the model's.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError
from service.flow import REMEMBER, Ask, Read, answer
from service.problems import refusal

_PATHS = frozenset(("/features", "/predict"))
_MAX_QUESTIONS = 256
_MAX_BYTES = 512


class Question(NamedTuple):
    """What decides how a request's body is answered, as the client sent it."""

    path: str
    query: bytes
    accept: bytes
    content_type: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """What the route made of a question; and the route itself, for metrics."""

    ask: Ask
    read: Read
    route: Any


class Express:
    """Answers known questions in the framework's place, and passes everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps the app; knows nothing yet."""
        self._app = app
        self._known: dict[Question, Known] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        question = _question(scope)
        known = self._known.get(question) if question else None
        if known is None:
            if question:
                scope[REMEMBER] = partial(self._remember, question, scope)
            await self._app(scope, receive, send)
            return
        scope["route"] = known.route
        try:
            response = await answer(Request(scope, receive), known.ask, known.read)
        except ServiceError as error:
            response = refusal(error, scope)
        await response(scope, receive, send)

    def _remember(self, question: Question, scope: Scope, ask: Ask, read: Read) -> None:
        if len(self._known) >= _MAX_QUESTIONS:
            del self._known[next(iter(self._known))]
        self._known[question] = Known(ask, read, scope["route"])


def _question(scope: Scope) -> Question | None:
    """Returns what a request asks, if it is of a kind that comes again: a multipart boundary never does."""
    if scope["type"] != "http" or scope["path"] not in _PATHS or scope["method"] != "POST":
        return None
    accept = content_type = b""
    for name, value in scope["headers"]:
        # As elsewhere, the first of several headers of a name is the one that counts.
        if name == b"accept":
            accept = accept or value
        elif name == b"content-type":
            content_type = content_type or value
    question = Question(scope["path"], scope["query_string"], accept, content_type)
    long = len(question.query) + len(accept) + len(content_type) > _MAX_BYTES
    return None if long or content_type.startswith(b"multipart/") else question
