"""The app factory: settings → the ASGI app; a list to be read from top to bottom."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from service import __version__, openapi
from service.cors import Cors
from service.errors import ServiceError
from service.express import Express
from service.middleware import Edge, Gate
from service.problems import on_bug, on_http_exception, on_service_error, on_validation_error
from service.questions import Questions
from service.routes import docs, errors, features, filters, health, models, predict, v2
from service.settings import Settings
from service.state import Service, create_service

_FAMILIES = (features, predict, filters, models, v2, health, docs, errors)
ROUTES = [route for family in _FAMILIES for route in family.router.routes]


class App(FastAPI):
    """The framework's app behind layers of our own, so that what they answer never enters the framework."""

    def __init__(self, service: Service, **described: Any) -> None:
        """Keeps the service in `state`, where the routes find it."""
        super().__init__(**described)
        self.state.service = service
        self.questions = Questions()

    def build_middleware_stack(self) -> ASGIApp:
        """Puts the layers around the framework's stack; the last one is the outermost."""
        service: Service = self.state.service
        layers: ASGIApp = Gate(Express(super().build_middleware_stack(), self.questions), service, ROUTES)
        if origins := service.settings.cors_origins:
            layers = Cors(layers, origins)
        return Edge(layers, service)


def create_app(settings: Settings, service: Service | None = None) -> App:
    """Builds the app; its lifespan loads the models in the background.

    Args:
        settings: What was configured.
        service: Made by `create_service`, if it is needed before the app is.
    """
    service = service or create_service(settings)
    app = App(
        service,
        title="Sparse convolutional autoencoder features",
        description="Images in; feature vectors, classes and filters out.",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,  # its page loads scripts from another host; ours is routes/docs.py
        redoc_url=None,
        redirect_slashes=False,
    )
    for family in _FAMILIES:
        app.include_router(family.router)
    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(Exception, on_bug)
    openapi.install(app)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.registry.start(_remember(service))
    watch = asyncio.create_task(_check_golden_forever(service))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.to_thread(service.registry.close)
        service.pool.shutdown(wait=False, cancel_futures=True)
        service.pictures.close()


def _remember(service: Service) -> Callable[[Exception], None]:
    return service.startup_errors.append


async def _check_golden_forever(service: Service) -> None:
    """Computes every model's golden images again, now and then."""
    interval_s = service.settings.golden_interval_s
    while interval_s:
        await asyncio.sleep(interval_s)
        for model in service.registry.served:
            await asyncio.to_thread(model.check_golden, service.metrics)
