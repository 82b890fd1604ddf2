"""`GET /filters`, `GET /filters/{index}`: pictures of what the model has learned."""

import hashlib
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from service.bundle import Bundle
from service.errors import Draining, NotReady
from service.filters import Kind, draw_filter, draw_grid, pick_filters
from service.guards import Guard
from service.intake import list_header
from service.openapi import IF_CHANGED, PNG_ANSWER, UNCHANGED, answers
from service.routes.parameters import CHECKED, ModelName, ModelVersion
from service.state import service_of
from service.trace import trace_of

router = APIRouter(tags=["filters"], dependencies=[CHECKED])

Layer = Annotated[int, Query(ge=-1_000_000, le=1_000_000, description="Layer, from 1.")]
KindOf = Annotated[Kind, Query(description="Filters that write pixels, or filters that read them.")]
Scale = Annotated[int, Query(ge=1, le=32, description="Edge of the square that each value becomes, in pixels.")]
Columns = Annotated[int | None, Query(ge=1, description="Filters in a row; left out, the grid is about square.")]


@router.get(
    "/filters",
    responses=answers(PNG_ANSWER, 400, 401, 404, 429, NotReady, Draining, 504) | UNCHANGED,
    openapi_extra=IF_CHANGED,
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
    responses=answers(PNG_ANSWER, 400, 401, 404, 429, NotReady, Draining, 504) | UNCHANGED,
    openapi_extra=IF_CHANGED,
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
    columns: Columns = None,
) -> Response:
    """Draws one filter; `columns` is for grids, and changes nothing here."""
    bundle = service_of(request).registry.get(model, version).bundle
    return await _picture(request, bundle, lambda: draw_filter(pick_filters(bundle, layer, kind), index, scale))


async def _picture(request: Request, bundle: Bundle, draw: Callable[[], bytes]) -> Response:
    """Draws, unless the client already has this very picture; ends when the client leaves or its time is up."""
    # The address and the file decide every pixel, so together they are the tag.
    address = f"{request.url.path}?{request.url.query}".encode()
    tag = f'"{bundle.manifest.files["filters.npz"].sha256[:32]}-{hashlib.sha256(address).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "X-Model": bundle.name, "X-Model-Version": bundle.version}
    known = list_header(request.scope, b"if-none-match")
    unchanged = Response(status_code=304, headers=headers)
    if tag.encode() in known:
        return unchanged
    service = service_of(request)
    seconds = service.settings.request_timeout_s
    trace = trace_of(request.scope)
    trace.stage, started = "encode", time.monotonic()
    async with Guard(request.scope, request.receive, trace, seconds, seconds) as guard:
        guard.uploaded()
        picture = await service.pictures.draw(draw)
    trace.seconds["encode"] = time.monotonic() - started
    # `*` is any picture, which the address may turn out not to have
    return unchanged if known.strip() == b"*" else Response(picture, headers=headers, media_type="image/png")
