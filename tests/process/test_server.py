"""The real server against real sockets: slow, cut, greedy and vanishing clients leave it unharmed."""

import json
import socket
import threading
import time

import httpx
import pytest

from tests.pictures import png
from tests.process.conftest import Running

HEAD = b"POST /features HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Reads until the server closes, and returns the status and all bytes; 0 if it said nothing."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return (int(data.split(b" ", 2)[1]) if data else 0), data


def one_answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Reads one answer with a length, and leaves the connection open."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split(b" ", 2)[1]), json.loads(body)


def test_it_serves(shared: Running) -> None:
    assert shared.post("/features", png()).json()["shape"] == [1, 288]
    assert shared.get("/health/live").status_code == 200
    assert httpx.head(f"http://127.0.0.1:{shared.port}/health/ready").content == b""


def test_a_slow_upload_gets_408_and_loses_its_connection(shared: Running) -> None:
    body = png()
    with shared.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
        status, data = answer(connection)
    assert status == 408 and b"application/problem+json" in data and b"connection: close" in data


def test_headers_that_never_end_lose_their_connection(shared: Running) -> None:
    with shared.connect() as silent, shared.connect() as trickling:
        trickling.sendall(b"GET /health/live HTT")
        assert answer(silent) == (0, b"")
        assert answer(trickling) == (0, b"")


def test_many_slow_uploads_do_not_slow_others(shared: Running) -> None:
    slow = [shared.connect() for _ in range(100)]
    for connection in slow:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    for number in range(10):
        assert shared.post("/features", png(number)).status_code == 200
    assert [answer(connection)[0] for connection in slow] == [408] * 100
    for connection in slow:
        connection.close()


def test_an_announced_body_over_the_limit_is_refused_before_it_is_read(shared: Running) -> None:
    with shared.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 200001\r\n\r\n")
        status, body = one_answer(connection)
    assert status == 413 and (body["limit"], body["actual"]) == (200_000, 200_001)


def test_a_client_that_sends_it_anyway_still_reads_the_answer(shared: Running) -> None:
    with httpx.Client() as client:
        for _ in range(2):
            reply = client.post(
                f"http://127.0.0.1:{shared.port}/features",
                content=bytes(5_000_000),
                headers={"Content-Type": "image/png"},
            )
            assert reply.status_code == 413


def test_what_is_sent_after_a_refusal_are_no_headers(shared: Running) -> None:
    with shared.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 250000\r\n\r\n")
        assert one_answer(connection)[0] == 413
        for _ in range(10):
            connection.sendall(bytes(25_000))
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one_answer(connection)[0] == 200


def test_a_client_that_waits_for_a_go_ahead_is_refused_without_one(shared: Running) -> None:
    with shared.connect() as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 200001\r\n\r\n")
        status, data = answer(connection)
    assert status == 413 and b"100 Continue" not in data


def test_chunks_are_refused_when_they_cross_the_limit(shared: Running) -> None:
    chunk = b"c350\r\n" + bytes(50_000) + b"\r\n"
    with shared.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 4)
        connection.sendall(b"1\r\nx\r\n")
        status, body = one_answer(connection)
        assert status == 413 and body["limit"] == 200_000
        # The connection stays in step for a client that finishes properly.
        connection.sendall(b"0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one_answer(connection)[0] == 200


def test_a_body_that_never_ends_after_its_refusal_loses_its_connection(shared: Running) -> None:
    with shared.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 300000\r\n\r\n")
        assert one_answer(connection)[0] == 413
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 9000, 431),
        (HEAD + b"Content-Length: 12x\r\n\r\n", 400),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
        (b"GET /health/live HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n", 400),
        (b"GET /health/live HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (HEAD.replace(b"Host: x\r\n", b"") + b"Content-Length: 1\r\n\r\n1", 400),
    ],
)
def test_what_is_no_http_gets_a_problem(shared: Running, request_bytes: bytes, expected: int) -> None:
    with shared.connect() as connection:
        connection.sendall(request_bytes)
        status, data = answer(connection)
    assert status == expected, data
    assert b"application/problem+json" in data and b"x-request-id: " in data and b"server-timing: decode" in data
    assert shared.get("/health/live").status_code == 200


def test_clients_of_http_1_0_need_not_name_a_host(shared: Running) -> None:
    with shared.connect() as connection:
        connection.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        status, _ = answer(connection)
    assert status == 200


def test_vanishing_clients_leave_nothing_behind(shared: Running) -> None:
    body = png()
    for number in range(60):
        with shared.connect() as connection:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[: len(body) - number % 2])
    limit = time.monotonic() + 20
    while True:
        left = [shared.metric("sca_inflight_images"), shared.metric('sca_queue_images{model="cifar10-shallow"}')]
        gone = sum(
            shared.metric(f'sca_client_disconnects_total{{stage="{stage}"}}')
            for stage in ("upload", "decode", "queue", "encode")
        )
        # Half of them cut their upload, so at least those must have been noticed.
        if left == [0, 0] and gone >= 30:
            break
        assert time.monotonic() < limit, (left, gone)
        time.sleep(0.05)
    assert shared.post("/features", body).status_code == 200


def test_concurrent_requests_share_batches(shared: Running) -> None:
    before = [shared.metric(f'sca_batch_images_{kind}{{model="mnist-shallow"}}') for kind in ("sum", "count")]
    expected = shared.post("/features?model=mnist-shallow&format=octet-stream", png(1)).content
    wrong: list[int] = []

    def work() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{shared.port}", headers={"Content-Type": "image/png"}) as client:
            for _ in range(20):
                reply = client.post("/features?model=mnist-shallow&format=octet-stream", content=png(1))
                if reply.status_code != 200 or len(reply.content) != len(expected):
                    wrong.append(reply.status_code)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    images, batches = (
        shared.metric(f'sca_batch_images_{kind}{{model="mnist-shallow"}}') - old
        for kind, old in zip(("sum", "count"), before, strict=True)
    )
    assert not wrong
    assert images == 321
    assert batches < images
    assert shared.metric('sca_queue_images{model="mnist-shallow"}') == 0
