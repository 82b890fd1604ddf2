"""mosec. Best settings here: two worker processes with one thread each, batches of up to 16 gathered for 5 ms.

That is for many clients: with one, each request waits the 5 ms for company. PEER_WAIT_MS=0 runs images one at a time,
which spares it that. A second stage for decoding costs more in moving images between processes than it takes off the
first.
"""

import os
import sys
from typing import Any

import numpy as np
import orjson
from mosec import Runtime, Server, Worker

from benchmarks.peers.plain import CPUS, PORT, ROUTE, Plain, decode, prediction

WAIT_MS = int(os.environ.get("PEER_WAIT_MS", "5"))
# a wait of 0 would be mosec's own, 10 ms
BATCHES = {"max_batch_size": 16, "max_wait_time": WAIT_MS} if WAIT_MS else {}


class Model(Worker):
    """Decodes, runs and writes."""

    resp_mime_type = "application/octet-stream" if ROUTE == "features" else "application/json"

    def __init__(self) -> None:
        """Loads the model in a worker."""
        super().__init__()
        self.plain = Plain(1)

    def deserialize(self, data: bytes) -> bytes:
        """Leaves the body as it is."""
        return data

    def forward(self, data: Any) -> Any:
        """Answers a batch, a list of bodies; without batches one body."""
        return self._answers(data) if BATCHES else self._answers([data])[0]

    def serialize(self, data: bytes) -> bytes:
        """The answer is written already."""
        return data

    def _answers(self, bodies: list[bytes]) -> list[bytes]:
        rows = self.plain.run(np.stack([decode(one) for one in bodies]))
        if ROUTE == "features":
            return [row.tobytes() for row in rows]
        return [orjson.dumps(prediction(row)) for row in rows]


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", str(PORT), "--log-level", "warning"]
    server = Server()
    server.register_runtime({f"/{ROUTE}": [Runtime(Model, num=CPUS, **BATCHES)]})
    server.run()
