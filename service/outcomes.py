"""What became of a request's images, as `sca_images_total` tells it."""

import asyncio
from collections.abc import Sequence

from service.errors import ClientGone, Draining, ImageFailure, ServiceError
from service.metrics import Metrics
from service.trace import Trace

_BY_STATUS = {
    400: "malformed",
    413: "too_large",
    415: "unsupported",
    422: "decode_error",
    429: "rejected",
    503: "rejected",
    504: "timeout",
}


def count_failed(metrics: Metrics, trace: Trace, error: BaseException) -> None:
    """Counts the images of a request that got an error: those at fault by their fault, the others by the request's."""
    if trace.model is None or not trace.images:
        return
    if isinstance(error, ServiceError) and error.failures and error.status != 400:
        count_images(metrics, trace, 0, error.failures)
        rest = trace.images - len(error.failures)
        outcome = "rejected"
    else:
        rest = trace.images
        outcome = _outcome(error)
    if rest:
        metrics.images.labels(trace.model, outcome).inc(rest)


def count_images(metrics: Metrics, trace: Trace, answered: int, failures: Sequence[ImageFailure]) -> None:
    """Counts images that were answered, and those that failed by themselves."""
    if answered and trace.model is not None:
        metrics.note(metrics.child(metrics.images, trace.model, "ok").inc, answered)
    for failure in failures:
        metrics.images.labels(trace.model, _BY_STATUS[failure.status]).inc()


def _outcome(error: BaseException) -> str:
    """What became of images that have no fault of their own."""
    if isinstance(error, ClientGone):
        return "cancelled"
    if isinstance(error, asyncio.CancelledError):  # by the drain time's end
        return _BY_STATUS[Draining.status]
    return _BY_STATUS.get(error.status, "internal") if isinstance(error, ServiceError) else "internal"
