"""`POST /features`: images → feature vectors, in the format that the client accepts."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service.errors import Malformed
from service.flow import Answered, Ask, answer
from service.intake import header
from service.openapi import FEATURES_ANSWER, IMAGES_BODY, answers
from service.problems import listed
from service.render import JSON, Format, Vectors, pick_format
from service.routes.parameters import ModelName, ModelVersion, OnError

router = APIRouter(tags=["images"])
_WANTS = frozenset(("features",))


@router.post(
    "/features",
    responses=answers(FEATURES_ANSWER, 400, 401, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504),
    openapi_extra=IMAGES_BODY,
    response_class=Response,
)
async def features(
    request: Request,
    model: ModelName = None,
    version: ModelVersion = None,
    on_error: OnError = "fail",
    form: Annotated[str | None, Query(alias="format", description="Beats Accept: json, npy, octet-stream.")] = None,
    encoding: Annotated[
        Literal["list", "base64"],
        Query(description="Of JSON: base64 writes each vector as base64 of little-endian float32."),
    ] = "list",
    dtype: Annotated[Literal["float32"], Query(description="Type of the numbers.")] = "float32",
    output: Annotated[Literal["features"], Query(description="Which vector of the model.")] = "features",
) -> Response:
    """Computes the feature vector of each image."""
    chosen = pick_format(form, header(request.scope, b"accept"))
    if encoding == "base64" and chosen is not JSON:
        raise Malformed(f"encoding=base64 is a way to write JSON, and {chosen.media_type} is asked for.")
    ask = Ask(model, version, on_error == "skip", _WANTS)
    return await answer(request, ask, chosen.name, partial(_write, chosen, encoding == "base64"))


def _write(form: Format, base64: bool, answered: Answered) -> Response:
    vectors = Vectors(
        model=answered.model.name,
        version=answered.model.version,
        rows=answered.outputs["features"],
        indices=answered.indices,
        errors=listed(answered.failures),
        base64=base64,
    )
    headers = form.headers(vectors) | {"Vary": "Accept"}
    if answered.failures:
        headers["X-Failed-Indices"] = ",".join(str(failure.index) for failure in answered.failures)
    return Response(form.write(vectors), headers=headers, media_type=form.media_type)
