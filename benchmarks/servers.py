"""Servers as processes: started, asked until they answer, asleep while others are measured, weighed, and ended."""

import contextlib
import http.client
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_START_S = 60.0
_END_S = 10.0
_LAST_LINES = 5
_SAMPLE_S = 0.1


class Server:
    """One server and whatever processes it starts.

    Attributes:
        url: Where its route is.
        start_s: Seconds from its start to its first answer.
        peak_mb: Most resident memory seen while it was awake, of all its processes together, in MB.
    """

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], route: str, image: bytes) -> None:
        """Starts it, and waits until it answers.

        Args:
            name: For messages.
            command: What to run, in the repository's root.
            environment: Added to this process's; `{port}` is replaced in the values.
            route: `features` or `predict`.
            image: A PNG to ask with.

        Raises:
            RuntimeError: It ended, or does not answer in a minute; the message has its last words.
        """
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/{route}"
        self.peak_mb = 0.0
        values = {key: value.format(port=port) for key, value in environment.items()}
        started = time.monotonic()
        with contextlib.ExitStack() as undo:
            self._errors = undo.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                command,
                env=os.environ | values | {"PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
            )
            undo.callback(self.close)
            while not _answers(self.url, image):
                if self._process.poll() is not None or time.monotonic() - started > _START_S:
                    raise RuntimeError(f"{name} does not start: {shlex.join(command)}{self._last_words()}")
                time.sleep(0.01)
            undo.pop_all()  # nothing is to be undone: it runs
        self.start_s = time.monotonic() - started

    @contextlib.contextmanager
    def awake(self):  # type: ignore[no-untyped-def]  # the decorator's types say it better
        """Lets it run for as long as the block lasts, and watches its memory."""
        self._signal(signal.SIGCONT)
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(done,))
        watch.start()
        try:
            yield self
        finally:
            done.set()
            watch.join()
            self._signal(signal.SIGSTOP)

    def sleep(self) -> None:
        """Stops it from running."""
        self._signal(signal.SIGSTOP)

    def close(self) -> None:
        """Ends it and its processes, those that do not heed SIGTERM or have lost their parent too."""
        members = self._members()
        try:
            _send(members, signal.SIGCONT)
            _send(members, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        finally:  # after a second Ctrl-C too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            # whoever has a group, or a session, of his own; a number may be another process's by now
            _send((pid for pid, born in (members | self._members()).items() if _born(pid) == born), signal.SIGKILL)
            self._process.wait()
            self._errors.close()

    def _members(self) -> dict[int, str | None]:
        """All its processes, and since when each runs."""
        pid = self._process.pid
        return {member: _born(member) for member in {*family(pid), *session(pid)}}

    def _last_words(self) -> str:
        """The end of what it wrote to standard error, indented."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").rstrip().splitlines()
        return "".join(f"\n    {line}" for line in lines[-_LAST_LINES:])

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(_SAMPLE_S):
            self.peak_mb = max(self.peak_mb, resident_mb(self._process.pid))

    def _signal(self, number: signal.Signals) -> None:
        _send(family(self._process.pid), number)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def family(pid: int) -> list[int]:
    """Lists a process and all that it or its children started, itself first."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text().split()]
    return found


def session(leader: int) -> list[int]:
    """Lists the processes of a session: orphans are in it still, and those with a group of their own."""
    numbers = (int(process.name) for process in Path("/proc").glob("[0-9]*"))
    return [pid for pid in numbers if _stat(pid)[3:4] == [str(leader)]]


def _born(pid: int) -> str | None:
    """When a process was started, in ticks since the machine was; None if there is none of this number."""
    return next(iter(_stat(pid)[19:20]), None)


def _stat(pid: int) -> list[str]:
    """What the kernel tells of a process after its name, which may hold anything; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def resident_mb(pid: int) -> float:
    """Adds up the resident memory of a family of processes, in MB; what two share counts twice, as `ps` counts it."""
    pages = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str, image: bytes) -> bool:
    request = urllib.request.Request(url, image, {"Content-Type": "image/png"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (http.client.HTTPException, OSError):  # URLError is one
        return False
