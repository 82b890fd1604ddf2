"""How tests run a job."""

import json

from training.reproduce.bench import Bench
from training.reproduce.rows import Job, Outcome


def measure(job: Job, bench: Bench, seed: int = 0) -> Outcome:
    """Run a job as the runner does; its facts have to be JSON."""
    folder = bench.runs_dir / "job"
    folder.mkdir(parents=True, exist_ok=True)
    outcome = job.run(bench, seed, folder)
    json.dumps(outcome.facts)
    return outcome
