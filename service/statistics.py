"""Requests and runs of one model → their numbers and cumulative seconds since the start, as Triton reports them."""

import threading
import time
from typing import Any

from service.ledger import Ledger
from service.trace import Trace

# Triton's name of each stage of a request.
_STAGES = {"decode": "compute_input", "queue": "queue", "infer": "compute_infer", "encode": "compute_output"}


class Statistics:
    """Counts for one model; any thread may add."""

    def __init__(self) -> None:
        """Starts at zero."""
        self._ledger = Ledger()
        self._lock = threading.Lock()
        self._last_ms = 0
        self._images = 0
        self._stages = {name: _Total() for name in ("success", "fail", *_STAGES.values())}
        self._runs: dict[int, _Total] = {}

    def succeed(self, trace: Trace, images: int) -> None:
        """Counts a request that was answered with rows for this many images."""
        self._ledger.note(self._succeed, (trace, images, time.time(), time.monotonic()))

    def _succeed(self, answered: tuple[Trace, int, float, float]) -> None:
        trace, images, now, monotonic = answered
        with self._lock:
            self._last_ms = int(now * 1000)
            self._images += images
            self._stages["success"].add(monotonic - trace.started)
            for stage, name in _STAGES.items():
                self._stages[name].add(trace.seconds.get(stage, 0.0))

    def fail(self, trace: Trace) -> None:
        """Counts a request that was answered with an error."""
        with self._lock:
            self._stages["fail"].add(time.monotonic() - trace.started)

    def run(self, images: int, seconds: float) -> None:
        """Counts a run of the model."""
        with self._lock:
            self._runs.setdefault(images, _Total()).add(seconds)

    def document(self) -> dict[str, Any]:
        """Writes Triton's statistics; of a batch size only what is measured: the runs themselves."""
        self._ledger.settle()
        with self._lock:
            return {
                "last_inference": self._last_ms,
                "inference_count": self._images,
                "execution_count": sum(total.count for total in self._runs.values()),
                "inference_stats": {name: total.document() for name, total in self._stages.items()},
                "batch_stats": [
                    {"batch_size": images, "compute_infer": total.document()}
                    for images, total in sorted(self._runs.items())
                ],
            }


class _Total:
    """A number of events and their seconds."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count, self.seconds = 0, 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def document(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.seconds * 1e9)}
