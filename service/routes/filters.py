"""`GET /filters`, `GET /filters/{index}`: pictures of what the model has learned."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from service.bundle import Bundle
from service.filters import Kind, draw_filter, draw_grid, pick_filters
from service.intake import header
from service.openapi import PNG_ANSWER, answers
from service.routes.parameters import ModelName, ModelVersion
from service.state import service_of

router = APIRouter(tags=["filters"])

Layer = Annotated[int, Query(ge=1, le=1_000_000, description="Layer, from 1.")]
KindOf = Annotated[Kind, Query(description="Filters that write pixels, or filters that read them.")]
Scale = Annotated[int, Query(ge=1, le=32, description="Edge of the square that each value becomes, in pixels.")]
Columns = Annotated[int | None, Query(ge=1, description="Filters in a row; left out, the grid is about square.")]


@router.get(
    "/filters",
    responses=answers(PNG_ANSWER, 400, 401, 404, 500, 503),
    response_class=Response,
)
async def all_filters(
    request: Request,
    model: ModelName = None,
    version: ModelVersion = None,
    layer: Layer = 1,
    kind: KindOf = "decoder",
    scale: Scale = 4,
    columns: Columns = None,
) -> Response:
    """Draws all filters of a layer in one grid, each scaled to its own contrast."""
    bundle = service_of(request).registry.get(model, version).bundle
    return await _picture(request, bundle, lambda: draw_grid(pick_filters(bundle, layer, kind), scale, columns))


@router.get(
    "/filters/{index}",
    responses=answers(PNG_ANSWER, 400, 401, 404, 500, 503),
    response_class=Response,
)
async def one_filter(
    request: Request,
    index: Annotated[int, Path(description="Number of the filter, from 0.")],
    model: ModelName = None,
    version: ModelVersion = None,
    layer: Layer = 1,
    kind: KindOf = "decoder",
    scale: Scale = 4,
) -> Response:
    """Draws one filter."""
    bundle = service_of(request).registry.get(model, version).bundle
    return await _picture(request, bundle, lambda: draw_filter(pick_filters(bundle, layer, kind), index, scale))


async def _picture(request: Request, bundle: Bundle, draw: Callable[[], bytes]) -> Response:
    """Draws in the pool, unless the client already has this very picture."""
    # The address and the file decide every pixel, so together they are the tag.
    tag = f'"{bundle.manifest.files["filters.npz"].sha256[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "X-Model": bundle.name, "X-Model-Version": bundle.version}
    if tag.encode() in header(request.scope, b"if-none-match"):
        return Response(status_code=304, headers=headers)
    picture = await asyncio.get_running_loop().run_in_executor(service_of(request).pool, partial(draw))
    return Response(picture, headers=headers, media_type="image/png")
