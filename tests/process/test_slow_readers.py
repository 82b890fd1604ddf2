"""Clients that read their answers slowly, or never, take nothing from others and get what is theirs."""

import contextlib
import io
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from tests.bundles import smooth_images, write_bundle
from tests.pictures import encode, png
from tests.process.conftest import Start
from tests.process.test_server import answer


def test_a_client_that_never_reads_is_cut_off(start: Start, tmp_path: Path) -> None:
    # Long vectors for little work: the answer is far larger than what the kernel buffers.
    write_bundle(tmp_path, size=96, maps=16, kernel=1)
    server = start(tmp_path, request_timeout_s=3)
    stream = io.BytesIO()
    np.save(stream, smooth_images(2, 96, 96, 3).repeat(80, axis=0))
    body = stream.getvalue()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(
            b"POST /features?format=octet-stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        time.sleep(8)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 20):
                received += len(chunk)
    assert 0 < received < 160 * 36864 * 4
    assert server.post("/predict", png()).status_code == 200


# The smaller ones take the fast lane. Both are more than what the kernel buffers for a client that does not read.
@pytest.mark.parametrize("maps", [48, 256])
def test_answers_that_nobody_reads_yet_stay_what_they_are(start: Start, tmp_path: Path, maps: int) -> None:
    # More slow readers than there are arrays to lend.
    write_bundle(tmp_path, size=96, maps=maps, kernel=1)
    server = start(tmp_path)
    bodies = [encode(image, "PNG") for image in smooth_images(9, 96, 96, 3)]
    wanted = [server.post("/features?format=octet-stream", body).content for body in bodies]
    assert len(set(wanted)) == 9 and len(wanted[0]) == maps * 48 * 48 * 4
    head = (
        b"POST /features?format=octet-stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    )
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.socket()) for _ in range(6)]
        for connection, body in zip(slow, bodies, strict=False):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(20)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(head % len(body) + body)
        for body, rows in zip(bodies, wanted, strict=True):
            assert server.post("/features?format=octet-stream", body).content == rows
        for connection, rows in zip(slow, wanted, strict=False):
            status, data = answer(connection)
            assert status == 200 and data.partition(b"\r\n\r\n")[2] == rows
