"""`python -m service.bench`: this machine and one model → a table of settings, and those to use.

Every number of runs at a time, with the threads that it leaves to each run, computes batches of each size for a moment,
in turns over several rounds, so that a busy machine is busy for all of them. Decoding and HTTP are not in it.
"""

import argparse
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from service.bundle import Bundle, BundleError, find_versions, load_bundle
from service.cpus import usable_cpus
from service.devices import DeviceError
from service.registry import no_such_default
from service.session import Session
from service.settings import Settings, SettingsError, read_settings

_ROUNDS = 2
_SECONDS, _QUICK_SECONDS = 30.0, 5.0
_WANTS = frozenset(("features", "logits"))
_GOOD = 0.97
"""Share of the best throughput that is as good: what is less than this apart, noise moves."""
_HEADER = f"{'threads':>8}{'runs':>6}{'batch':>7}{'images/s':>10}{'p50 ms':>9}{'p99 ms':>9}"


@dataclass(frozen=True)
class Measured:
    """One setting and what it gave.

    Attributes:
        threads: CPU threads of all runs together.
        runs: Runs at a time.
        batch: Images in each.
        images_s: Images a second, all runs together.
        p50_ms: Median time of a run, in ms.
        p99_ms: 99th percentile.
    """

    threads: int
    runs: int
    batch: int
    images_s: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        """Returns a line of the table."""
        setting = f"{self.threads:8d}{self.runs:6d}{self.batch:7d}"
        return f"{setting}{self.images_s:10.1f}{self.p50_ms:9.2f}{self.p99_ms:9.2f}"


def measure(bundle: Bundle, settings: Settings, seconds: float, cpus: int) -> list[Measured]:
    """Measures one graph of a model with every setting.

    Args:
        bundle: The model.
        settings: Its device, precision and largest batch.
        seconds: Time for all of it, roughly.
        cpus: CPUs to use, at most.

    Returns:
        The better of the rounds for each setting.

    Raises:
        BundleError: The graph does not load, or there is none in this precision.
        DeviceError: The device is not there.
    """
    shapes = list(dict.fromkeys([(1, 1), *((cpus, runs) for runs in _powers(cpus))]))
    sessions = {shape: Session(bundle, settings.device, *shape, settings.precision) for shape in shapes}
    plan = [(shape, batch) for shape in sessions for batch in _powers(settings.max_batch)]
    golden = bundle.arrays("golden.npz")["images"]
    each_s = seconds / (len(plan) * _ROUNDS)
    best: dict[tuple[tuple[int, int], int], Measured] = {}
    for _ in range(_ROUNDS):
        for shape, batch in plan:
            images = np.resize(golden, (batch, *bundle.shape))
            found = _timed(sessions[shape], shape, images, each_s)
            if (shape, batch) not in best or found.images_s > best[shape, batch].images_s:
                best[shape, batch] = found
    return [best[key] for key in plan]


def recommend(table: Sequence[Measured]) -> Measured:
    """Picks, of the settings with nearly the best throughput, the one whose runs are shortest."""
    limit = _GOOD * max(row.images_s for row in table)
    return min((row for row in table if row.images_s >= limit), key=lambda row: row.p50_ms)


def main(arguments: Sequence[str]) -> int:
    """Prints the table and the settings.

    Returns:
        0, or 1 if a setting is bad, the model, its graph or the device is not there, or the file cannot be written; 130
        after Ctrl-C.
    """
    options, flags = _parse(arguments)
    try:
        if options.json:
            _check_writable(options.json)
        settings = read_settings(flags)
        bundle = _default_bundle(settings)
        table = measure(bundle, settings, options.seconds, settings.threads or usable_cpus())
        use = _to_use(settings, recommend(table))
        print(f"{bundle.name} {bundle.version}, {settings.precision}", _HEADER, *table, "", sep="\n")
        print(*(f"{name}={value}" for name, value in use.items()))
        if options.json:
            model = {"model": bundle.name, "version": bundle.version, "precision": settings.precision}
            document = model | {"rows": [asdict(row) for row in table], "settings": use}
            options.json.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    except (SettingsError, BundleError, DeviceError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m service.bench",
        description="Measures settings for the default model; takes the service's flags, as in --default-model NAME, "
        "--precision fast or --threads 4.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--seconds", type=positive_float, default=_SECONDS, help="time for all of it, roughly; 30 by default"
    )
    parser.add_argument("--quick", dest="seconds", action="store_const", const=_QUICK_SECONDS, help="5 seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the table and the settings, too")
    return parser.parse_known_args(arguments)


def positive_float(text: str) -> float:
    """Reads a finite number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _check_writable(file: Path) -> None:
    """Finds out before the measurements whether their file can be written.

    Raises:
        OSError: It cannot.
    """
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise OSError(f"--json={str(file)!r} cannot be written")


def _to_use(settings: Settings, chosen: Measured) -> dict[str, str | int]:
    """Names the environment variables that make the service run as it was measured."""
    return {
        "SCA_PRECISION": settings.precision,
        "SCA_THREADS": chosen.threads,
        "SCA_CONCURRENT_RUNS": chosen.runs,
        "SCA_MAX_BATCH": chosen.batch,
    }


def _default_bundle(settings: Settings) -> Bundle:
    """Reads the bundle of the default model, as the service would serve it."""
    name = settings.default_model
    found = find_versions(settings.models_dir)
    if name not in found:
        raise no_such_default(settings, list(found))
    return load_bundle(settings.models_dir / name / found[name][0])


def _powers(limit: int) -> list[int]:
    """Lists the powers of two up to a limit, and the limit."""
    return sorted({1 << power for power in range(limit.bit_length())} | {limit})


def _timed(session: Session, shape: tuple[int, int], images: NDArray[np.uint8], seconds: float) -> Measured:
    """Keeps all runs of a session busy for some seconds, and for one run each at least."""
    threads, runs = shape
    times: list[float] = []
    stop = threading.Event()
    session.run(images, _WANTS)
    until = time.perf_counter() + seconds

    def work() -> None:
        while True:
            started = time.perf_counter()
            session.run(images, _WANTS)
            ended = time.perf_counter()
            times.append(ended - started)
            if ended >= until or stop.is_set():
                return

    started = time.perf_counter()
    with ThreadPoolExecutor(runs) as pool:
        try:
            for worker in [pool.submit(work) for _ in range(runs)]:
                worker.result()
        finally:
            stop.set()  # Ctrl-C is not to wait for the time to pass
    rate = len(times) * len(images) / (time.perf_counter() - started)
    p50_s, p99_s = np.percentile(times, [50, 99])
    return Measured(threads, runs, len(images), rate, 1e3 * float(p50_s), 1e3 * float(p99_s))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
