"""How the server starts, refuses to start, drains and leaves."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.bundles import write_bundle
from tests.pictures import png
from tests.process.conftest import ROOT, Start


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SCA_")}
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(command, env=clean | environ, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        ((), {"SCA_PROT": "8001"}, ["SCA_PROT", "8001"]),
        ((), {"SCA_MAX_BATCH": "many"}, ["SCA_MAX_BATCH", "many"]),
        (("--max-batch", "0"), {}, ["SCA_MAX_BATCH", "0"]),
        (("--nonsense", "1"), {}, ["--nonsense", "1"]),
    ],
)
def test_a_bad_setting_stops_the_start_with_one_line(
    arguments: tuple[str, ...], environ: dict[str, str], named: list[str]
) -> None:
    done = run(*arguments, **environ)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in named), done.stderr
    assert done.stdout == ""


def test_help_lists_every_setting() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(flag in done.stdout for flag in ("--max-batch", "--queue-images", "--api-keys", "--models-dir"))


@pytest.mark.parametrize("which", ["cifar10-shallow", "mnist-shallow"])
def test_a_flipped_byte_in_any_model_stops_the_start(models_dir: Path, tmp_path: Path, which: str) -> None:
    folder = Path(shutil.copytree(models_dir, tmp_path / "models"))
    file = folder / which / ("10" if which.startswith("cifar") else "1") / "model.onnx"
    data = bytearray(file.read_bytes())
    data[-40] ^= 1
    file.write_bytes(bytes(data))
    done = run(SCA_MODELS_DIR=str(folder), SCA_PORT="0")
    assert done.returncode == 1
    assert str(file) in done.stderr and "sha256" in done.stderr and done.stderr.count("\n") == 1


def test_a_missing_default_model_or_folder_stops_the_start(models_dir: Path, tmp_path: Path) -> None:
    done = run("--default-model", "none", SCA_MODELS_DIR=str(models_dir))
    assert done.returncode == 1 and "SCA_DEFAULT_MODEL='none'" in done.stderr and "mnist-shallow" in done.stderr
    done = run(SCA_MODELS_DIR=str(tmp_path))
    assert done.returncode == 1 and str(tmp_path) in done.stderr


def test_cuda_that_is_not_there_stops_the_start(models_dir: Path) -> None:
    import onnxruntime  # type: ignore[import-untyped]  # it ships no types

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is CUDA here")
    done = run(SCA_MODELS_DIR=str(models_dir), SCA_PORT="0", SCA_DEVICE="cuda")
    assert done.returncode == 1
    assert "SCA_DEVICE='cuda'" in done.stderr and "CUDAExecutionProvider" in done.stderr


def test_a_port_in_use_stops_the_start(models_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("--port", port, SCA_MODELS_DIR=str(models_dir))
    assert done.returncode == 1
    assert f"SCA_PORT={port}" in done.stderr and done.stderr.count("\n") == 1


def test_neither_torch_nor_training_is_imported() -> None:
    code = "import sys, service.app, service.server, service.__main__\nprint(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "'onnxruntime'" in done.stdout
    assert "'torch'" not in done.stdout and "'training'" not in done.stdout


def test_a_key_is_never_written(start: Start) -> None:
    server = start(api_keys="hunter2", log_level="debug")
    url = f"http://127.0.0.1:{server.port}/models"
    assert httpx.get(url, headers={"X-API-Key": "hunter2"}).status_code == 200
    assert httpx.get(url, headers={"X-API-Key": "hunter3"}).status_code == 401
    assert server.stop() == 0
    assert "hunter" not in "".join(server.lines) + server.errors


def test_sigterm_finishes_what_is_in_flight_and_refuses_what_is_new(start: Start, tmp_path: Path) -> None:
    # Slow enough that the requests are still in flight when the signal comes.
    write_bundle(tmp_path, size=48, maps=32, weight=60)
    server = start(tmp_path, max_batch=1)
    url = f"http://127.0.0.1:{server.port}"
    outcomes: list[int] = []

    def post() -> None:
        reply = httpx.post(f"{url}/predict", content=png(), headers={"Content-Type": "image/png"}, timeout=60)
        outcomes.append(reply.status_code)

    threads = [threading.Thread(target=post) for _ in range(24)]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + 20
    while server.metric("sca_inflight_images") + len(outcomes) < len(threads):
        assert time.monotonic() < limit
    server.process.send_signal(signal.SIGTERM)
    while (red := server.get("/health/ready")).status_code == 200:
        assert time.monotonic() < limit
    assert red.status_code == 503
    assert server.metric("sca_draining") == 1
    refused = server.post("/predict", png())
    assert refused.status_code == 503 and refused.headers["connection"] == "close"
    for thread in threads:
        thread.join()
    assert outcomes == [200] * 24
    assert server.end() == 0


def test_a_second_signal_leaves_at_once(start: Start, tmp_path: Path) -> None:
    write_bundle(tmp_path, size=48, maps=32, weight=60)
    server = start(tmp_path, max_batch=1, request_timeout_s=60)
    sockets = [server.connect() for _ in range(50)]
    body = png()
    for connection in sockets:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )
    server.process.send_signal(signal.SIGTERM)
    while server.metric("sca_draining") != 1:
        pass
    started = time.monotonic()
    assert server.stop(signal.SIGINT) == 1
    assert time.monotonic() - started < 5
    for connection in sockets:
        connection.close()


def test_a_signal_while_loading_leaves_with_zero(start: Start, models_dir: Path) -> None:
    server = start(wait=False)
    server.wait_for_port()
    assert server.stop(signal.SIGINT) == 0


def test_a_signal_before_anything_is_served_ends_the_first_process_of_a_container(models_dir: Path) -> None:
    # A process namespace is what a container is: the kernel drops signals that its first process does not handle.
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespaces here: signals to the first process of one were NOT tested")
    environ = os.environ | {"SCA_MODELS_DIR": str(models_dir), "SCA_PORT": "0"}
    command = [*unshare, sys.executable, "-m", "service"]
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL) as outer:
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            limit = time.monotonic() + 20
            while outer.poll() is None and time.monotonic() < limit:  # until the interpreter has begun with our code
                for inner in children.read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(inner), signal.SIGTERM)
                time.sleep(0.05)
            assert outer.returncode == 128 + signal.SIGTERM  # a server that serves ends with 0
        finally:
            outer.kill()


def test_work_that_outlasts_the_drain_time_does_not_hold_the_exit(start: Start) -> None:
    server = start(drain_s=0.2, receive_timeout_s=60)
    with server.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n")
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 10
