"""Which models are served: finds the bundles, loads the highest version of each in the background, watches them."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from service.batcher import Batcher
from service.bundle import Bundle, BundleError, find_versions, load_bundle
from service.cpus import usable_cpus
from service.devices import DeviceError
from service.errors import InferenceFailed, NotFound, NotReady
from service.golden import Golden
from service.metrics import Metrics
from service.session import Session
from service.settings import Settings
from service.statistics import Statistics

logger = logging.getLogger(__name__)


class Model:
    """One served model: a bundle, its session and its batcher, once they are loaded."""

    def __init__(self, name: str, versions: Sequence[str]) -> None:
        """Starts out not loaded; `versions` are those on disk, the served one first."""
        self.name = name
        self.versions = tuple(versions)
        self.version = versions[0]
        self.headers = [(b"x-model", self.name.encode()), (b"x-model-version", self.version.encode())]
        self.golden: Golden | None = None
        self.checked_at = time.monotonic()
        self.statistics = Statistics()
        self._bundle: Bundle | None = None
        self._session: Session | None = None
        self._batcher: Batcher | None = None

    @property
    def ready(self) -> bool:
        """Whether it is loaded and computes its golden images right."""
        return self._batcher is not None and self.golden is not None and self.golden.ok

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
            raise NotReady(f"The model {self.name} is still loading.", headers={"Retry-After": "1"})
        return self._bundle

    @property
    def session(self) -> Session:
        """The loaded session.

        Raises:
            NotReady: It is not loaded.
        """
        if self._session is None:
            raise NotReady(f"The model {self.name} is still loading.", headers={"Retry-After": "1"})
        return self._session

    @property
    def batcher(self) -> Batcher:
        """The batcher of a model that is ready.

        Raises:
            NotReady: It is not loaded, or computes wrong numbers.
        """
        if self._batcher is None or not self.ready:
            raise NotReady(f"The model {self.name} is not ready: {self.state}.", headers={"Retry-After": "1"})
        return self._batcher

    def load(self, settings: Settings, metrics: Metrics) -> None:
        """Verifies the bundle, loads and warms the session, checks the golden images, starts the batcher.

        Raises:
            BundleError: The bundle cannot be served.
            DeviceError: The device is not there.
        """
        bundle = load_bundle(settings.models_dir / self.name / self.version)
        threads = settings.threads or usable_cpus()
        session = Session(bundle, settings.device, threads, settings.concurrent_runs)
        session.warm_up(settings.max_batch)
        self._bundle, self._session = bundle, session
        queue_seconds = metrics.queue_seconds.labels(self.name)
        inference_seconds = metrics.inference_seconds.labels(self.name, session.provider)
        batch_images = metrics.batch_images.labels(self.name)

        def on_batch(images: int, waits_s: Sequence[float], run_s: float) -> None:
            batch_images.observe(images)
            inference_seconds.observe(run_s)
            self.statistics.run(images, run_s)
            for wait_s in waits_s:
                queue_seconds.observe(wait_s)

        self.check_golden(metrics)
        batcher = Batcher(
            session.run,
            bundle.shape,
            max_batch=session.best_batch,
            queue_images=settings.queue_images,
            max_wait_s=settings.max_wait_ms / 1000,
            runs=session.runs,
            on_batch=on_batch,
        )
        metrics.queue_images.labels(self.name).set_function(lambda: batcher.waiting)
        metrics.queue_limit.labels(self.name).set(batcher.limit)
        metrics.model_info.labels(
            self.name, self.version, bundle.sha256, bundle.manifest.dataset, session.provider
        ).set(1)
        self._batcher = batcher
        metrics.model_ready.labels(self.name, self.version).set(self.ready)

    def check_golden(self, metrics: Metrics) -> None:
        """Computes the golden images again; the outcome decides whether the model is ready."""
        if self._session is None:
            return
        try:
            self.golden = self._session.check_golden()
        except InferenceFailed:
            logger.exception("golden images could not be computed", extra={"model": self.name})
            self.golden = Golden(float("nan"), float("nan"))
        self.checked_at = time.monotonic()
        metrics.golden_error.labels(self.name).set(self.golden.max_abs_error)
        metrics.model_ready.labels(self.name, self.version).set(self.ready)
        if not self.golden.ok:
            logger.error("golden images differ", extra={"model": self.name, "max_abs_error": self.golden.max_abs_error})

    def alive(self, longest_run_s: float) -> bool:
        """Whether its threads live and none is stuck; a model that still loads counts as alive."""
        return self._batcher is None or self._batcher.alive(longest_run_s)

    def close(self) -> None:
        """Stops its batcher."""
        if self._batcher is not None:
            self._batcher.close()


class Registry:
    """All served models by name."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Looks which bundles there are; nothing is loaded yet.

        Raises:
            BundleError: There is none, or the default one is not among them.
        """
        self.settings = settings
        self.metrics = metrics
        self.models = {name: Model(name, versions) for name, versions in find_versions(settings.models_dir).items()}
        if settings.default_model not in self.models:
            have = ", ".join(self.models) or "none"
            raise BundleError(
                f"SCA_DEFAULT_MODEL={settings.default_model!r}: no such model in "
                f"SCA_MODELS_DIR={str(settings.models_dir)!r} (there: {have})"
            )
        for model in self.models.values():
            metrics.model_ready.labels(model.name, model.version).set(0)
        self._threads: list[threading.Thread] = []

    def start(self, on_failure: Callable[[Exception], None]) -> None:
        """Loads all models at a time, each in a thread of its own; does nothing the second time.

        Args:
            on_failure: Told, in that thread, what keeps a model from being served.
        """
        if self._threads:
            return

        def load(model: Model) -> None:
            started = time.monotonic()
            try:
                model.load(self.settings, self.metrics)
            # Anything that keeps a model from loading has to stop the start, and a thread cannot raise to anyone.
            except Exception as error:
                if not isinstance(error, BundleError | DeviceError):
                    logger.exception("model failed to load", extra={"model": model.name})
                on_failure(error)
                return
            seconds = round(time.monotonic() - started, 3)
            logger.info("model loaded", extra={"model": model.name, "version": model.version, "seconds": seconds})

        for model in self.models.values():
            self._threads.append(threading.Thread(target=load, args=(model,), name=f"load-{model.name}", daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether every model is ready."""
        return all(model.ready for model in self.models.values())

    def get(self, name: str | None, version: str | None = None) -> Model:
        """Finds a model, the default one if no name is given.

        Raises:
            NotFound: There is no such model, or it is served in another version.
        """
        model = self.models.get(name if name is not None else self.settings.default_model)
        if model is None:
            raise NotFound(f"There is no model {str(name)[:100]!r}; there are {', '.join(self.models)}.")
        if version is not None and version != model.version:
            raise NotFound(f"The model {model.name} is served in version {model.version}, not {version[:100]!r}.")
        return model

    def describe(self, model: Model) -> dict[str, Any]:
        """Returns what a client may know of a model: its manifest, versions, and whether it is the default."""
        return {
            "name": model.name,
            "version": model.version,
            "versions": list(model.versions),
            "default": model.name == self.settings.default_model,
            "ready": model.ready,
            "manifest": model.bundle.document,
        }

    def close(self) -> None:
        """Stops all batchers."""
        for model in self.models.values():
            model.close()
