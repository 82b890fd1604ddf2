"""What is odd about a request's head, its trailers or what is between its chunks; and too many connections."""

import asyncio
import resource
from pathlib import Path

import pytest

from service import files, server
from tests.pictures import png
from tests.service.serving import Client, Serving, client, request, run, until

LIMIT = 4096


def chunked(body: bytes, *fields: str) -> bytes:
    """A request with an image in one chunk, up to the last chunk's size."""
    lines = ["POST /predict HTTP/1.1", "Host: x", "Content-Type: image/png", "Transfer-Encoding: chunked", *fields]
    return "\r\n".join([*lines, "", f"{len(body):x}", ""]).encode() + body + b"\r\n0\r\n"


async def closed(one: Client) -> None:
    async with asyncio.timeout(5):
        assert await one.reader.read() == b""


def test_a_trailer_is_no_header(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            one.writer.write(chunked(png()) + b"X-API-Key: key\r\n\r\n")
            assert (await one.answer()).status == 401
            one.writer.write(chunked(png(), "X-API-Key: key") + b"X-Request-Id: mine\r\n\r\n")
            answer = await one.answer()
            assert (answer.status, answer.headers["x-request-id"] == "mine") == (200, False)

    run(models_dir, scenario, api_keys=("key",))


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"0\r\n", b"a:\r\n"), (b"0\r\na: ", b"x"), (b"1;", b"x")],
    ids=["many trailers", "an endless trailer", "an endless extension of a chunk"],
)
def test_what_is_between_chunks_has_the_limit_of_headers(models_dir: Path, begin: bytes, more: bytes) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            one.writer.write(chunked(png())[:-3] + begin)
            assert await flooded(one, more) < 10 * LIMIT
        assert running.sample("sca_http_requests_total", route="_other", method="_other", code="431") == 1
        await until(lambda: running.sample("sca_client_disconnects_total", stage="upload") == 1)

    run(models_dir, scenario, max_header_bytes=LIMIT)


async def flooded(one: Client, more: bytes) -> int:
    """Sends on and on until the server closes the connection; returns how many bytes that took."""
    sent = 0
    try:
        while sent < 100 * LIMIT:
            one.writer.write(more * 100)
            await one.writer.drain()
            sent += 100 * len(more)
            await asyncio.sleep(0.005)
    except ConnectionError:
        pass
    return sent


def test_a_body_in_many_small_chunks_is_no_flood(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        body = png()
        pieces = b"".join(b"1;extension=of-a-chunk\r\n%c\r\n" % byte for byte in body)
        assert len(pieces) > 2 * LIMIT
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with client(running) as one:
            one.writer.write(head)
            for start in range(0, len(pieces), 500):
                one.writer.write(pieces[start : start + 500])
                await asyncio.sleep(0)
            one.writer.write(b"0\r\n\r\n")
            assert (await one.answer()).status == 200

    run(models_dir, scenario, max_header_bytes=LIMIT)


def test_after_an_early_answer_a_flood_of_trailers_closes_the_connection(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            one.writer.write(chunked(png()).replace(b"/predict", b"/nope"))
            assert (await one.answer()).status == 404
            assert await flooded(one, b"a:\r\n") < 10 * LIMIT
        assert running.sample("sca_http_requests_total", route="_other", method="_other", code="431") == 0

    run(models_dir, scenario, max_header_bytes=LIMIT)


def test_other_transfer_codings_than_chunked_are_refused(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            one.writer.write(chunked(png()).replace(b": chunked", b": gzip, chunked") + b"\r\n")
            answer = await one.answer()
            assert (answer.status, b"only chunked" in answer.body) == (400, True)
            await closed(one)

    run(models_dir, scenario)


def test_a_client_of_http_1_0_gets_no_interim_answer(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            one.writer.write(request("/predict", png(), Expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert (await one.answer()).status == 200

    run(models_dir, scenario)


def test_a_refusal_outside_of_requests_has_the_headers_of_all_answers(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        await running.server.on_tick(0)  # sets the date
        async with client(running) as one:
            one.writer.write(b"GARBAGE\r\n\r\n")
            answer = await one.answer()
            assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
            assert {"date", "x-request-id", "server-timing", "x-content-type-options"} <= set(answer.headers)
            await closed(one)

    run(models_dir, scenario)


def test_too_many_connections_are_told_so(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 2)

    async def scenario(running: Serving) -> None:
        async with client(running) as one, client(running) as two:
            assert (await one.ask("/predict", png())).status == 200
            assert (await two.ask("/predict", png())).status == 200
            async with client(running) as three:
                answer = await three.ask("/predict", png())
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert answer.headers["connection"] == "close"
                await closed(three)
            assert running.sample("sca_rejected_total", reason="connections") == 1
            # Those that say nothing are told at once when they are many more.
            async with asyncio.TaskGroup() as group:
                silent = [group.create_task(opened(running)) for _ in range(files.WAITING + 1)]
            assert (await silent[-1].result().answer()).status == 503
            assert (await one.ask("/predict", png())).status == 200
            for each in silent:
                each.result().writer.close()

    run(models_dir, scenario)


async def opened(running: Serving) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", running.port))


def test_connections_leave_some_files_to_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, most in ((1024, 1024 - files.RESERVED), (100, 50)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, 4096))
        assert files.most_connections() == most
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert files.most_connections() > 10**9
