"""Servers as processes: started, asked until they answer, asleep while others are measured, weighed, and ended."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_START_S = 60.0
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
            RuntimeError: It ended, or does not answer in a minute.
        """
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/{route}"
        values = {key: value.format(port=port) for key, value in environment.items()}
        started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            env=os.environ | values | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not _answers(self.url, image):
            if self._process.poll() is not None or time.monotonic() - started > _START_S:
                self.close()
                raise RuntimeError(f"{name} does not start: {' '.join(command)}")
            time.sleep(0.01)
        self.start_s = time.monotonic() - started
        self.peak_mb = 0.0

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
        """Ends it and its processes."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(_SAMPLE_S):
            self.peak_mb = max(self.peak_mb, resident_mb(self._process.pid))

    def _signal(self, number: signal.Signals) -> None:
        for pid in family(self._process.pid):
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
    except (urllib.error.URLError, OSError):
        return False
