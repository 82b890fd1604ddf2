"""`POST /predict`: images → labels with probabilities."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response

from service.errors import Malformed
from service.flow import Answered, Ask, Order, answer
from service.intake import header, list_header, parse
from service.model import Model
from service.openapi import IMAGES_BODY, PREDICT_ANSWER, answers
from service.problems import listed
from service.render import JSON, pick_format
from service.routes.parameters import CHECKED, ModelName, ModelPrecision, ModelVersion, OnError
from service.state import service_of

router = APIRouter(tags=["images"], dependencies=[CHECKED])
_WANTS = frozenset(("logits",))


@router.post(
    "/predict",
    responses=answers(PREDICT_ANSWER, 400, 401, 404, 406, 408, 413, 415, 422, 429, 503, 504),
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
    pick_format(form, list_header(request.scope, b"accept"), (JSON,))
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
        "predictions": [_prediction(row, labels, top_k) for row in answered.outputs["logits"].tolist()],
    }
    if answered.indices is not None:
        body |= {"indices": answered.indices, "errors": listed(answered.failures)}
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type=JSON.media_type)


def _prediction(logits: Sequence[float], labels: tuple[str, ...], top_k: int) -> dict[str, Any]:
    """Writes the `top_k` classes of one image, the most probable first; of equals, the lower index.

    Of a dozen numbers Python makes a softmax sooner than numpy does.
    """
    highest = max(logits)
    raised = [math.exp(logit - highest) for logit in logits]
    total = sum(raised)
    order = sorted(range(len(raised)), key=logits.__getitem__, reverse=True)[:top_k]
    # As float32, so that JSON has its seven digits.
    top = [{"label": labels[i], "index": i, "probability": np.float32(raised[i] / total)} for i in order]
    return {**top[0], "top_k": top}
