"""`POST /predict`: images → labels with probabilities."""

from functools import partial
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray

from service.errors import Malformed
from service.flow import Answered, Ask, Order, answer
from service.intake import header, parse
from service.model import Model
from service.openapi import IMAGES_BODY, PREDICT_ANSWER, answers
from service.problems import listed
from service.render import JSON, pick_format
from service.routes.parameters import ModelName, ModelPrecision, ModelVersion, OnError
from service.state import service_of

router = APIRouter(tags=["images"])
_WANTS = frozenset(("logits",))


@router.post(
    "/predict",
    responses=answers(PREDICT_ANSWER, 400, 401, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504),
    openapi_extra=IMAGES_BODY,
    response_class=Response,
)
async def predict(
    request: Request,
    model: ModelName = None,
    version: ModelVersion = None,
    precision: ModelPrecision = None,
    on_error: OnError = "fail",
    top_k: Annotated[int, Query(ge=1, description="How many classes to list for each image.")] = 1,
    form: Annotated[str | None, Query(alias="format", description="Only json.")] = None,
) -> Response:
    """Computes the most probable classes of each image."""
    pick_format(form, header(request.scope, b"accept"), (JSON,))
    service = service_of(request)
    classes = len(service.registry.get(model, version).bundle.manifest.labels)
    if top_k > classes:
        raise Malformed(f"top_k is {top_k}, but the model has {classes} classes.", limit=classes, actual=top_k)
    content_type = header(request.scope, b"content-type")

    def read(model: Model, body: bytes) -> Order:
        upload = parse(content_type, body, model.bundle.shape, service.limits)
        return Order(upload, _WANTS, JSON.name, partial(_write, top_k))

    return await answer(request, Ask(model, version, on_error == "skip", precision), read)


def _write(top_k: int, answered: Answered) -> Response:
    labels = answered.model.bundle.manifest.labels
    body: dict[str, Any] = {
        "model": answered.model.name,
        "version": answered.model.version,
        "predictions": [_prediction(row, labels, top_k) for row in _softmax(answered.outputs["logits"])],
    }
    if answered.indices is not None:
        body |= {"indices": answered.indices, "errors": listed(answered.failures)}
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type=JSON.media_type)


def _prediction(probabilities: NDArray[np.float32], labels: tuple[str, ...], top_k: int) -> dict[str, Any]:
    """Writes the `top_k` classes of one image, the most probable first; of equals, the lower index."""
    order = (-probabilities).argsort(kind="stable")[:top_k].tolist()
    top = [{"label": labels[index], "index": index, "probability": probabilities[index]} for index in order]
    return {**top[0], "top_k": top}


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turns logits (N, K) into probabilities (N, K)."""
    raised = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
    total = np.add.reduce(raised, axis=1, keepdims=True, dtype=np.float32)
    return np.divide(raised, total, dtype=np.float32)
