"""A trained model in, what its manifest says of accuracy and training out; the one place that reads the test set."""

import platform
import resource
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.datasets import Split
from training.export import OnnxModel, TrainedModel
from training.runfolder import RunFolder

TEST_BATCH = 100


def test_accuracy(test: Split, run: OnnxModel) -> float:
    """Percent of the test images that the graph puts into the right class."""
    starts = range(0, len(test.labels), TEST_BATCH)
    predicted = [run(test.images[i : i + TEST_BATCH])[1].argmax(1) for i in starts]
    return 100 * int((np.concatenate(predicted) == test.labels).sum()) / len(test.labels)


def report(model: TrainedModel, run: OnnxModel, command: str, folder: RunFolder, dead_maps: int) -> dict[str, Any]:
    """The manifest's `accuracy`, `data_license` and `training`.

    Args:
        model: what was trained.
        run: the graph that will be served.
        command: the command line.
        folder: the run's, which knows what its stages have taken.
        dead_maps: maps that won nothing in the last epoch.
    """
    config, images = model.config, len(model.dataset.test.labels)
    accuracy = test_accuracy(model.dataset.test, run)
    return {
        "accuracy": {
            "metric": config.metric,
            "value": round(accuracy if config.metric == "accuracy" else 100 - accuracy, 4),
            "unit": "%",
            "paper": config.paper_value,
            "split": "test",
            "images": images,
            "conditions": f"Measured at the end of one run, seed {config.seed}, on all {images:,} test "
            f"{model.dataset.samples} with the exported graph; every setting was chosen on held-out training images.",
        },
        "data_license": model.dataset.license,
        "training": {
            "seed": config.seed,
            "command": command,
            "config": config.to_json(),
            "seconds": round(sum(folder.stages.values()), 1),
            "stages_seconds": {stage: round(seconds, 1) for stage, seconds in folder.stages.items()},
            "hardware": f"{torch.get_num_threads()} threads of {processor()}",
            "peak_memory_mib": max(folder.peak_mib, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "dead_maps": dead_maps,
        },
    }


def processor() -> str:
    """What the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
