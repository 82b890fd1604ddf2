"""Which models are served: finds the bundles, loads the highest version of each in the background, watches them."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from service.bundle import BundleError, Precision, find_misplaced, find_versions
from service.devices import DeviceError
from service.errors import Malformed, NotFound, NotReady
from service.metrics import Metrics
from service.model import Model
from service.settings import Settings
from service.statistics import Statistics

logger = logging.getLogger(__name__)


def no_such_default(settings: Settings, there: Sequence[str]) -> BundleError:
    """Makes the error of a start without its default model: what there is instead, and what to set."""
    folder = f"SCA_MODELS_DIR={str(settings.models_dir)!r}"
    if not settings.models_dir.is_dir():
        return BundleError(f"{folder}: there is no folder {settings.models_dir.resolve()}")
    hint = f"set SCA_DEFAULT_MODEL={there[0]}" if len(there) == 1 else f"there: {', '.join(there) or 'none'}"
    return BundleError(f"SCA_DEFAULT_MODEL={settings.default_model!r}: no such model in {folder} ({hint})")


class Registry:
    """All served models by name.

    Attributes:
        models: By name, in the precision of requests that ask for none.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Looks which bundles there are; nothing is loaded yet.

        Raises:
            BundleError: There is none, or the default one is not among them.
        """
        self.settings = settings
        self.metrics = metrics
        self.models: dict[str, Model] = {}
        self._others: dict[str, Model] = {}
        self._threads: list[threading.Thread] = []
        self._late: dict[str, asyncio.Task[None]] = {}
        self._closed = False
        other: Precision = "exact" if settings.precision == "fast" else "fast"
        for sentence in find_misplaced(settings.models_dir):
            logger.warning(sentence)
        for name, versions in find_versions(settings.models_dir).items():
            statistics = Statistics()
            self.models[name] = Model(name, versions, settings.precision, statistics)
            self._others[name] = Model(name, versions, other, statistics)
            self.models[name].expected = True
            self._others[name].expected = settings.preload == "all"
        if settings.default_model not in self.models:
            raise no_such_default(settings, list(self.models))
        for model in self.models.values():
            metrics.model_ready.labels(model.label, model.version).set(0)

    def start(self, on_failure: Callable[[Exception], None]) -> None:
        """Loads all models at a time, each in a thread of its own; does nothing the second time.

        Args:
            on_failure: Told, in that thread, what keeps a model from being served.
        """
        if self._threads:
            return

        def load(model: Model) -> None:
            try:
                self._load(model)
                other = self._others[model.name]
                other.expected = other.expected and model.bundle.manifest.fast is not None
                if other.expected:
                    self._load(other, beside=model)
            # Anything that keeps a model from loading has to stop the start, and a thread cannot raise to anyone.
            except Exception as error:
                if not isinstance(error, BundleError | DeviceError):
                    logger.exception("model failed to load", extra={"model": model.name})
                on_failure(error)

        for model in self.models.values():
            self._threads.append(threading.Thread(target=load, args=(model,), name=f"load-{model.name}", daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def served(self) -> list[Model]:
        """Every graph that is loaded, or has to be before the service is ready."""
        graphs = [graph for name in self.models for graph in (self.models[name], self._others[name])]
        return [graph for graph in graphs if graph.expected]

    @property
    def ready(self) -> bool:
        """Whether every model is ready."""
        return all(model.ready for model in self.served)

    def get(self, name: str | None, version: str | None = None, precision: Precision | None = None) -> Model:
        """Finds a model, the default one if no name is given.

        Raises:
            NotFound: There is no such model, or it is served in another version.
            Malformed: It has no graph in this precision.
            NotReady: That is not known yet.
        """
        model = self.models.get(name if name is not None else self.settings.default_model)
        if model is None:
            raise NotFound(f"There is no model {str(name)[:100]!r}; there are {', '.join(self.models)}.")
        if version is not None and version != model.version:
            raise NotFound(f"The model {model.name} is served in version {model.version}, not {version[:100]!r}.")
        if precision is None or precision == model.precision:
            return model
        if model.bundle.manifest.fast is None:
            raise Malformed(f"The model {model.name} has no {precision} graph; it answers with precision=exact.")
        return self._others[model.name]

    async def loaded(self, model: Model) -> None:
        """Waits for a graph that is loaded when it is first asked for; all that ask meanwhile wait for one loading.

        Raises:
            NotReady: It cannot be loaded.
        """
        if model.expected or model.loaded:
            return
        if model.label not in self._late:
            self._late[model.label] = asyncio.create_task(asyncio.to_thread(self._load_late, model))
        try:
            # The first client may leave; the others still wait.
            await asyncio.shield(self._late[model.label])
        except (BundleError, DeviceError) as error:
            logger.error("model failed to load", exc_info=error, extra={"model": model.label})
            raise NotReady(f"The model {model.label} cannot be loaded.") from error
        finally:
            if model.label in self._late and self._late[model.label].done():
                del self._late[model.label]

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
        self._closed = True
        for model in (*self.models.values(), *self._others.values()):
            model.close()

    def _load(self, model: Model, beside: Model | None = None) -> None:
        started = time.monotonic()
        model.load(self.settings, self.metrics, beside)
        seconds = round(time.monotonic() - started, 3)
        logger.info("model loaded", extra={"model": model.label, "version": model.version, "seconds": seconds})

    def _load_late(self, model: Model) -> None:
        self._load(model, beside=self.models[model.name])
        # If it computes wrong numbers, only those who ask for it are refused: it is not what the operator asked for.
        model.expected = model.ready
        if self._closed:
            model.close()
