"""A training run that the kernel ends before a gradient step: `python -m tests.training.killed DIGESTS STEP …`."""

import json
import os
import signal
import sys
from typing import Any

from training import datasets, fit, run, winners


def main(digests: str, step: int, arguments: list[str]) -> int:
    """Run the command line with small files for the published ones, a checkpoint a step, and a SIGKILL to come."""
    datasets.MNIST_FILES = {name: (sha256, md5) for name, (sha256, md5) in json.loads(digests).items()}
    fit.CHECKPOINT_SECONDS, fit.CHECKPOINT_SHARE = -1.0, float("inf")
    plain, calls = winners.step, 0

    def last(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*given, **named)

    winners.step = last
    return run.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
