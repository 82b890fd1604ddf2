"""Heads that came before: found by their bytes, only with their whole body, and only if they are plain."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.flow import Ask
from service.heads import Head, Heads
from service.lane_protocol import LaneProtocol
from service.questions import Known
from tests.pictures import png
from tests.service.serving import Serving, client, full, request, run, until

KNOWN = Known(Ask(None, None), None, "route")  # type: ignore[arg-type]  # nobody reads it here


def scope(**headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"http_version": "1.1", "headers": pairs, "client": ("a", 1), "route": 1, "sca.gone": 2, "path": "/x"}


def remembered(data: bytes, what: dict[str, Any]) -> Heads:
    heads = Heads()
    heads.remember(data, what, KNOWN)
    return heads


def test_a_head_is_found_by_its_bytes() -> None:
    data = b"POST /x HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
    heads = remembered(data, scope(content_length="3"))
    head = heads.find(data.replace(b"abc", b"xyz"))
    assert head is not None and (head.known, head.head_bytes, head.body_bytes) == (KNOWN, len(data) - 3, 3)
    assert [head.missing(data + more) for more in (b"", b"P")] == [0, -1] and head.missing(data[:-2]) == 2
    assert head.scope == {"http_version": "1.1", "headers": [(b"content-length", b"3")], "path": "/x"}
    for other in (data.replace(b"POST", b"post"), data[:20], b"", b"\r\n\r\n"):
        assert heads.find(other) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content_length": "3", "x_request_id": "me"},
        {"content_length": "3", "connection": "close"},
        {"content_length": "3", "connection": "keep-alive, upgrade"},
        {"content_length": "3", "transfer_encoding": "chunked"},
        {"content_length": "3", "expect": "100-continue"},
    ],
)
def test_what_is_not_plain_is_not_kept(headers: dict[str, str]) -> None:
    data = b"POST /x HTTP/1.1\r\n\r\nabc"
    assert remembered(data, scope(**headers)).find(data) is None
    assert remembered(data, scope(content_length="3")).find(data) is not None
    assert remembered(data, scope(content_length="3", connection="keep-alive", user_agent="x")).find(data) is not None
    assert remembered(data, scope(content_length="3") | {"http_version": "1.0"}).find(data) is None


def test_what_the_parser_skips_is_no_head() -> None:
    heads = remembered(b"\n\r\n\r\nPOST /x HTTP/1.1\r\n\r\nabc", scope(content_length="3"))
    assert heads.find(b"\n\r\n\r\nabc") is None


def test_memory_is_bounded() -> None:
    heads = Heads()
    for number in range(3000):
        heads.remember(b"POST /%d HTTP/1.1\r\n\r\n" % number, scope(content_length="0"), KNOWN)
    assert heads.find(b"POST /2999 HTTP/1.1\r\n\r\n") is not None
    assert heads.find(b"POST /0 HTTP/1.1\r\n\r\n") is None


def test_known_heads_go_past_the_parser_and_everything_else_does_not(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated: list[Head] = []
    repeat = LaneProtocol._repeat

    def spy(self: LaneProtocol, head: Head, data: bytes) -> None:
        repeated.append(head)
        repeat(self, head, data)

    monkeypatch.setattr(LaneProtocol, "_repeat", spy)

    async def scenario(running: Serving) -> None:
        async with client(running) as one, client(running) as other:
            first = await one.ask("/predict", png())  # the question is new
            assert (await one.ask("/predict", png())).body == first.body  # the head is
            assert not repeated
            for who in (one, other, one):  # on any connection
                answer = await who.ask("/predict", png())
                assert (answer.status, answer.body) == (200, first.body)
                assert set(answer.headers) == set(first.headers)
            assert len(repeated) == 3
            # In two pieces, with an id of its own, or behind another request it is parsed, and answered the same.
            whole = request("/predict", png())
            one.writer.write(whole[:30])
            await asyncio.sleep(0.05)
            one.writer.write(whole[30:])
            assert (await one.answer()).body == first.body
            assert (await one.ask("/predict", png(), X_Request_Id="me")).headers["x-request-id"] == "me"
            other.writer.write(whole + whole)
            assert [(await other.answer()).body for _ in range(2)] == [first.body] * 2
            assert len(repeated) == 3
            # Both ways may take turns on a connection, and what goes wrong is told on either.
            assert (await one.ask("/predict", png()[:-9])).status == 422
            assert (await one.ask("/predict", png())).body == first.body
            assert len(repeated) == 4
            running.service.drain()
            assert (await one.ask("/predict", png())).status == 503
            assert len(repeated) == 4

    run(models_dir, scenario)


def test_a_key_is_needed_with_and_without_empty_lines(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        empty = b"\n\r\n\r\n"
        async with client(running) as one, client(running) as other:
            for _ in range(2):
                one.writer.write(empty + request("/predict", png(), X_API_Key="secret"))
                assert (await one.answer()).status == 200
            other.writer.write(empty + png())
            assert (await other.answer()).status == 400

    run(models_dir, scenario, api_keys=["secret"])


def test_pipelined_requests_are_not_taken_for_one_another(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as busy, client(running) as waiting, client(running) as one:
            # Both questions are known, and with an id of their own no head is.
            await one.ask("/features?output=logits", png(), X_Request_Id="me")
            await one.ask("/predict", png(), X_Request_Id="me")
            held = await full(running, busy, waiting)
            logits, predict = (request(path, png()) for path in ("/features?output=logits", "/predict"))
            one.writer.write(logits + predict)
            assert [(await one.answer()).status for _ in range(2)] == [429, 429]
            held.open.set()
            assert [(await each.answer()).status for each in (busy, waiting)] == [200, 200]
            for _ in range(2):
                assert b'"output":"logits"' in (await one.ask("/features?output=logits", png())).body

    run(models_dir, scenario, queue_images=1)


def test_a_broken_image_behind_a_known_head_is_refused(models_dir: Path) -> None:
    broken = bytearray(png())
    broken[-20] ^= 1

    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            for _ in range(3):
                assert (await one.ask("/predict", png())).status == 200
            answer = await one.ask("/predict", bytes(broken))
            assert answer.status == 422 and b'"index":0' in answer.body
            assert (await one.ask("/predict", png())).status == 200
        assert running.taken[-2:] == [False, True]

    run(models_dir, scenario)


def test_a_body_that_comes_apart_from_its_head_is_waited_for(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            first = await one.ask("/predict", png())
            await one.ask("/predict", png())
            whole = request("/predict", png())
            head = len(whole) - len(png())
            for wait_s in (0.02, 0.02, 0.3):  # after the last the parser has taken over
                one.writer.write(whole[:head])
                await asyncio.sleep(wait_s)
                one.writer.write(whole[head:])
                assert (await one.answer()).body == first.body
            assert running.taken == [True] * 3
            for part in (whole[:head], whole[head:-5], whole[-5:]):  # byte by byte it could take for ever
                one.writer.write(part)
                await asyncio.sleep(0.02)
            assert (await one.answer()).body == first.body
            assert (await one.ask("/predict", png())).body == first.body
        assert running.taken == [True] * 4
        assert running.sample("sca_http_requests_total", route="/predict", method="POST", code="200") == 7

    run(models_dir, scenario)


def test_a_body_that_comes_after_the_end_began_is_answered(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            first = await one.ask("/predict", png())
            await one.ask("/predict", png())
            one.writer.write(request("/predict", png())[:-5])
            await asyncio.sleep(0.02)
            for connection in list(running.server.server_state.connections):
                connection.shutdown()  # as the web server does at its end
            one.writer.write(png()[-5:])
            answer = await one.answer()
            assert answer.body == first.body and answer.headers["connection"] == "close"

    run(models_dir, scenario)


def test_who_leaves_before_the_body_is_counted(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            for _ in range(3):
                await one.ask("/predict", png())
            one.writer.write(request("/predict", png())[:-5])
            await asyncio.sleep(0.02)
        await until(lambda: running.sample("sca_client_disconnects_total", stage="upload") == 1)

    run(models_dir, scenario)


def test_a_python_client_takes_the_lane(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as one:
            for _ in range(5):
                answer = await one.post("/predict", content=png(), headers={"Content-Type": "image/png"})
                assert answer.status_code == 200
        # The first one's question is new, the second one's head may be, whose body comes apart from it.
        assert running.taken[-3:] == [True] * 3

    run(models_dir, scenario)
