"""A trained model in, what its manifest says of accuracy and training out; where a run reads the test set."""

import platform
import resource
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import parallel
from training.datasets import Split
from training.export import OnnxModel, TrainedModel
from training.features import CPU
from training.runfolder import RunFolder

TEST_BATCH = 100
TEST_PIXELS = TEST_BATCH * 32 * 32
"""Pixels of a batch, at most: larger images go fewer at a time."""
INSTRUCTIONS = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "bfloat16": {"avx512_bf16", "amx_bf16"},
}
"""Vector instructions, and the flags that the system lists them under; each made something here faster."""


def test_accuracy(test: Split, run: OnnxModel) -> float:
    """Percent of the test images that the graph puts into the right class."""
    _, height, width, _ = test.images.shape
    batch = max(1, min(TEST_BATCH, TEST_PIXELS // (height * width)))
    starts = range(0, len(test.labels), batch)
    predicted = [run(test.images[i : i + batch])[1].argmax(1) for i in starts]
    return 100 * int((np.concatenate(predicted) == test.labels).sum()) / len(test.labels)


def report(
    model: TrainedModel, run: OnnxModel, command: str, folder: RunFolder, device: torch.device = CPU
) -> dict[str, Any]:
    """The manifest's `accuracy`, `data_license` and `training`.

    Args:
        model: what was trained.
        run: the graph that will be served.
        command: the command line.
        folder: the run's, which knows what its stages have taken and how each layer ended.
        device: where it was trained.
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
            f"{model.dataset.samples} with the exported graph; the probe was chosen on held-out training images.",
        },
        "data_license": model.dataset.license,
        "training": {
            "seed": config.seed,
            "command": command,
            "config": config.to_json(),
            "seconds": round(sum(folder.stages.values()), 1),
            "stages_seconds": {stage: round(seconds, 1) for stage, seconds in folder.stages.items()},
            "hardware": _hardware(device),
            "peak_memory_mib": max(folder.peak_mib, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "dead_maps": _dead_maps(folder, len(config.layers)),
        },
    }


def _hardware(device: torch.device) -> str:
    """Processes, threads, processor and GPU that a run has used."""
    threads = torch.get_num_threads()
    said = f"{threads} thread{'s' if threads > 1 else ''} of {processor()}"
    if parallel.world() > 1:
        said = f"{parallel.world()} processes of {said}"
    return said if device.type == "cpu" else f"{said}, {torch.cuda.get_device_name(device)}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself, and the vector instructions that decide how fast it is here.

    Virtual machines of one provider may have the same name and differ by a factor of three.
    """
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, found, value = line.partition(":")
            if found:
                fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    vectors = [name for name, names in INSTRUCTIONS.items() if not names.isdisjoint(flags)]
    if "AVX-512" in vectors:
        vectors.remove("AVX2")
    name = fields.get("model name", platform.machine())
    return f"{name} ({', '.join(vectors)})" if vectors else name


def _dead_maps(folder: RunFolder, layers: int) -> int:
    """Maps of all layers that won nothing in their last epoch."""
    ends = [folder.read(f"layer{layer}.json", {}) for layer in range(1, layers + 1)]
    return int(sum(end["maps/dead"] or 0 for end in ends))
