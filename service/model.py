"""One graph of a bundle, from its files to a batcher that computes: loaded, warmed, its golden images right."""

import logging
import math
import time
from collections.abc import Sequence

import numpy as np

from service.batch import Rows, UInt8Array
from service.batcher import Batcher, OnBatch
from service.bundle import Bundle, BundleError, Precision, load_bundle
from service.cpus import usable_cpus
from service.devices import CPU
from service.errors import InferenceFailed, NotReady
from service.golden import Golden
from service.loans import lasting
from service.metrics import Metrics
from service.session import Session
from service.settings import Settings
from service.statistics import Statistics

logger = logging.getLogger(__name__)

_AT_ONCE_S = 0.005
"""A run of one image that takes as long, at most, may hold up the event loop: its own turns take a tenth of that, and
two changes of thread, which it saves, a twentieth."""


class Model:
    """One served graph of a model: its bundle, session and batcher, once they are loaded.

    Attributes:
        name: Of the model.
        versions: Those on disk, the served one first.
        precision: Which of the bundle's graphs; one that is to be `fast` and has no such graph becomes `exact`.
        statistics: Counts of the model, over all its graphs.
        headers: What every answer says of it.
        expected: Whether the service is not ready without it.
        golden: The outcome of the last check.
        checked_at: When that was, on the monotonic clock.
    """

    def __init__(self, name: str, versions: Sequence[str], precision: Precision, statistics: Statistics) -> None:
        """Starts out not loaded."""
        self.name = name
        self.versions = tuple(versions)
        self.version = versions[0]
        self._choose(precision)
        self.statistics = statistics
        self.expected = False
        self.golden: Golden | None = None
        self.checked_at = time.monotonic()
        self._bundle: Bundle | None = None
        self._session: Session | None = None
        self._batcher: Batcher | None = None
        self._on_batch: OnBatch = lambda images, waits_s, run_s: None
        self._single_s = math.inf

    def _choose(self, precision: Precision) -> None:
        self.precision: Precision = precision
        self.headers = [
            (b"x-model", self.name.encode()),
            (b"x-model-version", self.version.encode()),
            (b"x-model-precision", precision.encode()),
        ]

    @property
    def label(self) -> str:
        """Its name in metrics, logs and checks."""
        return self.name if self.precision == "exact" else f"{self.name}:{self.precision}"

    @property
    def ready(self) -> bool:
        """Whether it is loaded and computes its golden images right."""
        return self._batcher is not None and self.golden is not None and self.golden.ok

    @property
    def loaded(self) -> bool:
        """Whether it is loaded, right or wrong."""
        return self._batcher is not None

    @property
    def state(self) -> str:
        """One sentence for the readiness answer."""
        if self._batcher is None or self.golden is None:
            return "loading"
        if not self.golden.ok:
            return f"golden images differ by {self.golden.max_abs_error:g}"
        return "loaded, warm, golden images right"

    @property
    def bundle(self) -> Bundle:
        """The verified bundle.

        Raises:
            NotReady: It is not loaded.
        """
        if self._bundle is None:
            raise NotReady(f"The model {self.label} is still loading.")
        return self._bundle

    @property
    def session(self) -> Session:
        """The loaded session.

        Raises:
            NotReady: It is not loaded.
        """
        if self._session is None:
            raise NotReady(f"The model {self.label} is still loading.")
        return self._session

    @property
    def batcher(self) -> Batcher:
        """The batcher of a model that is ready.

        Raises:
            NotReady: It is not loaded, or computes wrong numbers.
        """
        if self._batcher is None or not self.ready:
            raise NotReady(f"The model {self.label} is not ready: {self.state}.")
        return self._batcher

    def load(self, settings: Settings, metrics: Metrics, beside: "Model | None" = None) -> None:
        """Verifies the bundle, loads and warms the session, checks the golden images, starts the batcher.

        Args:
            settings: What was configured.
            metrics: The instruments.
            beside: Another graph of the same bundle that is served already.

        Raises:
            BundleError: The bundle cannot be served, or is another one than `beside` was loaded from.
            DeviceError: The device is not there.
        """
        bundle = load_bundle(settings.models_dir / self.name / self.version)
        if beside is not None and bundle.document != beside.bundle.document:
            raise BundleError(f"{bundle.path}: has changed since it was loaded; start the service again")
        if self.precision == "fast" and bundle.manifest.fast is None:
            metrics.model_ready.remove(self.label, self.version)
            self._choose("exact")
        threads = settings.threads or usable_cpus()
        max_batch = settings.max_batch if "max_batch" in settings.model_fields_set else None
        session = Session(bundle, settings.device, threads, settings.concurrent_runs, self.precision, max_batch)
        session.warm_up()
        self._bundle, self._session = bundle, session
        self.check_golden(metrics)
        batcher = self._start_batcher(settings, metrics, session)
        metrics.queue_images.labels(self.label).set_function(lambda: batcher.waiting)
        metrics.queue_limit.labels(self.label).set(batcher.limit)
        metrics.model_info.labels(
            self.label,
            self.version,
            bundle.manifest.files[session.file].sha256,
            bundle.manifest.dataset,
            session.provider,
        ).set(1)
        self._batcher = batcher
        metrics.model_ready.labels(self.label, self.version).set(self.ready)

    def _start_batcher(self, settings: Settings, metrics: Metrics, session: Session) -> Batcher:
        queue_seconds = metrics.queue_seconds.labels(self.label)
        inference_seconds = metrics.inference_seconds.labels(self.label, session.provider)
        batch_images = metrics.batch_images.labels(self.label)

        def on_batch(images: int, waits_s: Sequence[float], run_s: float) -> None:
            metrics.note(batch_images.observe, images)
            metrics.note(inference_seconds.observe, run_s)
            self.statistics.run(images, run_s)
            if images == 1:
                self._single_s = run_s
            for wait_s in waits_s:
                metrics.note(queue_seconds.observe, wait_s)

        self._on_batch = on_batch
        return Batcher(
            session.run,
            self.bundle.shape,
            max_batch=session.max_batch,
            queue_images=settings.queue_images,
            max_wait_s=settings.max_wait_ms / 1000,
            runs=session.runs,
            on_batch=on_batch,
        )

    def compute_now(self, image: UInt8Array, wants: frozenset[str]) -> Rows | None:
        """Computes one image in the caller's thread, if this model has nothing else to do and is quick at it.

        Args:
            image: uint8 (H, W, C).
            wants: Names of outputs.

        Returns:
            What the batcher would give; None if it is to be asked: it also knows what to do when a run fails.
        """
        if self._single_s > _AT_ONCE_S or self.session.provider != CPU or not self.batcher.idle:
            return None
        started = time.monotonic()
        try:
            outputs = self.session.run(np.ascontiguousarray(image)[np.newaxis], wants)
        except InferenceFailed:
            logger.warning("a run at once failed; trying again", exc_info=True, extra={"model": self.label})
            return None
        seconds = time.monotonic() - started
        self._on_batch(1, (0.0,), seconds)
        return Rows({name: lasting(rows) for name, rows in outputs.items()}, 0.0, seconds)

    def check_golden(self, metrics: Metrics) -> None:
        """Computes the golden images again; the outcome decides whether the model is ready."""
        if self._session is None:
            return
        try:
            self.golden = self._session.check_golden()
        except InferenceFailed:
            logger.exception("golden images could not be computed", extra={"model": self.label})
            self.golden = Golden(float("nan"), float("nan"))
        self.checked_at = time.monotonic()
        metrics.golden_error.labels(self.label).set(self.golden.max_abs_error)
        metrics.golden_ratio.labels(self.label).set(self.golden.relative_error / self.golden.tolerance)
        metrics.model_ready.labels(self.label, self.version).set(self.ready)
        if not self.golden.ok:
            logger.error(
                "golden images differ", extra={"model": self.label, "max_abs_error": self.golden.max_abs_error}
            )

    def alive(self, longest_run_s: float) -> bool:
        """Whether its threads live and none is stuck; a model that still loads counts as alive."""
        return self._batcher is None or self._batcher.alive(longest_run_s)

    def close(self) -> None:
        """Stops its batcher."""
        if self._batcher is not None:
            self._batcher.close()
