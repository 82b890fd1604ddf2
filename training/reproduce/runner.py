"""Rows and a number of seeds in; every job that has no result yet is done, one after the other."""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.datasets import DataError
from training.export import ParityError
from training.fit import DivergedError
from training.reproduce.bench import Bench
from training.reproduce.conditions import conditions
from training.reproduce.cost import spoken
from training.reproduce.rows import UNAVAILABLE, Job, Row
from training.reproduce.store import Store

HOUR = 3600.0
SEEDS = 3
"""Of a row that does not say; one that takes more than an hour, and a trial, is measured once."""


@dataclass(frozen=True)
class Task:
    """One job with one seed."""

    row: Row
    job: Job
    seed: int


@dataclass
class Runner:
    """Does the jobs.

    Attributes:
        bench: where.
        store: where results go.
        say: prints a line.
        finished: called after each job.
    """

    bench: Bench
    store: Store
    say: Callable[[str], None]
    finished: Callable[[], None]

    def is_done(self, task: Task) -> bool:
        """Whether it has a result."""
        return self.store.get(task.row, task.job, task.seed) is not None

    def expected(self, task: Task) -> float:
        """Seconds: what another seed took here, or an estimate."""
        measured = [result["seconds"] for result in self.store.seeds(task.row, task.job).values()]
        return max(measured) if measured else task.job.expected_seconds()

    def tasks(self, rows: Sequence[Row], seeds: int | None) -> list[Task]:
        """All jobs of the rows, done or not."""
        tasks = []
        for row in rows:
            if row.job is not None:
                once = row.section == "choices" or row.job.expected_seconds() > HOUR
                count = seeds or row.seeds or (1 if once else SEEDS)
                tasks += [Task(row, row.job, seed) for seed in range(count)]
        return tasks

    def run(self, tasks: Sequence[Task]) -> int:
        """Do those that have no result, also when one before has failed; returns how many failed."""
        failed = 0
        for number, task in enumerate(tasks, 1):
            title = f"[{number}/{len(tasks)}] {task.row.name}, seed {task.seed}"
            if self.is_done(task):
                self.say(f"{title}: done before")
                continue
            self.say(f"{title}: about {spoken(self.expected(task))}")
            try:
                self._do(task, title)
            except DataError as error:
                self.say(f"{title}: {task.row.absence}: {error}")
                failed += task.row.absence != UNAVAILABLE
            except (DivergedError, ParityError) as error:
                self.say(f"{title}: error: {error}")
                failed += 1
            except Exception:  # a night's worth of other jobs is waiting
                self.say(f"{title}: error:\n{traceback.format_exc()}")
                failed += 1
        return failed

    def _do(self, task: Task, title: str) -> None:
        folder = self.store.folder(task.row, task.job, task.seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.bench.lent.clear()
        started = time.monotonic()
        outcome = task.job.run(self.bench, task.seed, folder)
        seconds = time.monotonic() - started
        more = {"command": self.bench.command, "data": dict(self.bench.lent), **conditions(self.bench.device)}
        result = self.store.put(task.row, task.job, task.seed, outcome, seconds, more)
        for state in (*folder.glob("*.f16"), *folder.glob("*.npz")):
            state.unlink()
        self.say(f"{title}: {result['value']:g} {task.row.unit}, {spoken(result['seconds'])}")
        self.finished()
