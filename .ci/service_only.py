"""One real image through a service installed without torch: exits 1 unless its vector is the one training computed.

Run it from the project's root with the interpreter of an environment that holds `.[cpu]` and nothing else.
"""

import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

MODEL = "cifar10-shallow"


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, server: subprocess.Popen[bytes], timeout_s: float) -> float:
    """Returns the seconds until `/health/ready` answered 200; leaves the program if it never does."""
    start = time.monotonic()
    while time.monotonic() - start < timeout_s:
        if server.poll() is not None:
            sys.exit(f"the server left with {server.returncode} before it was ready")
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5):
                return time.monotonic() - start
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    sys.exit(f"not ready after {timeout_s} s")


def post_png(url: str, png: bytes) -> dict[str, object]:
    """Posts one PNG and returns the JSON answer."""
    request = urllib.request.Request(url, data=png, headers={"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.load(answer))


def main() -> None:
    """Starts the server as a process, posts the first golden image, stops the server with SIGTERM."""
    for absent in ("torch", "onnx", "numba", "matplotlib"):
        if importlib.util.find_spec(absent):
            sys.exit(f"{absent} is installed: the service must do without it")
    version = max((path for path in Path("models", MODEL).iterdir() if path.name.isdigit()), key=lambda p: int(p.name))
    with np.load(version / "golden.npz", allow_pickle=False) as golden:
        pixels, expected = golden["images"][0], golden["features"][0]
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG")

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([sys.executable, "-m", "service"], env={**os.environ, "SCA_PORT": str(port)})
    try:
        seconds = wait_until_ready(url, server, timeout_s=60)
        features = np.array(post_png(f"{url}/features?model={MODEL}", buffer.getvalue())["features"], np.float32)[0]
        answer = post_png(f"{url}/predict?model={MODEL}", buffer.getvalue())
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=30)
    error = float(np.abs(features - expected).max() / np.abs(expected).max())
    print(f"ready after {seconds:.2f} s; {features.size} features, relative error {error:.1e}; {answer}; exit {code}")
    if error > 1e-4 or code != 0:
        sys.exit(1)


if __name__ == "__main__":
    main()
