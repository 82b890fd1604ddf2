"""The short way past the framework, for a question that was asked before.

For a small image the framework's share would be the largest after the model's.
"""

from functools import partial

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError
from service.flow import REMEMBER, Ask, Read, answer
from service.problems import refusal
from service.questions import Known, Question, Questions, question_of


class Express:
    """Answers known questions in the framework's place, and passes everything else on."""

    def __init__(self, app: ASGIApp, questions: Questions) -> None:
        """Wraps the app."""
        self._app = app
        self._questions = questions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        question = question_of(scope)
        known = self._questions.get(question)
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
        self._questions.remember(question, Known(ask, read, scope["route"]))
