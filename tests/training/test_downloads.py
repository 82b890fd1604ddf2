"""Downloads from a server on this machine that behaves, cuts, forgets ranges and lies."""

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from training.downloads import CHUNK_BYTES, DownloadError, ResumingDownloader, fetch

DATA = np.random.default_rng(0).integers(0, 256, 300_000).astype(np.uint8).tobytes()
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `DATA` under any name.

    Attributes:
        asked: the Range header of each request, or an empty text.
        ranges: whether it knows them.
        cut_after: bytes of the body after which the connection is closed, one number an answer; then whole answers.
        chunked: whether the length stays unsaid.
        failures: so many first answers are `status`.
        status: of these.
        body: what is served.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.ranges = True
        self.cut_after: list[int] = []
        self.chunked = False
        self.failures = 0
        self.status = 503
        self.body = DATA

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/files/data.bin"


class Handler(BaseHTTPRequestHandler):
    """One answer, as its server says."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:  # noqa: N802  # the base class's name
        server = self.server
        wanted = self.headers.get("Range", "")
        server.asked.append(wanted)
        self.close_connection = True
        if server.failures:
            server.failures -= 1
            self.send_error(server.status)
            return
        match = re.fullmatch(r"bytes=(\d+)-", wanted) if server.ranges else None
        start = int(match[1]) if match else 0
        if match and start >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        body = server.body[start:]
        sent = body[: server.cut_after.pop(0)] if server.cut_after else body
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) + (b"0\r\n\r\n" if sent is body else b""))
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Server()) as running:
        yield running


def get(server: Server, folder: Path) -> Path:
    return fetch(server.url, SHA256, folder, pause_s=0)


def test_a_file_is_fetched_into_a_new_folder(server: Server, tmp_path: Path) -> None:
    path = get(server, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "data.bin" and path.read_bytes() == DATA
    assert server.asked == [""]
    assert [entry.name for entry in path.parent.iterdir()] == ["data.bin"], "something was left behind"


def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_file_of_that_name_with_other_content_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"old")
    assert get(server, tmp_path).read_bytes() == DATA


def test_a_part_is_completed_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(DATA[:123_456])
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.asked == ["bytes=123456-"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_cut_connection_is_taken_up_where_it_ended(chunked: bool, server: Server, tmp_path: Path) -> None:
    server.cut_after, server.chunked = [100_000, 70_000], chunked
    assert get(server, tmp_path).read_bytes() == DATA
    starts = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for asked in server.asked]
    # what came after the last whole block of a cut answer is asked for again
    assert len(starts) == 3 and starts[0] == 0
    assert 100_000 - CHUNK_BYTES < starts[1] <= 100_000
    assert 70_000 - CHUNK_BYTES < starts[2] - starts[1] <= 70_000


def test_an_interrupted_run_keeps_its_part_for_the_next(server: Server, tmp_path: Path) -> None:
    server.cut_after = [150_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="could not download"):
        get(server, tmp_path)
    kept = (tmp_path / "data.bin.part").read_bytes()
    assert kept == DATA[: len(kept)] and 150_000 - CHUNK_BYTES < len(kept) <= 150_000
    assert not (tmp_path / "data.bin").exists()
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.asked[-1] == f"bytes={len(kept)}-"


def test_a_server_without_ranges_is_asked_for_everything_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut_after = False, [100_000]
    assert get(server, tmp_path).read_bytes() == DATA
    assert len(server.asked) == 2 and server.asked[1]


def test_a_part_that_is_whole_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(DATA)
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.asked == [f"bytes={len(DATA)}-"]


def test_a_wrong_digest_is_refused_and_the_next_try_starts_anew(server: Server, tmp_path: Path) -> None:
    server.body = DATA[:-1] + b"\0"
    with pytest.raises(DownloadError, match="not the published file"):
        get(server, tmp_path)
    assert not list(tmp_path.iterdir()), "bytes of another file were kept"
    server.body = DATA
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.asked[-1] == ""


@pytest.mark.parametrize("part", [b"of another file", DATA + b"more", DATA[:-1] + b"\0"], ids=["cut", "long", "whole"])
def test_a_part_of_another_file_is_dropped_and_everything_asked_for(
    part: bytes, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "data.bin.part").write_bytes(part)
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.asked == [f"bytes={len(part)}-", ""]
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.bin"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(status: int, server: Server, tmp_path: Path) -> None:
    server.failures, server.status = 4, status
    assert get(server, tmp_path).read_bytes() == DATA and len(server.asked) == 5


@pytest.mark.parametrize(("status", "tries"), [(503, 5), (404, 1)])
def test_a_refusal_names_the_address_and_the_status(status: int, tries: int, server: Server, tmp_path: Path) -> None:
    server.failures, server.status = 99, status
    with pytest.raises(DownloadError, match=rf"{re.escape(server.url)}.*{status}"):
        get(server, tmp_path)
    assert len(server.asked) == tries


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/data.bin"
        with pytest.raises(DownloadError, match=f"could not download {url}"):
            fetch(url, SHA256, tmp_path, pause_s=0)


def test_the_downloader_can_ask_whether_a_file_is_there(server: Server, tmp_path: Path) -> None:
    assert ResumingDownloader(tmp_path / "part")(server.url, "unused", None, check_only=True) is False
    assert not list(tmp_path.iterdir())
