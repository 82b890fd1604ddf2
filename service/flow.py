"""The way of a request through the service: body → images → queue → rows → answer, under one deadline."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from service.batch import Outputs, UInt8Array
from service.bodies import Hold
from service.bundle import Precision
from service.decoding import decode_all
from service.errors import ImageFailure, Malformed
from service.guards import Guard
from service.images import ImageRule
from service.intake import File, Upload, collect_body
from service.model import Model
from service.outcomes import count_failed, count_images
from service.problems import of_failures
from service.state import Service, service_of
from service.trace import Trace, trace_of

REMEMBER = "sca.remember"
"""Where a scope may hold a function to tell how the request is answered: `Ask` and `Read`, all but its body."""
ENDED = "sca.ended"
"""Where a scope may hold the error that a request ended with before it came here."""
_INLINE_BYTES = 256 * 1024
"""Bodies up to this size are parsed on the event loop: a change of thread would cost more."""
INLINE_VALUES = 128 * 1024
"""Answers up to this many numbers are written on the event loop, for the same reason."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is known of a request before its body: a model and its precision, and what to do with bad images."""

    model: str | None
    version: str | None
    skip_bad: bool = False
    precision: Precision | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of a request.

    Attributes:
        model: The model that computed them.
        outputs: float32 (N, …) by name.
        indices: Place in the request of each row, if bad images are skipped; else None.
        failures: The skipped images.
    """

    model: Model
    outputs: Outputs
    indices: list[int] | None
    failures: list[ImageFailure]


@dataclass(frozen=True, slots=True)
class Order:
    """What a body asks for.

    Attributes:
        upload: The images.
        wants: Names of the outputs to compute.
        label: Name of the answer's format, for metrics.
        write: Makes the answer; runs in another thread if there is much to write.
    """

    upload: Upload
    wants: frozenset[str]
    label: str
    write: Callable[[Answered], Response]


Read = Callable[[Model, bytes], Order]
"""A body → what it asks of the model; runs in another thread if there is much to read."""


async def answer(request: Request, ask: Ask, read: Read) -> Response:
    """Takes a request from its body to its answer.

    Args:
        request: Its body must not have been read.
        ask: What is known before.
        read: Takes the body apart.

    Raises:
        ServiceError: Any row of the error table.
    """
    service, trace = service_of(request), trace_of(request.scope)
    model = service.registry.get(ask.model, ask.version, ask.precision)
    trace.model = model.label
    if remember := request.scope.get(REMEMBER):
        remember(ask, read)
    limits = service.limits.receive_s, service.settings.request_timeout_s
    try:
        if ended := request.scope.get(ENDED):
            raise ended
        with service.bodies.hold() as hold:
            async with Guard(request.scope, request.receive, trace, *limits) as guard:
                await service.registry.loaded(model)
                order = await _receive(request, service, model, read, hold)
                service.metrics.note(service.metrics.inflight.inc, trace.images)
                try:
                    guard.uploaded()
                    answered = await _compute(service, trace, model, ask, order)
                    response = await _written(service, trace, order, answered)
                finally:
                    service.metrics.note(service.metrics.inflight.dec, trace.images)
    # A bug too has images that must be in some outcome; it is told and logged at the edge. So is the drain time's end.
    except (Exception, asyncio.CancelledError) as error:
        count_failed(service.metrics, trace, error)
        model.statistics.fail(trace)
        raise
    return finish(service, trace, answered, response)


def finish(service: Service, trace: Trace, answered: Answered, response: Response) -> Response:
    """Counts an answer, and adds what all answers with rows have."""
    rows = len(next(iter(answered.outputs.values())))
    images = rows * answered.model.bundle.manifest.input.views
    count_images(service.metrics, trace, images, answered.failures)
    if rest := trace.images - images - len(answered.failures):  # the other views of samples that failed
        service.metrics.images.labels(trace.model, "rejected").inc(rest)
    answered.model.statistics.succeed(trace, rows)
    response.raw_headers += answered.model.headers
    return response


async def _receive(request: Request, service: Service, model: Model, read: Read, hold: Hold) -> Order:
    """Reads and parses the body, unless the queue is full anyway; sets the trace's number of images."""
    model.batcher.check_room()
    body = await collect_body(request.scope, request.receive, service.limits.body_bytes, hold)
    if len(body) <= _INLINE_BYTES:
        order = read(model, body)
    else:
        order = await asyncio.get_running_loop().run_in_executor(service.pool, read, model, body)
    views = model.bundle.manifest.input.views if isinstance(order.upload, np.ndarray) else 1
    trace_of(request.scope).images = len(order.upload) * views
    return order


async def _compute(service: Service, trace: Trace, model: Model, ask: Ask, order: Order) -> Answered:
    """Takes room in the queue, decodes what is not pixels yet, and waits for the rows."""
    upload = order.upload
    views = 1 if isinstance(upload, np.ndarray) else model.bundle.manifest.input.views
    if len(upload) % views:
        raise Malformed(f"{model.name} takes images in groups of {views}; the request has {len(upload)}.")
    if not ask.skip_bad and (none := [file for file in upload if isinstance(file, ImageFailure)]):
        raise of_failures(none)  # a bad request, before any work is done for it
    with model.batcher.admit(len(upload) // views) as ticket:
        failures: list[ImageFailure] = []
        samples: Sequence[UInt8Array] | UInt8Array
        if isinstance(upload, np.ndarray):
            samples, indices = upload, list(range(len(upload)))
        else:
            trace.stage = "decode"
            decoded, failures = await _decoded(service, trace, model.bundle.rule, upload)
            if failures and (not ask.skip_bad or not decoded):
                raise of_failures(failures)
            samples, indices = _grouped(decoded, len(upload) // views, views)
            if not samples:
                raise of_failures(failures)
        trace.stage = "queue"
        deadline = trace.started + service.settings.request_timeout_s
        rows = await ticket.submit(samples, order.wants, deadline)
    trace.seconds["queue"], trace.seconds["infer"] = rows.queue_s, rows.infer_s
    return Answered(model, rows.outputs, indices if ask.skip_bad else None, failures)


async def _decoded(
    service: Service, trace: Trace, rule: ImageRule, files: list[File]
) -> tuple[dict[int, UInt8Array], list[ImageFailure]]:
    """Decodes files, and takes the time; returns the arrays by index, and the failures."""
    started = time.monotonic()
    try:
        result = await decode_all(files, rule, service.settings.max_image_pixels, service.pool, service.pool_threads)
    finally:
        trace.seconds["decode"] = time.monotonic() - started
    service.metrics.note(service.metrics.decode_seconds.observe, trace.seconds["decode"])
    return result


def _grouped(decoded: dict[int, UInt8Array], count: int, views: int) -> tuple[list[UInt8Array], list[int]]:
    """Stacks the views of each whole sample along the channels; returns them with their sample indices."""
    if views == 1:
        return list(decoded.values()), list(decoded)
    whole = [n for n in range(count) if all(n * views + view in decoded for view in range(views))]
    return [np.concatenate([decoded[n * views + view] for view in range(views)], axis=2) for n in whole], whole


async def _written(service: Service, trace: Trace, order: Order, answered: Answered) -> Response:
    if sum(rows.size for rows in answered.outputs.values()) <= INLINE_VALUES:
        return write(service, trace, order, answered)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(service.pool, write, service, trace, order, answered)


def write(service: Service, trace: Trace, order: Order, answered: Answered) -> Response:
    """Makes the answer, and takes the time."""
    trace.stage = "encode"
    started = time.monotonic()
    response = order.write(answered)
    trace.seconds["encode"] = time.monotonic() - started
    metrics = service.metrics
    metrics.note(metrics.child(metrics.encode_seconds, order.label).observe, trace.seconds["encode"])
    return response
