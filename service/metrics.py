"""Every instrument, bucket and label of the service, in one registry that is handed in."""

from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from service.ledger import Ledger, Record

Instrument = TypeVar("Instrument", Counter, Gauge, Histogram)

# OpenTelemetry's advice for HTTP, with two finer steps below for a service that answers in milliseconds.
HTTP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
STAGE_BUCKETS = tuple(0.0001 * 2**power for power in range(15))
BATCH_BUCKETS = tuple(float(2**power) for power in range(9))

REASONS = ("queue_full", "draining", "not_ready", "body", "images", "pixels", "auth", "memory", "connections")
STAGES = ("upload", "decode", "queue", "encode")


class Metrics:
    """The instruments; label values come only from the fixed sets above, the loaded models and the route templates."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declares every instrument in `registry`."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it untyped
        self.registry = registry
        self._children: dict[tuple[object, ...], object] = {}
        self._ledger = Ledger()
        registry.register(self._ledger)  # before all that it brings up to date
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._declare_http()
        self._declare_stages()
        self._declare_models()

    def child(self, instrument: Instrument, *values: str) -> Instrument:
        """Returns `instrument.labels(*values)`, and remembers it: there it takes a lock and converts every value."""
        key = (instrument, *values)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = instrument.labels(*values)
        return found  # type: ignore[return-value]  # the key has the type of its value in it

    def note(self, record: Record, value: float = 1.0) -> None:
        """Counts a number when the metrics are read, or with some hundred others: for what every request brings."""
        self._ledger.note(record, value)

    def _declare_http(self) -> None:
        registry = self.registry
        self.requests = Counter(
            "sca_http_requests", "HTTP requests answered.", ("route", "method", "code"), registry=registry
        )
        self.request_seconds = Histogram(
            "sca_http_request_duration_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ("route",),
            buckets=HTTP_BUCKETS,
            registry=registry,
        )
        self.rejected = Counter("sca_rejected", "Requests refused, by reason.", ("reason",), registry=registry)
        for reason in REASONS:
            self.rejected.labels(reason)
        self.disconnects = Counter(
            "sca_client_disconnects", "Clients that left before their answer, by stage.", ("stage",), registry=registry
        )
        for stage in STAGES:
            self.disconnects.labels(stage)
        self.inflight = Gauge(
            "sca_inflight_images", "Images of requests that are being worked on, in any stage.", registry=registry
        )
        self.body_bytes = Gauge("sca_body_bytes", "Memory that bodies of requests take.", registry=registry)
        self.body_limit = Gauge(
            "sca_body_limit_bytes", "Memory that bodies of requests may take together.", registry=registry
        )
        self.draining = Gauge(
            "sca_draining", "1 while the server finishes its work and takes no more.", registry=registry
        )

    def _declare_stages(self) -> None:
        registry = self.registry
        self.decode_seconds = Histogram(
            "sca_decode_seconds", "Seconds to decode the images of a request.", buckets=STAGE_BUCKETS, registry=registry
        )
        self.queue_seconds = Histogram(
            "sca_queue_wait_seconds",
            "Seconds from decoded to the start of the first run.",
            ("model",),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "sca_inference_seconds",
            "Seconds of a run.",
            ("model", "provider"),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.encode_seconds = Histogram(
            "sca_encode_seconds", "Seconds to write an answer.", ("format",), buckets=STAGE_BUCKETS, registry=registry
        )
        self.batch_images = Histogram(
            "sca_batch_images", "Images in a run.", ("model",), buckets=BATCH_BUCKETS, registry=registry
        )

    def _declare_models(self) -> None:
        registry = self.registry
        self.images = Counter(
            "sca_images", "Images received, by what became of them.", ("model", "outcome"), registry=registry
        )
        self.queue_images = Gauge(
            "sca_queue_images", "Images admitted and not yet in a run.", ("model",), registry=registry
        )
        self.queue_limit = Gauge("sca_queue_limit_images", "Images that may wait.", ("model",), registry=registry)
        self.model_ready = Gauge(
            "sca_model_ready",
            "1 if the model is loaded and computes its golden images right.",
            ("model", "version"),
            registry=registry,
        )
        self.model_info = Gauge(
            "sca_model_info",
            "1, with what the model is.",
            ("model", "version", "sha256", "dataset", "provider"),
            registry=registry,
        )
        self.golden_error = Gauge(
            "sca_golden_max_abs_error",
            "Largest absolute difference from the golden outputs at the last check.",
            ("model",),
            registry=registry,
        )
        self.golden_ratio = Gauge(
            "sca_golden_error_ratio",
            "Golden error at the last check, as a share of what is accepted: above 1 the model is not ready.",
            ("model",),
            registry=registry,
        )
        self.build_info = Gauge(
            "sca_build_info", "1, with the versions in use.", ("version", "onnxruntime", "python"), registry=registry
        )
