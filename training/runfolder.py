"""A run's folder: the documents that it keeps, the settings it belongs to, and the seconds its stages took."""

import fcntl
import json
import resource
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from training import checkpoints, differences, parallel
from training.journal import Journal

MEMORY = "peak_memory_mib.json"
LOCK = ".lock"
UNLEARNT = ("log.jsonl", "stages.json", MEMORY, "whitening.npz")
"""What an attempt leaves that has learnt nothing."""


class ConfigError(RuntimeError):
    """The run folder belongs to a run with other settings, or to one that is under way."""


def _hold(lock: IO[str], folder: Path) -> None:
    """Keep others away from a run's folder until the file is closed.

    Raises:
        ConfigError: another job is at work in this folder.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"another process is at work in {folder}: wait for it, or give another --runs-dir"
        raise ConfigError(message) from error
    except OSError:  # a file system without locks
        pass


def clear(folder: Path) -> None:
    """Drop all that a run's folder holds, unless a job is at work in it.

    Raises:
        ConfigError: one is.
    """
    if not folder.is_dir():
        return
    with open(folder / LOCK, "w") as lock:
        _hold(lock, folder)
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != LOCK:  # which a job that is about to begin may wait for
                entry.unlink(missing_ok=True)


class RunFolder:
    """Where one run keeps its state; of a job's processes only the first writes.

    Args:
        path: the folder; made if it is not there.
        settings: what decides the run's numbers, as JSON types. They take the place of others whose run has learnt
            nothing.

    Raises:
        ConfigError: the folder holds a run with other settings, which has learnt something or is under way.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        plain = json.loads(json.dumps(settings))
        before = self.read("config.json", None)
        path.mkdir(parents=True, exist_ok=True)
        if before is None:
            self.write("config.json", plain)
        elif before != plain:
            self._take_over(before, plain)
        parallel.wait()
        if not (path / "config.json").exists():
            raise ConfigError(f"{path} is not the job's first process's: --runs-dir must be a folder that all share")
        self.stages: dict[str, float] = self.read("stages.json", {})
        """Seconds each stage has taken, over all attempts."""
        self.peak_mib: int = self.read(MEMORY, 0)
        """Most memory that a process of any attempt has taken, in MiB."""

    def __truediv__(self, name: str) -> Path:
        """A file of the folder."""
        return self.path / name

    def write(self, name: str, content: Any) -> None:
        """Write a JSON document, atomically."""
        if parallel.is_first():
            checkpoints.write_json(self.path / name, content)

    def read(self, name: str, default: Any) -> Any:
        """A JSON document, or `default` if it is not there."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default

    def have(self, name: str) -> bool:
        """Whether a stage's result is there; asked by all processes before any of them writes it."""
        there = (self.path / name).exists()
        parallel.wait()
        return there

    def has_learnt(self) -> bool:
        """Whether there is anything to go on from: a stage's result, or a layer's checkpoint."""
        whitening = self.path / "whitening.npz"
        # without whitening the file is empty
        return any(self.path.glob("layer*")) or (whitening.exists() and bool(checkpoints.load(whitening)))

    def _take_over(self, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Drop an attempt with other settings, unless it has learnt something."""
        learnt = self.has_learnt()
        parallel.wait()  # all have looked before anything goes
        if learnt:
            raise ConfigError(
                f"{self.path / 'config.json'} is of a run with other settings ({differences.told(before, settings)}): "
                f"give --fresh to drop it, or another --name or --runs-dir"
            )
        if not parallel.is_first():
            return
        with open(self.path / LOCK, "w") as lock:
            _hold(lock, self.path)  # it may be at work, and have learnt nothing yet
            for name in UNLEARNT:
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
            self.write("config.json", settings)

    @contextmanager
    def at_work(self) -> Iterator[Journal]:
        """The run's journal, while no other job may write the same checkpoints; a killed process leaves no lock behind.

        Raises:
            ConfigError: another job is at work in this folder.
        """
        with open(self.path / LOCK, "w") as lock:
            if parallel.is_first():
                _hold(lock, self.path)
            with Journal(self.path) as journal:
                yield journal

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds that a stage takes, also when it is interrupted, to those of earlier attempts."""
        before, started = self.stages.get(stage, 0.0), time.monotonic()
        try:
            yield
        finally:
            self.stages[stage] = before + time.monotonic() - started
            self.write("stages.json", self.stages)
            self.peak_mib = max(self.peak_mib, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
            self.write(MEMORY, self.peak_mib)
