"""Servers that a benchmark starts: none outlives it, and one that does not start says why."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.servers import ROOT, Server, family, session

WORKER = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({file!r}, 'w').close(); time.sleep(99)"
)
STUB = """
import os, pathlib, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.end_headers()

for number, options in enumerate([{{}}, {{"process_group": 0}}, {{"start_new_session": True}}]):
    file = pathlib.Path({folder!r}, str(number))
    worker = {worker!r}.replace("FILE", str(file))
    subprocess.Popen([sys.executable, "-c", worker], **options)
    while not file.exists():
        time.sleep(0.01)
if {answers}:
    HTTPServer(("127.0.0.1", int(os.environ["STUB_PORT"])), Handler).serve_forever()
pathlib.Path({folder!r}, "waits").touch()
time.sleep(99)
"""
"""A server with three workers that do not heed SIGTERM: one in its group, one with a group, one with a session."""


def command(folder: Path, answers: bool = True) -> list[str]:
    code = STUB.format(folder=str(folder), worker=WORKER.format(file="FILE"), answers=answers)
    return [sys.executable, "-c", code]


def stub(folder: Path) -> Server:
    return Server("stub", command(folder), {"STUB_PORT": "{port}"}, "predict", b"")


def running(folder: Path) -> list[int]:
    """The processes whose command line names a folder, zombies aside."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            named = str(folder) in (process / "cmdline").read_text()
        except OSError:
            continue
        if named and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def wait_until_gone(folder: Path) -> None:
    until = time.monotonic() + 10
    while running(folder) and time.monotonic() < until:
        time.sleep(0.01)
    assert running(folder) == []


def test_closing_ends_workers_wherever_they_are(tmp_path: Path) -> None:
    server = stub(tmp_path)
    server.sleep()
    pid = server._process.pid
    assert len(running(tmp_path)) == 4 == len(family(pid)) and len(session(pid)) == 3
    server.close()
    wait_until_gone(tmp_path)


def test_closing_ends_the_orphans_of_a_server_that_broke(tmp_path: Path) -> None:
    server = stub(tmp_path)
    away = (set(running(tmp_path)) - set(session(server._process.pid))).pop()
    os.kill(away, signal.SIGKILL)  # nothing tells any more whose it was
    server._process.kill()
    server._process.wait()
    assert len(running(tmp_path)) == 2
    server.close()
    wait_until_gone(tmp_path)


def test_one_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)^broken does not start: .*python.*\n    no such model$"):
        Server("broken", [sys.executable, "-c", "import sys; sys.exit('no such model')"], {}, "predict", b"")
    monkeypatch.setattr(servers, "_START_S", 1.0)
    with pytest.raises(RuntimeError, match="slow does not start"):
        Server("slow", command(tmp_path, answers=False), {}, "predict", b"")
    wait_until_gone(tmp_path)


MAIN = """
import sys
from pathlib import Path
from benchmarks.command import run
from tests.benchmarks.test_servers import stub, command, Server
folder = Path(sys.argv[1])
def main():
    if sys.argv[2] == "starts":
        Server("stub", command(folder, answers=False), {}, "predict", b"")
    server = stub(folder)
    try:
        server.sleep()
        (folder / "waits").touch()
        import time
        time.sleep(99)
    finally:
        server.close()
sys.exit(run(main))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("state", ["starts", "sleeps"])
def test_a_signal_leaves_no_server_behind(tmp_path: Path, state: str, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", MAIN, str(tmp_path), state], cwd=ROOT, stderr=subprocess.PIPE) as main:
        while not (tmp_path / "waits").exists():
            time.sleep(0.01)
        main.send_signal(number)
        _, errors = main.communicate(timeout=30)
    assert main.returncode == 128 + number
    assert errors.decode() == ("\nstopped\n" if number == signal.SIGINT else "")
    wait_until_gone(tmp_path)
