"""Is the served model as accurate as its card says? Every test image is posted as PNG to a running server.

    python -m benchmarks.accuracy --dataset cifar10 --data-dir data [--url http://127.0.0.1:8000] [--json FILE]

Requests of one image each, some at a time, so that the server's own batching is in the path. A few feature vectors are
asked for as well, to see their length.
"""

import argparse
import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.timing import table, write_rows
from training.datasets import load
from training.presets import DEFAULT_PRESETS
from training.sources import Pixels

CLIENTS = 16
PNG = {"Content-Type": "image/png"}


def png(image: Pixels) -> bytes:
    """One image, uint8 (H, W, C), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def measure(url: str, model: str, dataset: str, data_dir: Path) -> dict[str, Any]:
    """Post the test set; one row of the table."""
    test = load(dataset, data_dir, download=False).test
    limits = httpx.Limits(max_connections=CLIENTS)
    with httpx.Client(base_url=url, timeout=60, limits=limits) as client, ThreadPoolExecutor(CLIENTS) as pool:

        def predict(index: int) -> int:
            body = png(test.images[index : index + 1][0])
            answer = client.post("/predict", params={"model": model}, content=body, headers=PNG)
            return int(answer.raise_for_status().json()["predictions"][0]["index"])

        started = time.monotonic()
        predicted = np.array(list(pool.map(predict, range(len(test.labels)))))
        seconds = time.monotonic() - started
        vector = client.post("/features", params={"model": model}, content=png(test.images[:1][0]), headers=PNG)
        card = client.get(f"/models/{model}").raise_for_status().json()["manifest"]["accuracy"]
    right = int((predicted == test.labels).sum())
    return {
        "model": model,
        "images": len(test.labels),
        "accuracy": 100 * right / len(test.labels),
        "error": 100 - 100 * right / len(test.labels),
        "features": vector.raise_for_status().json()["shape"][1],
        "card": f"{card['metric']} {card['value']:.2f} %",
        "images_s": len(test.labels) / seconds,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--dataset", choices=sorted(DEFAULT_PRESETS), action="append", help="both by default")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = options.dataset or sorted(DEFAULT_PRESETS)
    rows = [measure(options.url, DEFAULT_PRESETS[name], name, options.data_dir) for name in names]
    print(table(rows))
    write_rows(options.json, rows)


if __name__ == "__main__":
    main()
