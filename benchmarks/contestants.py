"""The servers that are compared: how each is started, with which graph, and whether it answers what it should."""

import contextlib
import io
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from PIL import Image

from benchmarks.plain_export import plain_export
from benchmarks.servers import ROOT, Server
from service.bundle import load_bundle
from service.devices import multiplies_fast
from training.datasets import load

OURS = "sca-features"
FAST = "sca-features-fast"
PEERS = ("fastapi", "litserve", "bentoml", "mosec")
GRAPHS = ("plain", "exact", "fast")
SETTINGS = {"mosec": ("PEER_WAIT_MS=5", "PEER_WAIT_MS=0")}
"""Where no setting is the best at every number of clients: all that are, in the words of the environment."""
ACCEPT = {"features": "application/octet-stream", "predict": None}
BUNDLE = ROOT / "models" / "cifar10-shallow" / "1"
IMAGES = 256
_ERROR, _FAST_ERROR = 1e-4, 0.1
"""Root mean square of an answer's difference from the plain export's, relative to that, at most."""


@dataclass(frozen=True)
class Contestant:
    """A server in one of its settings.

    Attributes:
        name: `OURS`, `FAST` or one of `PEERS`.
        graph: One of `GRAPHS`.
        setting: Environment variables, as `NAME=value`; empty where one setting is always the best.
    """

    name: str
    graph: str
    setting: str = ""

    def command(self, peers_python: Path) -> list[str]:
        """What starts it."""
        if self.name in (OURS, FAST):
            return [sys.executable, "-m", "service"]
        return [str(peers_python), "-W", "ignore", "-m", f"benchmarks.peers.{self.name}_app"]

    def environment(self, route: str, folder: Path) -> dict[str, str]:
        """The variables to start it with; `{port}` stands for its port."""
        if self.name in (OURS, FAST):
            ours = {"SCA_PORT": "{port}", "SCA_MODELS_DIR": str(ROOT / "models"), "SCA_LOG_LEVEL": "warning"}
            return ours | {"SCA_PRECISION": self.graph}
        peers = {"PEER_PORT": "{port}", "PEER_ROUTE": route, "PEER_MODEL": str(folder / f"{self.graph}.onnx")}
        return peers | dict(part.split("=", 1) for part in self.setting.split())


def contestants(names: Sequence[str], peer_graph: str) -> list[Contestant]:
    """Lists servers in all their settings, ours with a graph of their own each."""
    graphs = {OURS: "exact", FAST: "fast"} | dict.fromkeys(PEERS, peer_graph)
    return [
        Contestant(name, graphs[name], setting)
        for name in dict.fromkeys(names)
        for setting in SETTINGS.get(name, ("",))
    ]


def require_peers(names: Sequence[str], python: Path) -> None:
    """Finds out whether the peers' environment is there, if any of them is to run.

    Raises:
        RuntimeError: It is not.
    """
    wanted = [name for name in names if name in PEERS]
    if wanted and not os.access(python, os.X_OK):
        raise RuntimeError(f"{', '.join(wanted)}: there is no {python}; `make peers` installs them")


def write_images(data_dir: Path, folder: Path) -> bytes:
    """Writes the first test images as PNG files and returns the first one."""
    for index, pixels in enumerate(load("cifar10", data_dir, download=False).test.images[:IMAGES]):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        (folder / f"{index}.png").write_bytes(stream.getvalue())
    return (folder / "0.png").read_bytes()


def write_graphs(folder: Path) -> None:
    """Writes the model's graphs as `plain.onnx`, `exact.onnx` (the form that the service takes here), `fast.onnx`."""
    bundle = load_bundle(BUNDLE)
    shutil.copyfile(BUNDLE / bundle.graph_file("exact", multiplies_fast("cpu")), folder / "exact.onnx")
    shutil.copyfile(BUNDLE / bundle.graph_file("fast"), folder / "fast.onnx")
    (folder / "plain.onnx").write_bytes(plain_export((BUNDLE / "model.onnx").read_bytes()))


def check_answer(contestant: Contestant, url: str, route: str, image: bytes, plain: Path) -> None:
    """Compares a server's answer with that of the plain export.

    Raises:
        RuntimeError: It answers something else.
    """
    headers = {"Content-Type": "image/png", "Accept": ACCEPT[route] or "*/*"}
    with urllib.request.urlopen(urllib.request.Request(url, image, headers), timeout=30) as answer:
        body = answer.read()
    session = onnxruntime.InferenceSession(plain, providers=["CPUExecutionProvider"])
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))[None]
    features, logits = session.run(["features", "logits"], {"images": pixels})
    if route == "features":
        actual = np.frombuffer(body, "<f4")
        error = np.sqrt(np.mean((actual - features[0]) ** 2) / np.mean(features[0] ** 2))
        right = error < (_FAST_ERROR if contestant.graph == "fast" else _ERROR)
    else:
        document = json.loads(body)
        prediction = document["predictions"][0] if "predictions" in document else document
        right = prediction["index"] == logits[0].argmax()
    if not right:
        raise RuntimeError(f"{contestant.name} answers {route} with other numbers than the plain export")


@contextlib.contextmanager
def started(
    wanted: Sequence[Contestant], route: str, folder: Path, peers_python: Path
) -> Iterator[dict[Contestant, Server]]:
    """Starts servers one after the other, each while the others sleep, and ends them after the block."""
    image = (folder / "0.png").read_bytes()
    servers: dict[Contestant, Server] = {}
    with contextlib.ExitStack() as stack:
        for one in wanted:
            server = Server(one.name, one.command(peers_python), one.environment(route, folder), route, image)
            stack.callback(server.close)
            servers[one] = server
            check_answer(one, server.url, route, image, folder / "plain.onnx")
            server.sleep()
        yield servers
