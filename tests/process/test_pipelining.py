"""Many requests on one connection, sent without waiting: answered in order, whoever breaks off, and where."""

import contextlib
import json
import socket
import time
from pathlib import Path

import pytest

from tests.bundles import smooth_images, write_bundle
from tests.pictures import encode, png
from tests.process.conftest import Running, running
from tests.process.test_server import HEAD, answer


def test_pipelined_requests_are_answered_in_order(shared: Running) -> None:
    body = png()
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    last = b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with shared.connect() as connection:
        connection.sendall(one + one + last)
        _, data = answer(connection)
    assert [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]] == [200, 200, 404]


@pytest.mark.parametrize(
    "broken",
    [
        b"POST /features HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["no host", "no HTTP", "long headers", "broken body"],
)
def test_what_is_broken_takes_no_answer_from_the_requests_before_it(shared: Running, broken: bytes) -> None:
    left = shared.metric('sca_images_total{model="cifar10-shallow",outcome="cancelled"}')
    body = png()
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for count in (1, 2):
        with shared.connect() as connection:
            connection.sendall(count * one + broken + one)
            _, data = answer(connection)
        assert [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]] == [200] * count
    assert shared.metric('sca_images_total{model="cifar10-shallow",outcome="cancelled"}') == left
    assert shared.get("/health/live").status_code == 200


def test_who_leaves_with_answers_unread_and_more_to_come_is_no_error(tmp_path: Path) -> None:
    write_bundle(tmp_path, size=48, maps=32)
    body = encode(smooth_images(1, 48, 48, 3)[0], "PNG")
    one = b"POST /features?format=npy HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    with running(tmp_path) as server:
        for _ in range(3):
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", server.port))
                connection.settimeout(1)
                with contextlib.suppress(TimeoutError):  # the server stops reading
                    connection.sendall(150 * (one % len(body) + body))
                time.sleep(0.5)
        limit = time.monotonic() + 20
        while server.metric("sca_inflight_images"):
            assert time.monotonic() < limit
            time.sleep(0.05)
        answered = server.metric('sca_images_total{model="cifar10-shallow",outcome="ok"}')
    assert 0 < answered < 450
    assert [line for line in server.lines if json.loads(line)["level"] in ("error", "critical")] == []
