"""The rows about requests that come on their own: what they say of refused ones."""

import asyncio
import time

import pytest

from benchmarks import arrivals
from benchmarks.arrivals import paced_row, watch
from benchmarks.wrk import Load


def test_what_was_refused_is_told() -> None:
    load = Load(rps=90.0, p50_ms=1.0, p99_ms=2.0, refused=20, refused_rps=10.0)
    refused = paced_row("predict", True, load)
    assert (refused["status"], refused["rps"], refused["refused"]) == ("any", 90.0, 10.0)
    none = paced_row("predict", False, Load(90.0, 1.0, 2.0, 0, 0.0))
    assert (none["status"], none["refused"], none["load"]) == (200, 0.0, "70 %, random")


def test_rows_under_overload_tell_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers(self: arrivals.Client, rate: float, seconds: float) -> None:
        self.seconds |= {200: [0.1, 0.1], 429: [0.001] * 6, 0: [0.0]}

    monkeypatch.setattr(arrivals.Client, "run", answers)
    found = watch("http://127.0.0.1:1/predict", [b""], 9.0, 2.0)
    assert [(row["status"], row["rps"], row["refused"]) for row in found] == [
        (0, 0.5, 3.0),
        (200, 1.0, 3.0),
        (429, 3.0, 3.0),
    ]
    assert found[0].keys() == paced_row("predict", True, Load(1.0, 1.0, 1.0, 0, 0.0)).keys(), "one table holds both"


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    opened = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(3)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    async def scenario() -> dict[int, list[float]]:
        async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            client = arrivals.Client(host, port, "POST / HTTP/1.1\r\nHost: x\r\n", [b"abc"])
            for index in range(3):
                await client.send(index, time.perf_counter())
                await asyncio.sleep(0.05)
            for _, writer in client._idle:
                writer.close()
                await writer.wait_closed()
            return client.seconds

    seconds = asyncio.run(scenario())
    assert len(seconds[200]) == len(opened) == 3
