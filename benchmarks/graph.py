"""How fast are a bundle's graphs? Exact, direct and fast beside the plain export of the same model, in one run.

    python -m benchmarks.graph [--bundle models/cifar10-shallow/1] [--batch 1 8 …] [--threads 1 2x1 …] [--json FILE]

`threads` 2 is one call at a time on two threads; 2x1 is two calls at a time on one thread each. Times are per image;
speed-ups are medians of rounds, in each of which every graph has its turn. `direct` is the exact graph in its other
form, where the bundle has one: with plain convolutions; which of the two the service takes on this machine is said. The
outputs of both are compared with the plain export's before anything is timed, and have to agree to 1e-4 of the largest
value.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types

from benchmarks.command import output_file, positive_float, positive_int, run
from benchmarks.plain_export import plain_export
from benchmarks.timing import machine, table, write_rows
from service.bundle import Bundle, load_bundle
from service.devices import multiplies_fast, session_options

BATCHES = (1, 2, 4, 8, 16, 32, 64)
PARITY = 1e-4
OUTPUTS = ["features", "logits"]


def thread_mode(text: str) -> str:
    """`2` or `2x1`, for argparse."""
    if not re.fullmatch("[1-9][0-9]*(x[1-9][0-9]*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither threads, as 2, nor calls x threads, as 2x1")
    return text


def session(data: bytes, threads: int) -> Any:
    """An onnxruntime session as the service makes them."""
    options = session_options(threads, alone=threads > 1)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def pictures(bundle: Path, count: int) -> np.ndarray:
    """The bundle's golden images uint8 (N, H, W, C), again and again, and mirrored."""
    with np.load(bundle / "golden.npz", allow_pickle=False) as archive:
        images = archive["images"]
    images = np.concatenate([images, images[:, :, ::-1]])
    return np.ascontiguousarray(np.concatenate([images] * -(-count // len(images)))[:count])


def graphs_of(bundle: Bundle) -> dict[str, bytes]:
    """The plain export, which comes first, and the graphs that the bundle has."""
    exact = (bundle.path / "model.onnx").read_bytes()
    graphs = {"plain": plain_export(exact), "exact": exact}
    for name, graph in (("direct", bundle.manifest.direct), ("fast", bundle.manifest.fast)):
        if graph is not None:
            graphs[name] = (bundle.path / graph.file).read_bytes()
    return graphs


def largest_difference(graphs: dict[str, bytes], images: np.ndarray) -> float:
    """Between the first graph's outputs and the others', as a share of the largest value."""
    plain, *others = (session(graph, 1).run(OUTPUTS, {"images": images}) for graph in graphs.values())
    pairs = [(a, b) for ours in others for a, b in zip(plain, ours, strict=True)]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def calls(graphs: dict[str, bytes], images: np.ndarray, mode: str, pool: ThreadPoolExecutor) -> dict[str, Any]:
    """For each graph a function that computes all its features and logits, and how many images that are."""
    side, _, threads = mode.rpartition("x")
    at_a_time = int(side or 1)

    def one(made: Any) -> Callable[[], object]:
        def run(_: int = 0) -> object:
            return made.run(OUTPUTS, {"images": images})

        return run if at_a_time == 1 else lambda: list(pool.map(run, range(at_a_time)))

    return {name: (one(session(data, int(threads))), at_a_time * len(images)) for name, data in graphs.items()}


def measure(graphs: dict[str, bytes], images: np.ndarray, mode: str, rounds: int, round_s: float) -> dict[str, Any]:
    """One row of the table."""
    times: dict[str, list[float]] = {name: [] for name in graphs}
    with ThreadPoolExecutor(16) as pool:
        functions = calls(graphs, images, mode, pool)
        for round_ in range(rounds + 1):
            for name, (function, count) in functions.items():
                started, done = time.perf_counter(), 0
                while done == 0 or time.perf_counter() - started < round_s:
                    function()
                    done += count
                if round_:
                    times[name].append(1e3 * (time.perf_counter() - started) / done)
    row: dict[str, Any] = {"batch": len(images), "threads": mode}
    row |= {f"{name}_ms": statistics.median(values) for name, values in times.items()}
    for name in list(graphs)[1:]:
        ratios = [plain / ours for plain, ours in zip(times["plain"], times[name], strict=True)]
        row[f"{name}_speedup"] = statistics.median(ratios)
    return row


def best(rows: list[dict[str, Any]], name: str) -> tuple[float, str]:
    """Most images a second of a graph, and where."""
    row = min(rows, key=lambda row: float(row[f"{name}_ms"]))
    return 1e3 / row[f"{name}_ms"], f"batch {row['batch']}, threads {row['threads']}"


def main() -> int:
    """Print the table; returns 1 if the exact graph computes something else than the plain one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("models/cifar10-shallow/1"))
    parser.add_argument("--batch", type=positive_int, nargs="+", action="extend", help=f"{BATCHES} by default")
    parser.add_argument("--threads", type=thread_mode, nargs="+", action="extend", help="1, 2, 2x1 by default")
    parser.add_argument("--rounds", type=positive_int, default=9)
    parser.add_argument("--round-ms", type=positive_float, default=100, help="time of one graph in one round")
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    graphs = graphs_of(bundle)
    images = pictures(options.bundle, max(options.batch or BATCHES))
    error = largest_difference({name: graph for name, graph in graphs.items() if name != "fast"}, images)
    rows = [
        {"model": options.bundle.parent.name}
        | measure(graphs, images[:batch], mode, options.rounds, options.round_ms / 1e3)
        for mode in options.threads or ("1", "2", "2x1")
        for batch in options.batch or BATCHES
    ]
    print(f"{machine()}, onnxruntime {onnxruntime.__version__}, ms an image, median of {options.rounds} rounds")
    print(table(rows))
    tops = {name: best(rows, name) for name in graphs}
    for name, (rate, where) in tops.items():
        print(f"best of {name}: {rate:.0f} images/s ({where}), {rate / tops['plain'][0]:.2f} x plain")
    print(f"the service takes {bundle.graph_file('exact', multiplies_fast('cpu'))} here")
    print(f"exact and plain differ by {error:.1e} of the largest value")
    write_rows(options.json, rows)
    return int(not error <= PARITY)


if __name__ == "__main__":
    sys.exit(run(main))
