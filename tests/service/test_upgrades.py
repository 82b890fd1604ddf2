"""Offers of another protocol are passed over: the request is answered in HTTP/1.1, with its body and its successors."""

import asyncio
from pathlib import Path

import pytest

from tests.pictures import png
from tests.service.serving import Serving, client, request, run

H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAEAAEAAAAIAAAAA"}
WEBSOCKET = {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": "x"}


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET])
@pytest.mark.parametrize("apart", [False, True])
def test_the_body_behind_an_offer_is_read(models_dir: Path, offer: dict[str, str], apart: bool) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            plain = await one.ask("/predict", png())
            for path in ("/predict", "/features?output=logits", "/predict"):
                whole = request(path, png(), **offer)
                cut = len(whole) - len(png()) if apart else len(whole)
                one.writer.write(whole[:cut])
                await asyncio.sleep(0.05 if apart else 0)
                one.writer.write(whole[cut:])
                answer = await one.answer()
                assert answer.status == 200 and "upgrade" not in answer.headers
            assert answer.body == plain.body
            # Behind one another, and behind a head in two pieces.
            whole = request("/predict", png(), **offer)
            one.writer.write(whole[:40])
            await asyncio.sleep(0.05)
            one.writer.write(whole[40:] + whole + request("/predict", png()))
            assert [(await one.answer()).body for _ in range(3)] == [plain.body] * 3

    run(models_dir, scenario)


def test_a_body_is_not_taken_for_the_next_request(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        hidden = b"GET /health/live HTTP/1.1\r\n\r\n"
        async with client(running) as one:
            whole = request("/predict", hidden, **H2C)
            one.writer.write(whole[: -len(hidden)])
            await asyncio.sleep(0.05)
            one.writer.write(hidden)
            assert (await one.answer()).status == 415
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(one.reader.readexactly(1), 0.3)

    run(models_dir, scenario)


def test_any_number_of_offers_may_come_at_once(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        offers = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" * 1500
        async with client(running) as one:
            one.writer.write(offers)
            assert {(await one.answer()).status for _ in range(1500)} == {200}

    run(models_dir, scenario)


def test_an_offer_may_close_the_connection(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            answer = await one.ask("/predict", png(), Connection="close, Upgrade", Upgrade="h2c")
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await asyncio.wait_for(one.reader.read(), 5) == b""

    run(models_dir, scenario)


def test_a_tunnel_is_refused(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            one.writer.write(b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n")
            answer = await one.answer()
            assert answer.status == 400 and answer.headers["connection"] == "close"

    run(models_dir, scenario)
