"""mosec. Best settings here: two worker processes with one thread each, batches of up to 16 gathered for 5 ms.

A second stage for decoding costs more in moving images between processes than it takes off the first.
"""

import sys

import numpy as np
import orjson
from mosec import Runtime, Server, Worker

from benchmarks.peers.plain import CPUS, PORT, ROUTE, Plain, decode, prediction


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

    def forward(self, data: list[bytes]) -> list[bytes]:
        """Answers a batch."""
        rows = self.plain.run(np.stack([decode(one) for one in data]))
        if ROUTE == "features":
            return [row.tobytes() for row in rows]
        return [orjson.dumps(prediction(row)) for row in rows]

    def serialize(self, data: bytes) -> bytes:
        """The answer is written already."""
        return data


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", str(PORT), "--log-level", "warning"]
    server = Server()
    server.register_runtime({f"/{ROUTE}": [Runtime(Model, num=CPUS, max_batch_size=16, max_wait_time=5)]})
    server.run()
