"""BentoML. Best settings here: two workers with one-thread sessions; its adaptive batching was slower with this model.

The image is the whole body ("root input"), which spares both sides a multipart form.
"""

import os
import sys
from typing import Annotated

import bentoml
import numpy as np
import orjson
from PIL.Image import Image

from benchmarks.peers.plain import CPUS, PORT, ROUTE, Plain, prediction

_TYPE = "application/octet-stream" if ROUTE == "features" else "application/json"


@bentoml.service(workers=CPUS, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Service:
    """One route."""

    def __init__(self) -> None:
        """Loads the model in a worker."""
        self.plain = Plain(1)

    @bentoml.api(route=f"/{ROUTE}")
    def answer(self, image: Image, /) -> Annotated[bytes, bentoml.validators.ContentType(_TYPE)]:
        """Features or prediction of one image."""
        row = self.plain.run(np.asarray(image.convert("RGB"))[None])[0]
        return row.tobytes() if ROUTE == "features" else orjson.dumps(prediction(row))


if __name__ == "__main__":
    program = os.path.join(os.path.dirname(sys.executable), "bentoml")
    address = ["--host", "127.0.0.1", "--port", str(PORT)]
    os.execv(program, [program, "serve", "benchmarks.peers.bentoml_app:Service", *address])
