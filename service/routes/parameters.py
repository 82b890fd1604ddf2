"""Query parameters that several routes share."""

from typing import Annotated, Literal

from fastapi import Query

ModelName = Annotated[str | None, Query(description="Name of the model; the default one if left out.")]
ModelVersion = Annotated[str | None, Query(description="Version that must be the served one.")]
OnError = Annotated[
    Literal["fail", "skip"],
    Query(
        description="fail: one bad image fails the request; skip: the others are answered and what failed is listed."
    ),
]
