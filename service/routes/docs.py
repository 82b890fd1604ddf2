"""GET /docs: the routes, their parameters and answers, as a page; GET / leads there."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse

from service.reference import render

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Shows the OpenAPI document to people."""
    return HTMLResponse(render(request.app.openapi()))


@router.get("/")
async def front() -> RedirectResponse:
    """Leads who follows the address in the log to something that can be read."""
    return RedirectResponse("docs")
