"""Is the served model as accurate as its card says? Every test image is posted as PNG to a running server.

    python -m benchmarks.accuracy --data-dir data [--model mnist-deep] [--url http://127.0.0.1:8000] [--json FILE]

Requests of one image each, some at a time, so that the server's own batching is in the path. A few feature vectors are
asked for as well, to see their length.
"""

import argparse
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.command import output_file, run
from benchmarks.timing import table, write_rows
from training.datasets import load
from training.sources import Pixels

CLIENTS = 16
PNG = {"Content-Type": "image/png"}


def png(image: Pixels) -> bytes:
    """One image, uint8 (H, W, C), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def measure(client: httpx.Client, model: str, precision: str, data_dir: Path) -> dict[str, Any]:
    """Post the test set; one row of the table."""
    manifest = client.get(f"/models/{model}").raise_for_status().json()["manifest"]
    card = (manifest["fast"] if precision == "fast" else manifest)["accuracy"]
    test = load(manifest["dataset"], data_dir, download=False).test
    asked = {"model": model, "precision": precision}

    def predict(index: int) -> int:
        body = png(test.images[index : index + 1][0])
        answer = client.post("/predict", params=asked, content=body, headers=PNG)
        return int(answer.raise_for_status().json()["predictions"][0]["index"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        started = time.monotonic()
        predicted = np.array(list(pool.map(predict, range(len(test.labels)))))
        seconds = time.monotonic() - started
    vector = client.post("/features", params=asked, content=png(test.images[:1][0]), headers=PNG)
    right = 100 * float((predicted == test.labels).mean())
    value = right if card["metric"] == "accuracy" else 100 - right
    return {
        "model": model,
        "precision": precision,
        "images": len(test.labels),
        "metric": card["metric"],
        "value": value,
        "card": card["value"],
        "agree": abs(value - card["value"]) < 0.005,
        "features": vector.raise_for_status().json()["shape"][1],
        "images_s": len(test.labels) / seconds,
    }


def served_models(client: httpx.Client) -> dict[str, Any]:
    """The manifests of all models, by name.

    Raises:
        RuntimeError: there is no server, or not ours.
    """
    try:
        listed = client.get("/models").raise_for_status().json()["models"]
        return {entry["name"]: entry["manifest"] for entry in listed}
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise RuntimeError(f"{client.base_url}: no server of ours answers there ({error})") from error


def main() -> int:
    """Print the table; 1 if a card says something else than what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", nargs="+", action="extend", help="all that are served by default")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    limits = httpx.Limits(max_connections=CLIENTS)
    with httpx.Client(base_url=options.url, timeout=60, limits=limits) as client:
        served = served_models(client)
        if unknown := set(options.model or ()) - set(served):
            raise RuntimeError(f"{options.url} has no {', '.join(unknown)} but {', '.join(served)}")
        rows = [
            measure(client, model, precision, options.data_dir)
            for model in options.model or sorted(served)
            for precision in ("exact", "fast")
            if precision == "exact" or "fast" in served[model]
        ]
    print(table(rows))
    write_rows(options.json, rows)
    return 0 if all(row["agree"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(run(main, httpx.HTTPError, httpx.InvalidURL))
