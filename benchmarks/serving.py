"""Our server beside LitServe, BentoML, mosec and FastAPI by hand: same model, same images, same load, in turns.

    make peers          # once: the other servers, in an environment of their own
    python -m benchmarks.serving [--data-dir data] [--json FILE]

Each server gets a process (or as many as it starts), its first answer is compared with the plain export's, and it is
measured while the others are stopped by a signal, in alternation over several rounds, of which the median counts. Ours
comes twice, with the exact graph and with the fast one. The peers run the plain export of the model (same weights,
whitening by the full 3072 x 3072 matrix) with the settings that were best for them; benchmarks/peers/ says which. The
load generator is wrk. Last come our own bounds: the exact graph in a process without any server.
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from PIL import Image

from benchmarks.plain_export import plain_export
from benchmarks.servers import ROOT, Server
from benchmarks.timing import table, write_rows
from benchmarks.wrk import Load, run_wrk, write_script
from training.datasets import load

OURS = "sca-features"
FAST = "sca-features-fast"
PEERS = ("fastapi", "litserve", "bentoml", "mosec")
ACCEPT = {"features": "application/octet-stream", "predict": None}
BUNDLE = ROOT / "models" / "cifar10-shallow" / "1"
_IMAGES = 256
_ERROR, _FAST_ERROR = 1e-4, 0.1
"""Root mean square of an answer's difference from the plain export's, relative to that, at most."""


class InProcess:
    """The process of benchmarks.in_process, which takes turns with the servers."""

    def __init__(self, images: Path) -> None:
        """Starts it and lets it find its best setting."""
        command = [sys.executable, "-m", "benchmarks.in_process", "--images", str(images), "--bundle", str(BUNDLE)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.best = self.ask("calibrate")

    def ask(self, command: str) -> dict[str, float]:
        """Sends a command and waits for its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """Ends it."""
        self._process.communicate()


def write_images(data_dir: Path, folder: Path) -> bytes:
    """Writes the first test images as PNG files and returns the first one."""
    for index, pixels in enumerate(load("cifar10", data_dir, download=False).test.images[:_IMAGES]):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        (folder / f"{index}.png").write_bytes(stream.getvalue())
    return (folder / "0.png").read_bytes()


def check_answer(name: str, url: str, route: str, image: bytes, plain: Path) -> None:
    """Compares a server's answer with that of the plain export.

    Raises:
        RuntimeError: It answers something else.
    """
    headers = {"Content-Type": "image/png", "Accept": ACCEPT[route] or "*/*"}
    with urllib.request.urlopen(urllib.request.Request(url, image, headers), timeout=30) as answer:
        body = answer.read()
    session = onnxruntime.InferenceSession(plain, providers=["CPUExecutionProvider"])
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))[None]
    features, logits = session.run(["features", "logits"], {"images": pixels})
    if route == "features":
        actual = np.frombuffer(body, "<f4")
        error = np.sqrt(np.mean((actual - features[0]) ** 2) / np.mean(features[0] ** 2))
        right = error < (_FAST_ERROR if name == FAST else _ERROR)
    else:
        document = json.loads(body)
        prediction = document["predictions"][0] if "predictions" in document else document
        right = prediction["index"] == logits[0].argmax()
    if not right:
        raise RuntimeError(f"{name} answers {route} with other numbers than the plain export")


@contextlib.contextmanager
def started(names: list[str], route: str, folder: Path, peers_python: Path) -> Iterator[dict[str, Server]]:
    """Starts servers one after the other, each while the others sleep, and ends them after the block."""
    image = (folder / "0.png").read_bytes()
    servers: dict[str, Server] = {}
    try:
        for name in names:
            if name in (OURS, FAST):
                command = [sys.executable, "-m", "service"]
                environment = {"SCA_PORT": "{port}", "SCA_MODELS_DIR": str(ROOT / "models"), "SCA_LOG_LEVEL": "warning"}
                environment["SCA_PRECISION"] = "fast" if name == FAST else "exact"
            else:
                command = [str(peers_python), "-W", "ignore", "-m", f"benchmarks.peers.{name}_app"]
                environment = {"PEER_PORT": "{port}", "PEER_ROUTE": route, "PEER_MODEL": str(folder / "plain.onnx")}
            servers[name] = Server(name, command, environment, route, image)
            check_answer(name, servers[name].url, route, image, folder / "plain.onnx")
            servers[name].sleep()
        yield servers
    finally:
        for server in servers.values():
            server.close()


def measure(route: str, folder: Path, options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Measures one route; returns its rows, and our bounds."""
    script = folder / f"{route}.lua"
    write_script(script, folder, _IMAGES, ACCEPT[route])
    loads: dict[tuple[str, int], list[Load]] = {}
    bounds: dict[str, list[float]] = {"rps": [], "p50_ms": []}
    alone = InProcess(folder)
    print(f"{route}: in process, best of all: {alone.best}", file=sys.stderr)
    with started(options.server, route, folder, options.peers_python) as servers:
        for round_ in range(options.rounds):
            for clients in options.clients:
                for name, server in servers.items():
                    with server.awake():
                        run_wrk(server.url, script, clients, 1)  # what it did before it slept is not its own pace
                        loads.setdefault((name, clients), []).append(
                            run_wrk(server.url, script, clients, options.seconds)
                        )
                bounds["rps"].append(alone.ask(f"run {options.seconds}")["rps"])
                bounds["p50_ms"].append(alone.ask("alone 1")["p50_ms"])
            print(f"{route}: round {round_ + 1} of {options.rounds}", file=sys.stderr)
        rows = [
            {"server": name, "route": route, "clients": clients, **_median(found)}
            | {"memory_mb": round(servers[name].peak_mb), "start_s": round(servers[name].start_s, 2)}
            for (name, clients), found in sorted(loads.items(), key=lambda item: (item[0][1], item[0][0]))
        ]
    alone.close()
    return rows, {key: statistics.median(values) for key, values in bounds.items()}


def _median(loads: list[Load]) -> dict[str, float]:
    return {
        "rps": round(statistics.median(load.rps for load in loads), 1),
        "p50_ms": round(statistics.median(load.p50_ms for load in loads), 2),
        "p99_ms": round(statistics.median(load.p99_ms for load in loads), 2),
        "refused": sum(load.refused for load in loads),
    }


def ratios(rows: list[dict[str, Any]], bounds: dict[str, dict[str, float]]) -> list[str]:
    """Our throughput beside the best peer's at each load, and beside what the graph alone can do."""
    lines = []
    rps = {(row["route"], row["clients"], row["server"]): row["rps"] for row in rows}
    for route, clients in dict.fromkeys((row["route"], row["clients"]) for row in rows):
        ours = rps.get((route, clients, OURS))
        peers = {name: rps[route, clients, name] for name in PEERS if (route, clients, name) in rps}
        for name in (OURS, FAST):
            if peers and (route, clients, name) in rps:
                best = max(peers, key=lambda name: peers[name])
                ratio = rps[route, clients, name] / peers[best]
                lines.append(f"{route}, {clients} clients: {name} {ratio:.2f} x the best peer ({best})")
        if ours and clients == 32:
            lines.append(f"{route}, 32 clients: {ours / bounds[route]['rps']:.2f} x the graph alone with PNG decoding")
        if ours and clients == 1:
            p50 = next(r["p50_ms"] for r in rows if (r["server"], r["route"], r["clients"]) == (OURS, route, 1))
            alone = bounds[route]["p50_ms"]
            rest = f"the run of one image ({alone:.2f}) + {p50 - alone:.2f}"
            lines.append(f"{route}, 1 client: p50 {p50:.2f} ms = {rest}")
    return lines


def main() -> None:
    """Prints the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder with the official CIFAR-10 files")
    parser.add_argument("--peers-python", type=Path, default=ROOT / ".venv-peers" / "bin" / "python")
    parser.add_argument("--server", choices=(OURS, FAST, *PEERS), action="append", help="all by default")
    parser.add_argument("--route", choices=sorted(ACCEPT), action="append", help="both by default")
    parser.add_argument("--clients", type=int, action="append", help="1, 8, 32 and 64 by default")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.server = options.server or [OURS, FAST, *PEERS]
    options.clients = options.clients or [1, 8, 32, 64]
    rows: list[dict[str, Any]] = []
    bounds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(options.data_dir, folder)
        (folder / "plain.onnx").write_bytes(plain_export((BUNDLE / "model.onnx").read_bytes()))
        for route in options.route or sorted(ACCEPT):
            more, bounds[route] = measure(route, folder, options)
            rows += more
    print(table(rows))
    print("\n".join(ratios(rows, bounds)))
    write_rows(options.json, rows)


if __name__ == "__main__":
    main()
