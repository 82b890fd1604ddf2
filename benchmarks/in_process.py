"""What the bundle's graph gives without any server: threads that decode PNGs and run it, nothing else.

    python -m benchmarks.in_process --images FOLDER

Reads commands from standard input, so that it can take turns with servers: `calibrate` finds the best of several
numbers of threads and batch sizes, `run SECONDS` measures with it, `alone SECONDS` measures single images one after
the other. Each is answered with one line of JSON.
"""

import argparse
import itertools
import json
import statistics
import sys
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.command import run
from service.bundle import load_bundle
from service.cpus import usable_cpus
from service.devices import DeviceError
from service.images import decode
from service.session import Session

_BATCHES = (1, 4, 8, 16, 32)
_FEATURES = frozenset(("features",))


class InProcess:
    """The bundle's graph and some image files."""

    def __init__(self, bundle: Path, images: Path) -> None:
        """Loads both.

        Raises:
            RuntimeError: There are no images.
        """
        self._bundle = load_bundle(bundle)
        self._files = [file.read_bytes() for file in sorted(images.glob("*.png"))]
        if not self._files:
            raise RuntimeError(f"there is no PNG file in {images}")
        cpus = usable_cpus()
        # Several runs of one thread, or one run of several: whichever is better.
        self._sessions = {runs: Session(self._bundle, "cpu", cpus, runs) for runs in {1, cpus}}
        self._best = (1, 1, 1)

    def calibrate(self) -> dict[str, float]:
        """Finds the best setting."""
        rates = {
            (runs, threads, batch): self._rate(runs, threads, batch, 0.3)
            for runs, batch in itertools.product(self._sessions, _BATCHES)
            for threads in (runs, runs + 1)  # one more decodes while the others run
        }
        self._best = max(rates, key=lambda setting: rates[setting])
        runs, threads, batch = self._best
        return {"runs": runs, "threads": threads, "batch": batch, "rps": rates[self._best]}

    def run(self, seconds: float) -> dict[str, float]:
        """Images a second with the best setting."""
        return {"rps": self._rate(*self._best, seconds)}

    def alone(self, seconds: float) -> dict[str, float]:
        """Milliseconds of the run of one image, without decoding: median."""
        session = self._sessions[max(self._sessions)]
        image = self._pixels(0, 1)
        times = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            started = time.perf_counter()
            session.run(image, _FEATURES)
            times.append(1e3 * (time.perf_counter() - started))
        return {"p50_ms": statistics.median(times)}

    def _rate(self, runs: int, threads: int, batch: int, seconds: float) -> float:
        session = self._sessions[runs]
        counts = [0] * threads
        until = time.perf_counter() + seconds

        def work(worker: int) -> None:
            while time.perf_counter() < until:
                session.run(self._pixels(counts[worker], batch), _FEATURES)
                counts[worker] += batch

        workers = [threading.Thread(target=work, args=(worker,)) for worker in range(threads)]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts) / (time.perf_counter() - started)

    def _pixels(self, start: int, count: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
        files = [self._files[(start + index) % len(self._files)] for index in range(count)]
        return np.stack([decode(file, self._bundle.rule, 1 << 20) for file in files])


def main() -> None:
    """Answers commands until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("models/cifar10-shallow/1"))
    parser.add_argument("--images", type=Path, required=True, help="folder of PNG files of the model's size")
    options = parser.parse_args()
    subject = InProcess(options.bundle, options.images)
    commands = {"calibrate": subject.calibrate, "run": subject.run, "alone": subject.alone}
    for line in sys.stdin:
        name, *arguments = line.split()
        answer = commands[name](*(float(argument) for argument in arguments))  # type: ignore[operator]  # as documented
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(run(main, DeviceError))
