"""GET /docs: the routes, their parameters and answers, as a page."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from service.reference import render

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Shows the OpenAPI document to people."""
    return HTMLResponse(render(request.app.openapi()))
