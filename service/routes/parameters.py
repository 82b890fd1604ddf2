"""Query parameters that several routes share."""

from collections import Counter
from typing import Annotated, Literal

from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute

from service.bundle import Precision
from service.errors import Malformed

_SHOWN = 100

ModelName = Annotated[str | None, Query(description="Name of the model; the default one if left out.")]
ModelVersion = Annotated[str | None, Query(description="Version that must be the served one.")]
ModelPrecision = Annotated[
    Precision | None,
    Query(
        description="exact: the graph in float32; fast: in 8-bit integers, with the accuracy and deviation that the "
        "model's manifest states. Left out, what the server is set to."
    ),
]
OnError = Annotated[
    Literal["fail", "skip"],
    Query(
        description="fail: one bad image fails the request; skip: the others are answered and what failed is listed."
    ),
]


def _known_once(request: Request) -> None:
    """Refuses what would be left unread: `?topk=3` is an answer with one class, and no sign of why.

    Raises:
        Malformed: A query parameter is unknown to the route, or given twice.
    """
    route: APIRoute = request.scope["route"]
    known = [parameter.alias for parameter in route.dependant.query_params]
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known:
            raise Malformed(f"There is no query parameter {name[:_SHOWN]!r}; there are {', '.join(known) or 'none'}.")
        if times > 1:
            raise Malformed(f"The query parameter {name} is given {times} times.")


CHECKED = Depends(_known_once)
"""For routers: their routes take the query parameters that they have, each once."""
