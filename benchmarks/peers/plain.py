"""What every peer does with an image: a graph of the model, decoding by Pillow, and the two answers."""

import io
import os
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray
from PIL import Image

MODEL = os.environ.get("PEER_MODEL", "")
"""Path of a graph: the plain export, or one of ours."""
ROUTE = os.environ.get("PEER_ROUTE", "predict")
"""`features` or `predict`: a peer serves one of them, which spares it the workers of the other."""
PORT = int(os.environ.get("PEER_PORT", "8000"))
CPUS = len(os.sched_getaffinity(0))


def decode(data: bytes) -> NDArray[np.uint8]:
    """One PNG as uint8 (H, W, C)."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


class Plain:
    """A graph in plain onnxruntime, on one route."""

    def __init__(self, threads: int) -> None:
        """Loads it; threads wait without spinning, which is better for every peer here."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        self._output = "features" if ROUTE == "features" else "logits"
        self._session.run([self._output], {"images": np.zeros((1, 32, 32, 3), np.uint8)})

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features or logits of uint8 (N, H, W, C)."""
        rows: NDArray[np.float32] = self._session.run([self._output], {"images": images})[0]
        return rows


def prediction(logits: NDArray[np.float32]) -> dict[str, Any]:
    """The answer to one image's logits (K,), for JSON."""
    raised = np.exp(logits - logits.max())
    best = int(raised.argmax())
    return {"index": best, "probability": float(raised[best] / raised.sum())}
