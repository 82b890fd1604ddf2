"""Query parameters that several routes share."""

from typing import Annotated, Literal

from fastapi import Query

from service.bundle import Precision

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
