"""`/v2/…`: the Open Inference Protocol, for clients of Triton and KServe; everything behind it is the other routes'."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response

from service.errors import Draining, Malformed, NotReady
from service.flow import Answered, Ask, Order, answer
from service.intake import header, parse_json, read_body
from service.model import Model
from service.openapi_errors import Answers, Refused
from service.openapi_v2 import ANSWERS, INDEX_BODY, INFER_ANSWER, INFER_BODY, VERSION, v2_answers
from service.routes.parameters import ModelPrecision
from service.state import service_of
from service.v2 import metadata
from service.v2.request import read_request
from service.v2.response import write_response

router = APIRouter(prefix="/v2", tags=["open inference protocol v2"])
Name = Annotated[str, Path(description="Name of the model.")]
Handler = Callable[..., Awaitable[Response]]


def _for_models(
    method: str, rest: str, own: Answers, *refused: Refused, body: Mapping[str, Any] | None = None
) -> Callable[[Handler], Handler]:
    """Puts a handler under a model, and under a version of it, which then is in the path's parameters."""

    def register(handler: Handler) -> Handler:
        for path, parameters in (("/models/{name}", []), ("/models/{name}/versions/{version}", [VERSION])):
            extra = {**(body or {}), "parameters": [*parameters, *(body or {}).get("parameters", ())]}
            router.add_api_route(
                path + rest,
                handler,
                methods=[method],
                responses=v2_answers(own, *refused),
                openapi_extra=extra,
                response_class=Response,
            )
        return handler

    return register


@router.get("", responses=v2_answers(ANSWERS["server"], 401, Draining), response_class=Response)
async def server() -> Response:
    """Describes the server: its name, version and extensions."""
    return _json(metadata.of_server())


@router.get("/health/live", responses=v2_answers(ANSWERS["live"]), response_class=Response)
async def live(request: Request) -> Response:
    """Tells whether the process still works."""
    service = service_of(request)
    stuck = [model.label for model in service.registry.served if not model.alive(service.longest_run_s)]
    return _health({"live": not stuck}, f"dead or stuck: {', '.join(stuck)}" if stuck else None)


@router.get("/health/ready", responses=v2_answers(ANSWERS["ready"]), response_class=Response)
async def ready(request: Request) -> Response:
    """Tells whether requests for every model will be answered."""
    service = service_of(request)
    missing = [f"{model.label}: {model.state}" for model in service.registry.served if not model.ready]
    reason = "shutting down" if service.draining else "; ".join(missing) or None
    return _health({"live": True, "ready": reason is None}, reason)


@router.post(
    "/repository/index",
    responses=v2_answers(ANSWERS["index"], 400, 401, 408, 413, 415, Draining),
    openapi_extra=INDEX_BODY,
    response_class=Response,
)
async def index(request: Request) -> Response:
    """Lists the models and their states; the repository cannot be changed from here."""
    service = service_of(request)
    with service.bodies.hold() as hold:
        only_ready = _wants_ready(await read_body(request.scope, request.receive, service.limits, hold))
    models = [model for model in service.registry.models.values() if model.ready or not only_ready]
    return _json([_state(model) for model in models])


@router.get("/models/stats", responses=v2_answers(ANSWERS["stats"], 401, Draining), response_class=Response)
async def all_statistics(request: Request) -> Response:
    """Counts requests, runs and their times, for every model."""
    return _statistics(*service_of(request).registry.models.values())


@_for_models("GET", "", ANSWERS["model"], 401, 404, NotReady, Draining)
async def model(request: Request, name: Name) -> Response:
    """Describes a model: its versions, inputs and outputs."""
    return _json(metadata.of_model(_named(request, name)))


@_for_models("GET", "/ready", ANSWERS["model ready"], 401, 404)
async def model_ready(request: Request, name: Name) -> Response:
    """Tells whether requests for a model will be answered."""
    found = _named(request, name)
    return _health({"name": found.name, "ready": found.ready}, None if found.ready else found.state)


@_for_models("GET", "/config", ANSWERS["config"], 401, 404, NotReady, Draining)
async def configuration(request: Request, name: Name) -> Response:
    """Describes a model in the terms of Triton's model configuration."""
    service = service_of(request)
    return _json(metadata.of_configuration(_named(request, name), service.settings))


@_for_models("GET", "/stats", ANSWERS["stats"], 401, 404, Draining)
async def statistics(request: Request, name: Name) -> Response:
    """Counts requests, runs and their times, for one model."""
    return _statistics(_named(request, name))


_REFUSALS = (400, 401, 404, 408, 413, 415, 422, 429, 503, 504)


@_for_models("POST", "/infer", INFER_ANSWER, *_REFUSALS, body=INFER_BODY)
async def infer(request: Request, name: Name, precision: ModelPrecision = None) -> Response:
    """Computes outputs of a model for images: UINT8 pixels of its size, or BYTES, one image file an element."""
    limits = service_of(request).limits
    length = header(request.scope, b"inference-header-content-length")

    def read(model: Model, body: bytes) -> Order:
        asked = read_request(body, length, model.bundle.shape, model.session.outputs, limits)

        def write(answered: Answered) -> Response:
            return write_response(asked, model, answered.outputs)

        label = "v2-binary" if any(output.binary for output in asked.outputs) else "v2-json"
        return Order(asked.upload, frozenset(output.name for output in asked.outputs), label, write)

    return await answer(request, Ask(name, request.path_params.get("version"), precision=precision), read)


def _named(request: Request, name: str) -> Model:
    return service_of(request).registry.get(name, request.path_params.get("version"))


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _health(body: dict[str, Any], reason: str | None) -> Response:
    """Answers 200, or 503 with the reason in the protocol's place for it."""
    answer = _json(body if reason is None else body | {"error": reason}, 200 if reason is None else 503)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _statistics(*models: Model) -> Response:
    stats = [{"name": model.name, "version": model.version} | model.statistics.document() for model in models]
    return _json({"model_stats": stats})


def _wants_ready(body: bytes) -> bool:
    """Reads the body of an index request, which may be empty."""
    document = parse_json(body, len(body), 0) if body else {}
    only_ready = document.get("ready", False) if isinstance(document, dict) else None
    if not isinstance(only_ready, bool):
        raise Malformed('The request must be {"ready": true} or {"ready": false}, or empty.')
    return only_ready


def _state(model: Model) -> dict[str, str]:
    state = "READY" if model.ready else "LOADING" if model.golden is None else "UNAVAILABLE"
    return {"name": model.name, "version": model.version, "state": state, "reason": "" if model.ready else model.state}
