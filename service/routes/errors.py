"""`GET /errors/{code}`: what the `type` of a problem leads to."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Request, Response

from service import errors, problem_types
from service.openapi import answers, json_answer

router = APIRouter(tags=["operation"])
_EXAMPLE = {"code": "queue-full", "status": 429, "title": "Queue full", "description": "The queue cannot take …"}


@router.get(
    "/errors/{code}",
    responses=answers(json_answer("What it means.", "ErrorKind", full=_EXAMPLE), 404),
    response_class=Response,
)
async def explain(
    request: Request, code: Annotated[str, Path(description="Last part of a problem's type.")]
) -> Response:
    """Explains an error's type."""
    for kind in problem_types.ALL:
        if kind.code == code:
            body = {"code": code, "status": kind.status, "title": kind.title, "description": kind.__doc__}
            return Response(orjson.dumps(body), media_type="application/json")
    raise errors.NotFound(f"There is no error {code[:100]!r}.")
