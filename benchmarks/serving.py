"""Our server beside LitServe, BentoML, mosec and FastAPI by hand: same model, same images, same load, in turns.

    make peers          # once: the other servers, in an environment of their own
    python -m benchmarks.serving [--data-dir data] [--peer-graph exact] [--json FILE]

Each server gets a process (or as many as it starts), its first answer is compared with the plain export's, and it is
measured while the others are stopped by a signal, in alternation over several rounds, of which the median counts. Ours
comes twice, with the exact graph and with the fast one. The peers run the plain export of the model (same weights,
whitening by the full 3072 x 3072 matrix), which is what one gets without knowing the model; --peer-graph gives them one
of ours, and what is left is the servers' difference. They have the settings that were best for them, which are told in
benchmarks/peers/; mosec has one for many clients and one for few, and at each number of clients the better one counts.
The load generator is wrk. Last come our own bounds: the exact graph in a process without any server.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.command import output_file, positive_float, positive_int, run
from benchmarks.contestants import (
    ACCEPT,
    BUNDLE,
    FAST,
    GRAPHS,
    IMAGES,
    OURS,
    PEERS,
    Contestant,
    contestants,
    require_peers,
    started,
    write_graphs,
    write_images,
)
from benchmarks.servers import ROOT, Server
from benchmarks.timing import table, write_rows
from benchmarks.wrk import Load, require_wrk, run_wrk, write_script


class InProcess:
    """The process of benchmarks.in_process, which takes turns with the servers."""

    def __init__(self, images: Path) -> None:
        """Starts it and lets it find its best setting."""
        command = [sys.executable, "-m", "benchmarks.in_process", "--images", str(images), "--bundle", str(BUNDLE)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is answered by who started it
        )
        try:
            self.best = self.ask("calibrate")
        except BaseException:
            self.close()
            raise

    def ask(self, command: str) -> dict[str, float]:
        """Sends a command and waits for its answer.

        Raises:
            RuntimeError: It has ended, and said why on standard error.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("benchmarks.in_process has ended")
        answer: dict[str, float] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends it; nothing that it may be measuring counts any more."""
        self._process.kill()
        self._process.communicate()


def measure(route: str, folder: Path, options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Measures one route; returns its rows, and our bounds."""
    script = folder / f"{route}.lua"
    write_script(script, folder, IMAGES, ACCEPT[route])
    loads: dict[tuple[int, Contestant], list[Load]] = {}
    bounds: dict[str, list[float]] = {"rps": [], "p50_ms": []}
    with contextlib.closing(InProcess(folder)) as alone:
        print(f"{route}: in process, best of all: {alone.best}", file=sys.stderr)
        wanted = contestants(options.server, options.peer_graph)
        with started(wanted, route, folder, options.peers_python) as servers:
            for round_ in range(options.rounds):
                for clients in options.clients:
                    for one, server in servers.items():
                        with server.awake():
                            run_wrk(server.url, script, clients, 1)  # what it did before it slept is not its own pace
                            load = run_wrk(server.url, script, clients, options.seconds)
                        loads.setdefault((clients, one), []).append(load)
                    bounds["rps"].append(alone.ask(f"run {options.seconds}")["rps"])
                    bounds["p50_ms"].append(alone.ask("alone 1")["p50_ms"])
                print(f"{route}: round {round_ + 1} of {options.rounds}", file=sys.stderr)
            rows = [row(one, route, clients, found, servers[one]) for (clients, one), found in loads.items()]
    return best_settings(rows), {key: statistics.median(values) for key, values in bounds.items()}


def row(one: Contestant, route: str, clients: int, loads: list[Load], server: Server) -> dict[str, Any]:
    """A server's row at one number of clients, in one setting."""
    return {
        "server": one.name,
        "graph": one.graph,
        "route": route,
        "clients": clients,
        **_median(loads),
        "memory_mb": round(server.peak_mb),
        "start_s": round(server.start_s, 2),
        "setting": one.setting,
    }


def best_settings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each server the row with the most requests a second at each number of clients, in the order of both."""
    best: dict[tuple[int, str], dict[str, Any]] = {}
    for each in rows:
        place = each["clients"], each["server"]
        if place not in best or each["rps"] > best[place]["rps"]:
            best[place] = each
    return [best[place] for place in sorted(best)]


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
    graphs = {row["server"]: row["graph"] for row in rows}
    rps = {(row["route"], row["clients"], row["server"]): row["rps"] for row in rows}
    for route, clients in dict.fromkeys((row["route"], row["clients"]) for row in rows):
        ours = rps.get((route, clients, OURS))
        peers = {name: rps[route, clients, name] for name in PEERS if (route, clients, name) in rps}
        for name in (OURS, FAST):
            if peers and (route, clients, name) in rps:
                best = max(peers, key=lambda name: peers[name])
                ratio = rps[route, clients, name] / peers[best]
                peer = f"{best}, {graphs[best]} graph"
                lines.append(f"{route}, {clients} clients: {name} {ratio:.2f} x the best peer ({peer})")
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
    parser.add_argument("--server", choices=(OURS, FAST, *PEERS), nargs="+", action="extend", help="all by default")
    parser.add_argument("--route", choices=sorted(ACCEPT), nargs="+", action="extend", help="both by default")
    parser.add_argument("--clients", type=positive_int, nargs="+", action="extend", help="1, 8, 32 and 64 by default")
    parser.add_argument("--seconds", type=positive_float, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument("--peer-graph", choices=GRAPHS, default="plain", help="what the peers run (%(default)s)")
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    options.server = options.server or [OURS, FAST, *PEERS]
    options.clients = options.clients or [1, 8, 32, 64]
    options.peers_python = options.peers_python.absolute()  # not resolved: it is a link, whose place is its environment
    require_wrk()
    require_peers(options.server, options.peers_python)
    rows: list[dict[str, Any]] = []
    bounds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(options.data_dir, folder)
        write_graphs(folder)
        for route in options.route or sorted(ACCEPT):
            more, bounds[route] = measure(route, folder, options)
            rows += more
    print(table(rows))
    print("\n".join(ratios(rows, bounds)))
    write_rows(options.json, rows)


if __name__ == "__main__":
    sys.exit(run(main))
