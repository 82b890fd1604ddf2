"""`GET /models`, `GET /models/{name}`: the manifests, with versions and which is default."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Request, Response

from service.errors import Draining, NotReady
from service.openapi import answers, json_answer
from service.routes.parameters import CHECKED
from service.state import service_of

router = APIRouter(tags=["models"], dependencies=[CHECKED])
_MANIFEST = {
    "schema_version": 1,
    "name": "cifar10-shallow",
    "version": "1",
    "dataset": "cifar10",
    "input": {
        "height": 32,
        "width": 32,
        "channels": 3,
        "color_mode": "RGB",
        "alpha_background": "white",
        "resize": {"mode": "cover", "filter": "bicubic"},
    },
    "labels": ["airplane", "automobile"],
    "feature_dim": 32768,
    "layers": [{"layer": 1, "maps": 512, "channels": 3, "kernel": 9, "output_shape": [512, 8, 8]}],
    "files": {"model.onnx": {"sha256": 16 * "0123", "bytes": 1728432}},
}
_MODEL = {
    "name": "cifar10-shallow",
    "version": "1",
    "versions": ["1"],
    "default": True,
    "ready": True,
    "manifest": _MANIFEST,
}
_LIST = {"default": "cifar10-shallow", "models": [_MODEL]}


@router.get(
    "/models",
    responses=answers(json_answer("All models.", "Models", one=_LIST), 401, NotReady, Draining),
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
    responses=answers(json_answer("The model.", "Model", model=_MODEL), 401, 404, NotReady, Draining),
    response_class=Response,
)
async def one_model(request: Request, name: Annotated[str, Path(description="Name of the model.")]) -> Response:
    """Describes one model."""
    registry = service_of(request).registry
    return Response(orjson.dumps(registry.describe(registry.get(name))), media_type="application/json")
