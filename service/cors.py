"""Which pages of other origins a browser lets call this server (the Fetch standard's CORS protocol)."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Malformed
from service.problems import refusal

_EXPOSED = [
    *("X-Request-Id", "Server-Timing", "X-Model", "X-Model-Version", "X-Model-Precision", "X-Shape", "X-Dtype"),
    *("ETag", "X-Failed-Indices", "Retry-After", "Inference-Header-Content-Length"),
]


class Cors(CORSMiddleware):
    """The framework's layer, whose refusals are problems like all others."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """Lets pages of these origins in; `*` is any."""
        super().__init__(app, origins, ["GET", "HEAD", "POST"], ["*"], expose_headers=_EXPOSED)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answers a browser that asks before it sends."""
        answer = super().preflight_response(request_headers)
        return answer if answer.status_code == 200 else _Refused(bytes(answer.body).decode(), answer.headers)


class _Refused(Response):
    """A problem that is written when it is known for which request."""

    def __init__(self, reason: str, headers: Headers) -> None:
        super().__init__(status_code=Malformed.status)
        self._reason = reason
        self._kept = {name: value for name, value in headers.items() if not name.startswith("content-")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = Malformed(f"{self._reason}: SCA_CORS_ORIGINS names the pages that may ask, by GET and POST.")
        answer = refusal(error, scope)
        answer.headers.update(self._kept)
        await answer(scope, receive, send)
