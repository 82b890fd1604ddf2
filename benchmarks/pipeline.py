"""Does a run's time per image, or its memory, grow with the number of images?

    python -m benchmarks.pipeline [--images 1000 --images 20000 …] [--json FILE]

Each size runs in a process of its own: whitening, one epoch of one layer, features and probe on images that are drawn
when they are asked for, as a folder's would be decoded. The features of the largest size do not fit into the memory
that a run allows itself and go to a file.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import output_file, positive_int, run
from benchmarks.timing import machine, table, write_rows
from training.config import LayerConfig, ProbeConfig, RunConfig
from training.datasets import Dataset, Split
from training.pipeline import Pipeline
from training.sources import Indices, Pixels

SIZES = (1_000, 20_000, 200_000)
CONFIG = RunConfig(
    name="scale",
    dataset="drawn",
    layers=(LayerConfig(maps=64, kernel=9, pool_width=5, pool_stride=4, epochs=1),),
    whitening="separable",
    probe=ProbeConfig(losses=("logistic",), strengths={"logistic": (0.1,)}, max_iterations=5, tolerance=0.0),
)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Images of an edge at a random angle under noise, each drawn from its own number; the angle decides the label."""

    numbers: np.ndarray[tuple[int], np.dtype[np.int64]]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return len(self.numbers), 32, 32, 3

    def __len__(self) -> int:
        """N."""
        return len(self.numbers)

    def __getitem__(self, indices: Indices, /) -> Pixels:
        """Draw some of the images."""
        numbers = self.numbers[indices]
        angle = (self.labels(numbers) + 0.5) * np.pi / 10
        axis = np.arange(32) - 15.5
        side = np.cos(angle)[:, None, None] * axis + np.sin(angle)[:, None, None] * axis[:, None]
        noise = np.random.default_rng(int(numbers[0])).integers(0, 64, (len(numbers), 32, 32, 3), np.uint8)
        edge: Pixels = np.where(side > 0, 160, 32).astype(np.uint8)[..., None] + noise
        return edge

    @staticmethod
    def labels(numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Labels 0 to 9."""
        return numbers % 10

    def take(self, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> "Drawn":
        """The same images in another order."""
        return Drawn(self.numbers[order])


def run_one(images: int) -> dict[str, Any]:
    """One run; its times and its process's peak memory."""
    train, test = Drawn(np.arange(images)), Drawn(np.arange(images, images + 1000))
    labels = tuple(str(i) for i in range(10))
    dataset = Dataset(
        "drawn",
        Split(train, Drawn.labels(train.numbers)),
        Split(test, Drawn.labels(test.numbers)),
        labels,
        "RGB",
        "none",
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        summary = Pipeline(CONFIG, dataset, Path(folder) / "run", Path(folder) / "models", "benchmark").run()
        seconds = time.monotonic() - started
    stages = {f"{name}_us_image": 1e6 * value / images for name, value in summary.stages.items() if name != "export"}
    peak = summary.manifest["training"]["peak_memory_mib"]
    return {"images": images, "seconds": seconds, "us_image": 1e6 * seconds / images, **stages, "peak_mib": peak}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive_int, nargs="+", action="extend", help=f"by default {SIZES}")
    parser.add_argument("--json", type=output_file)
    parser.add_argument("--one", type=positive_int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_one(options.one)))
        return
    rows = []
    for images in options.images or SIZES:
        command = [sys.executable, "-m", "benchmarks.pipeline", "--one", str(images)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    print(f"{machine()}, {torch.get_num_threads()} threads, {CONFIG.layers[0].maps} maps, one epoch")
    print(table(rows))
    write_rows(options.json, rows)


if __name__ == "__main__":
    sys.exit(run(main))
