"""LitServe. Best settings here: two worker processes with one thread each, its ZeroMQ queue, batches of up to 16.

`bytes` as the request's type hands the body over as it is.
"""

from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body, Response
from numpy.typing import NDArray

from benchmarks.peers.plain import CPUS, PORT, ROUTE, Plain, decode, prediction


class Api(litserve.LitAPI):
    """The hooks that LitServe asks for."""

    def setup(self, device: str) -> None:
        """Loads the model in a worker."""
        self.plain = Plain(1)

    def decode_request(self, request: Annotated[bytes, Body()]) -> NDArray[np.uint8]:
        """One PNG."""
        return decode(request)

    def batch(self, inputs: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Brings the images of a batch together."""
        return np.stack(inputs)

    def predict(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs a batch."""
        return self.plain.run(x)

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Takes a batch apart."""
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> Any:
        """Writes one answer."""
        if ROUTE == "features":
            return Response(output.tobytes(), media_type="application/octet-stream")
        return prediction(output)


if __name__ == "__main__":
    api = Api(api_path=f"/{ROUTE}", max_batch_size=16, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=CPUS, fast_queue=True)
    server.run(host="127.0.0.1", port=PORT, log_level="warning", generate_client_file=False, num_api_servers=1)
