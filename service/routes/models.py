"""`GET /models`, `GET /models/{name}`: the manifests, with versions and which is default."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Request, Response

from service.openapi import answers, json_answer
from service.routes.parameters import CHECKED
from service.state import service_of

router = APIRouter(tags=["models"], dependencies=[CHECKED])
_EXAMPLE = {
    "name": "cifar10-shallow",
    "version": "1",
    "versions": ["1"],
    "default": True,
    "ready": True,
    "manifest": {"schema_version": 1, "name": "cifar10-shallow"},
}


@router.get(
    "/models",
    responses=answers(json_answer("All models.", {"default": "cifar10-shallow", "models": [_EXAMPLE]}), 401, 500, 503),
    response_class=Response,
)
async def models(request: Request) -> Response:
    """Lists the served models."""
    registry = service_of(request).registry
    body = {
        "default": registry.settings.default_model,
        "models": [registry.describe(model) for model in registry.models.values()],
    }
    return Response(orjson.dumps(body), media_type="application/json")


@router.get(
    "/models/{name}",
    responses=answers(json_answer("The model.", _EXAMPLE), 401, 404, 500, 503),
    response_class=Response,
)
async def one_model(request: Request, name: Annotated[str, Path(description="Name of the model.")]) -> Response:
    """Describes one model."""
    registry = service_of(request).registry
    return Response(orjson.dumps(registry.describe(registry.get(name))), media_type="application/json")
