"""The real server with all bundled models: what it may hold in memory under load, and what waiting costs."""

import os
import re
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.process.conftest import ROOT, Running, running

MOST_MB = 300
CLIENTS, REQUESTS = 32, 8


def resident_mb(server: Running) -> float:
    """Resident memory of the server's process."""
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc: the server's memory is not measured here")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def cpu_seconds(server: Running) -> float:
    """Processor time that the server's threads have taken so far."""
    stat = Path(f"/proc/{server.process.pid}/stat")
    if not stat.exists():
        pytest.skip("no /proc: the server's processor time is not measured here")
    user, system = stat.read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_under_load_it_holds_less_than_300_megabytes(precision: str) -> None:
    image = (ROOT / "examples" / "frog.png").read_bytes()
    failed: list[int] = []

    def work(server: Running) -> None:
        headers = {"Content-Type": "image/png", "Accept": "application/octet-stream"}
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers, timeout=60) as client:
            replies = [client.post("/features", content=image) for _ in range(REQUESTS)]
            failed.extend(reply.status_code for reply in replies if reply.status_code != 200)

    with running(ROOT / "models", threads=2, precision=precision) as server:
        threads = [threading.Thread(target=work, args=[server]) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        held = resident_mb(server)
    assert not failed
    assert held < MOST_MB


def test_between_requests_no_thread_spins() -> None:
    image = (ROOT / "examples" / "frog.png").read_bytes()
    with running(ROOT / "models", threads=2) as server:
        for _ in range(5):
            assert server.post("/predict", image).status_code == 200
        before = cpu_seconds(server)
        time.sleep(1)
        assert cpu_seconds(server) - before < 0.2
