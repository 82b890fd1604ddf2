"""What the routes share: one object, built by the app factory and kept in `app.state`."""

import logging
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
from prometheus_client import CollectorRegistry
from starlette.requests import Request

from service import __version__
from service.bodies import Bodies
from service.cpus import usable_cpus
from service.intake import Limits
from service.metrics import Metrics
from service.pictures import Pictures
from service.registry import Registry
from service.settings import Settings

logger = logging.getLogger(__name__)

_STUCK_S = 60.0
"""A single run that takes longer than this (or than the request deadline) counts as stuck."""


@dataclass
class Service:
    """The running service.

    Attributes:
        settings: What was configured.
        registry: The models.
        metrics: The instruments.
        pool: Threads for decoding, and for parsing and writing large bodies.
        pool_threads: How many those are.
        limits: What a request may bring.
        bodies: What bodies take of the memory.
        pictures: Where filters are drawn.
        draining: Whether the server finishes its work and takes no more.
        startup_errors: What kept a model from loading.
    """

    settings: Settings
    registry: Registry
    metrics: Metrics
    pool: ThreadPoolExecutor
    pool_threads: int
    limits: Limits
    bodies: Bodies
    pictures: Pictures = field(default_factory=Pictures)
    draining: bool = False
    startup_errors: list[Exception] = field(default_factory=list)

    @property
    def longest_run_s(self) -> float:
        """Seconds after which a run counts as stuck."""
        return max(_STUCK_S, self.settings.request_timeout_s)

    def drain(self) -> None:
        """Turns readiness red and refuses new work from now on."""
        self.draining = True
        self.metrics.draining.set(1)


def create_service(settings: Settings) -> Service:
    """Builds what the routes share; finds the bundles, loads nothing.

    Raises:
        BundleError: There is no bundle to serve.
    """
    metrics = Metrics(CollectorRegistry())
    metrics.build_info.labels(__version__, ort.__version__, platform.python_version()).set(1)
    bodies = Bodies(max(settings.body_memory_bytes, settings.max_body_bytes))
    metrics.body_bytes.set_function(lambda: bodies.held)
    metrics.body_limit.set(bodies.most)
    threads, cpus = settings.threads or usable_cpus(), usable_cpus()
    if threads > cpus:
        logger.warning("SCA_THREADS is more than there are processors", extra={"threads": threads, "processors": cpus})
    return Service(
        settings=settings,
        registry=Registry(settings, metrics),
        metrics=metrics,
        pool=ThreadPoolExecutor(threads, thread_name_prefix="images"),
        pool_threads=threads,
        limits=Limits(settings.max_body_bytes, settings.max_images, settings.receive_timeout_s),
        bodies=bodies,
    )


def service_of(request: Request) -> Service:
    """Returns the running service of a request."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
