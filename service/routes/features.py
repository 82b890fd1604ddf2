"""`POST /features`: images → feature vectors, in the format that the client accepts."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service.errors import Malformed
from service.flow import Answered, Ask, Order, answer
from service.intake import header, list_header, parse
from service.model import Model
from service.openapi import FEATURES_ANSWER, IMAGES_BODY, answers
from service.problems import listed
from service.render import FORMATS, JSON, Format, pick_format
from service.routes.parameters import CHECKED, ModelName, ModelPrecision, ModelVersion, OnError
from service.state import service_of
from service.vectors import DEFAULT_OUTPUT, DType, Vectors, as_rows

router = APIRouter(tags=["images"], dependencies=[CHECKED])
_FORMATS = ", ".join(form.name for form in FORMATS)


@router.post(
    "/features",
    responses=answers(FEATURES_ANSWER, 400, 401, 404, 406, 408, 413, 415, 422, 429, 503, 504),
    openapi_extra=IMAGES_BODY,
    response_class=Response,
)
async def features(
    request: Request,
    model: ModelName = None,
    version: ModelVersion = None,
    precision: ModelPrecision = None,
    on_error: OnError = "fail",
    form: Annotated[str | None, Query(alias="format", description=f"Beats Accept: {_FORMATS}.")] = None,
    encoding: Annotated[
        Literal["list", "base64"],
        Query(description="Of JSON: base64 writes each vector as base64 of little-endian numbers."),
    ] = "list",
    dtype: Annotated[
        DType, Query(description="Type of the numbers; float16 rounds to nearest, beyond ±65504 to infinity.")
    ] = "float32",
    output: Annotated[
        str, Query(description="Which vector of the model: features, logits, or another output that its graph has.")
    ] = DEFAULT_OUTPUT,
) -> Response:
    """Computes the feature vector of each image."""
    chosen = pick_format(form, list_header(request.scope, b"accept"))
    if encoding == "base64" and chosen is not JSON:
        raise Malformed(f"encoding=base64 is a way to write JSON, and {chosen.media_type} is asked for.")
    service = service_of(request)
    if output != DEFAULT_OUTPUT:
        _check_output(service.registry.get(model, version), output)
    content_type = header(request.scope, b"content-type")
    write = partial(_write, chosen, output, dtype, encoding == "base64")

    def read(model: Model, body: bytes) -> Order:
        upload = parse(content_type, body, model.bundle.shape, service.limits)
        return Order(upload, frozenset((output,)), chosen.name, write)

    return await answer(request, Ask(model, version, on_error == "skip", precision), read)


def _check_output(model: Model, output: str) -> None:
    """Refuses what is no vector of the model.

    Raises:
        Malformed: The model has no such output, or its rows are no vectors.
    """
    vectors = [name for name, shape in model.session.outputs.items() if len(shape) == 1]
    if output not in vectors:
        raise Malformed(f"{model.name} has no output {output[:100]!r}; it has {', '.join(vectors)}.")


def _write(form: Format, output: str, dtype: DType, base64: bool, answered: Answered) -> Response:
    vectors = Vectors(
        model=answered.model.name,
        version=answered.model.version,
        output=output,
        rows=as_rows(answered.outputs[output], dtype),
        indices=answered.indices,
        errors=listed(answered.failures),
        base64=base64,
    )
    headers = form.headers(vectors) | {"Vary": "Accept"}
    if answered.failures:
        headers["X-Failed-Indices"] = ",".join(str(failure.index) for failure in answered.failures)
    return Response(form.write(vectors), headers=headers, media_type=form.media_type)
