"""`GET /health/live`, `GET /health/ready`, `GET /metrics`: what probes and Prometheus read; they never need a key."""

import asyncio
import time
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from service.errors import Draining
from service.intake import list_header
from service.openapi import METRICS_ANSWER, answers, json_answer
from service.state import service_of

router = APIRouter(tags=["operation"])
_CHECK = {"name": "model:cifar10-shallow", "ok": True, "age_s": 12.5, "detail": "…"}
_GREEN = {"status": "ok", "checks": [_CHECK]}
_RED = {"status": "unavailable", "checks": [_CHECK | {"ok": False}]}


@router.get(
    "/health/live",
    responses={
        200: json_answer("Alive.", "Health", green=_GREEN),
        503: json_answer("To be restarted.", "Health", red=_RED),
    },
    response_class=Response,
)
async def live(request: Request) -> Response:
    """Tells whether the process still works; load, loading and draining do not turn it red."""
    service = service_of(request)
    checks = [_check("event-loop", True, 0.0, "answering")]
    for model in service.registry.served:
        alive = model.alive(service.longest_run_s)
        checks.append(_check(f"batcher:{model.label}", alive, 0.0, "working" if alive else "dead or stuck"))
    return _answer(checks)


@router.get(
    "/health/ready",
    responses={200: json_answer("Ready.", "Health", green=_GREEN), 503: json_answer("Not now.", "Health", red=_RED)},
    response_class=Response,
)
async def ready(request: Request) -> Response:
    """Tells whether requests will be answered: every model loaded, warm, its golden images right, and not draining."""
    service = service_of(request)
    detail = "shutting down" if service.draining else "taking work"
    checks = [_check("accepting", not service.draining, 0.0, detail)]
    for model in service.registry.served:
        age_s = time.monotonic() - model.checked_at
        checks.append(_check(f"model:{model.label}", model.ready, age_s, model.state))
    return _answer(checks)


@router.get(
    "/metrics",
    # It writes in another thread, and is not waited for when the drain time is over.
    responses=answers(METRICS_ANSWER, Draining),
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Writes all metrics in the Prometheus text format, or in OpenMetrics if asked."""
    encode, media_type = choose_encoder(list_header(request.scope, b"accept").decode("latin-1"))
    body = await asyncio.get_running_loop().run_in_executor(None, encode, service_of(request).metrics.registry)
    return Response(body, headers={"Content-Type": media_type})


def _check(name: str, ok: bool, age_s: float, detail: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "age_s": round(age_s, 3), "detail": detail}


def _answer(checks: list[dict[str, Any]]) -> Response:
    ok = all(check["ok"] for check in checks)
    body = orjson.dumps({"status": "ok" if ok else "unavailable", "checks": checks})
    return Response(body, 200 if ok else 503, {"Cache-Control": "no-store"}, "application/json")
