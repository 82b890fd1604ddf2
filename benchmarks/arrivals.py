"""Requests that come whether or not the last ones are answered: 70 % of what we can do, and four times as much.

    python -m benchmarks.arrivals [--data-dir data] [--precision fast] [--json FILE]

Clients that ask again as soon as they are answered slow down with the server. Here wrk has 400 connections, and each
free one takes the next moment at which a request is due: evenly, or at random (Poisson).

The rows at 70 % are wrk's. It counts latency from when a request is sent, and does not tell answers from refusals: if
there were any (`refused`, a second), the status is `any` and the percentiles are of both, while `rps` is of answers.

The rows at 400 % are of a few requests of this process beside the flood of wrk's, a row for each status that came back,
0 being no free connection. Latency counts from the moment at which a request is due: a wait for this process, or for a
connection to open, is in it. `refused` is how many of these requests a second had a status from 400 on.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import output_file, positive_float, run
from benchmarks.contestants import ACCEPT, OURS, write_images
from benchmarks.servers import Server
from benchmarks.timing import table, write_rows
from benchmarks.wrk import Load, require_wrk, run_wrk, write_script

_QUEUE_IMAGES = 64
_MOST_CONNECTIONS = 2000
_CLIENTS = 400
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """Sends requests on as many connections as are needed, and notes status and seconds of each."""

    def __init__(self, host: str, port: int, head: str, images: list[bytes]) -> None:
        """Prepares the requests."""
        self._address = host, port
        self._requests = [f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image for image in images]
        self._idle: list[_Connection] = []
        self._open = 0
        self.seconds: dict[int, list[float]] = defaultdict(list)

    async def send(self, index: int, due: float) -> None:
        """Sends one request and waits for its answer."""
        connection = await self._connection()
        if connection is None:
            self.seconds[0].append(0.0)
            return
        reader, writer = connection
        writer.write(self._requests[index % len(self._requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        await reader.readexactly(int(fields[b"content-length"]))
        self.seconds[int(head[9:12])].append(time.perf_counter() - due)
        self._idle.append((reader, writer))

    async def _connection(self) -> _Connection | None:
        """Takes one that is free, or opens one; None if there are too many."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()  # the last that are needed may wait for seconds, and the server does not wait so long
            self._open -= 1
        if self._open == _MOST_CONNECTIONS:
            return None
        self._open += 1
        return await asyncio.open_connection(*self._address)

    async def run(self, rate: float, seconds: float) -> None:
        """Sends requests at random moments for some seconds, and waits for the last answers."""
        chance = random.Random(0)
        due = started = time.perf_counter()
        tasks: list[asyncio.Task[None]] = []
        while due < started + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self.send(len(tasks), due)))
            due += chance.expovariate(rate)
        await asyncio.gather(*tasks)
        for _, writer in self._idle:
            writer.close()


def watch(url: str, images: list[bytes], rate: float, seconds: float) -> list[dict[str, Any]]:
    """One row for each status that came back."""
    host, _, port = url.split("/")[2].partition(":")
    route = url.rsplit("/", 1)[1]
    head = f"POST /{route} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nAccept: {ACCEPT[route] or '*/*'}\r\n"
    client = Client(host, int(port), head, images)
    asyncio.run(client.run(rate, seconds))
    refused = sum(len(times) for status, times in client.seconds.items() if status >= 400) / seconds
    rows = []
    for status, times in sorted(client.seconds.items()):
        p50, p99 = (1e3 * float(value) for value in np.percentile(times, [50, 99]))
        row = {"server": OURS, "route": route, "load": "400 %, random", "status": status}
        rows.append(row | {"rps": len(times) / seconds, "p50_ms": p50, "p99_ms": p99, "refused": refused})
    return rows


def paced_row(route: str, even: bool, load: Load) -> dict[str, Any]:
    """The row of what wrk saw at 70 %."""
    return {
        "server": OURS,
        "route": route,
        "load": "70 %, " + ("even" if even else "random"),
        "status": "any" if load.refused else 200,
        "rps": load.rps,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "refused": load.refused_rps,
    }


def paced(server: Server, folder: Path, rate: float, seconds: float, even: bool = False) -> Load:
    """Sends so many requests a second, as far as connections are free."""
    script = folder / "paced.lua"
    route = server.url.rsplit("/", 1)[1]
    write_script(script, folder, len(list(folder.glob("*.png"))), ACCEPT[route], rate, even)
    return run_wrk(server.url, script, _CLIENTS, seconds)


def under_overload(
    server: Server, folder: Path, images: list[bytes], capacity: float, seconds: float
) -> list[dict[str, Any]]:
    """Watches a server that is asked for four times what it can do."""
    with ThreadPoolExecutor(1) as background:
        flood = background.submit(paced, server, folder, 4 * capacity, seconds + 2)
        time.sleep(1)
        rows = watch(server.url, images, capacity / 20, seconds)
        load = flood.result()
    print(f"overload: {load.rps + load.refused_rps:.0f} requests/s, of which {load.rps:.0f} answered", file=sys.stderr)
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder with the official CIFAR-10 files")
    parser.add_argument("--route", choices=sorted(ACCEPT), default="predict")
    parser.add_argument("--precision", choices=("exact", "fast"), default="exact")
    parser.add_argument("--seconds", type=positive_float, default=5, help="of each measurement")
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    require_wrk()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = write_images(options.data_dir, folder)
        images = [file.read_bytes() for file in sorted(folder.glob("*.png"))]
        script = folder / "wrk.lua"
        write_script(script, folder, len(images), ACCEPT[options.route])
        environment = {"SCA_PORT": "{port}", "SCA_QUEUE_IMAGES": str(_QUEUE_IMAGES), "SCA_LOG_LEVEL": "warning"}
        environment["SCA_PRECISION"] = options.precision
        server = Server(OURS, [sys.executable, "-m", "service"], environment, options.route, first)
        try:
            capacity = run_wrk(server.url, script, 32, options.seconds).rps
            print(f"capacity at 32 clients: {capacity:.0f}/s; queue of {_QUEUE_IMAGES} images", file=sys.stderr)
            for even in (True, False):
                load = paced(server, folder, 0.7 * capacity, options.seconds, even)
                rows.append(paced_row(options.route, even, load))
            rows += under_overload(server, folder, images, capacity, options.seconds)
        finally:
            server.close()
    print(table(rows))
    write_rows(options.json, rows)


if __name__ == "__main__":
    sys.exit(run(main, EOFError))  # a connection that the server closed
