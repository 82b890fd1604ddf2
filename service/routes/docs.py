"""GET /docs: the routes, their parameters and answers, as a page; GET / leads there."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse

from service.reference import render

router = APIRouter(tags=["documentation"])
_TO_DOCS = {"description": "To docs.", "headers": {"Location": {"schema": {"type": "string"}, "required": True}}}


@router.get("/docs", responses={200: {"description": "The page."}}, response_class=HTMLResponse)
async def docs(request: Request) -> HTMLResponse:
    """Shows the OpenAPI document to people."""
    return HTMLResponse(render(request.app.openapi()))


@router.get("/", responses={307: _TO_DOCS}, response_class=RedirectResponse)
async def front() -> RedirectResponse:
    """Leads who follows the address in the log to something that can be read."""
    return RedirectResponse("docs")
