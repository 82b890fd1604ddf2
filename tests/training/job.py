"""One process of a job: `python -m tests.training.job FOLDER KILL_STEP`, with torchrun's environment."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from tests.training.drawn import config, dataset, layer
from training import fit, parallel, winners
from training.config import RunConfig
from training.pipeline import Pipeline

BATCH = 31
"""Odd, so that two processes have unequal shares of it."""
RUN: RunConfig = config("separable", layers=(layer(epochs=10, maps=8, batch_images=BATCH),))
IMAGES = 160
STEPS = 10 * (IMAGES // BATCH)


def main(folder: Path, step: int) -> None:
    """Train; both processes end before the given gradient step, counted from 1 (0: never), as a machine would."""
    torch.set_num_threads(1)
    fit.CHECKPOINT_SECONDS, fit.CHECKPOINT_SHARE = -1.0, float("inf")
    plain, calls = winners.step, 0

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*given, **named)

    winners.step = counted
    with parallel.job():
        Pipeline(RUN, dataset(train=IMAGES), folder / "run", folder / "models", "").run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
