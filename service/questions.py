"""Which questions were asked before, and how they are answered.

A question is all of a request that decides how its body is answered: path, query, `Accept` and `Content-Type`. The
framework checks it the first time, and the route turns it into an `Ask` and a `Read` that depend on nothing else.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.types import Scope

from service.flow import Ask, Read

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


class Questions:
    """A bounded memory: a new question pushes out the oldest one."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._known: dict[Question, Known] = {}

    def get(self, question: Question | None) -> Known | None:
        """Returns how a question is answered, if it was asked before."""
        return self._known.get(question) if question else None

    def remember(self, question: Question, known: Known) -> None:
        """Keeps how a question is answered."""
        if len(self._known) >= _MAX_QUESTIONS:
            del self._known[next(iter(self._known))]
        self._known[question] = known


def question_of(scope: Scope) -> Question | None:
    """Returns what a request asks, if it is of a kind that comes again: a multipart boundary never does."""
    if scope["type"] != "http" or scope["path"] not in _PATHS or scope["method"] != "POST":
        return None
    accept = content_type = None
    for name, value in scope["headers"]:
        # Which of several headers of a name counts is for the route to say, and for this one request.
        if name == b"accept":
            if accept is not None:
                return None
            accept = value
        elif name == b"content-type":
            if content_type is not None:
                return None
            content_type = value
        elif name == b"content-encoding":
            return None
    accept, content_type = accept or b"", content_type or b""
    question = Question(scope["path"], scope["query_string"], accept, content_type)
    long = len(question.query) + len(accept) + len(content_type) > _MAX_BYTES
    return None if long or content_type.startswith(b"multipart/") else question
