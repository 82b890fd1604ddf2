"""Finished numbers on disk: one JSON document a row and seed, valid for the settings that it was measured with."""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training import checkpoints
from training.config import plain
from training.reproduce.rows import Job, Outcome, Row

Result = dict[str, Any]


def settings_of(job: Job) -> dict[str, Any]:
    """What decides a job's number besides the seed, as JSON types."""
    fields = plain(job)
    settings: dict[str, Any] = json.loads(json.dumps({"job": type(job).__name__, **fields}))
    return settings


def digest(settings: Mapping[str, Any]) -> str:
    """Settings in 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def digest_of(job: Job) -> str:
    """A job's settings in 16 hexadecimal digits."""
    return digest(settings_of(job))


def slug(name: str) -> str:
    """A row's name as a file's."""
    return re.sub(r"[^a-z0-9+.]+", "-", name.lower()).strip("-")


class Store:
    """The results of all rows.

    Args:
        folder: `results` of the runs' folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder

    def folder(self, row: Row, job: Job, seed: int) -> Path:
        """Where a job keeps state and pictures; not what one with other settings has left."""
        return self.path / slug(row.name) / f"seed{seed}-{digest_of(job)[:8]}"

    def _file(self, row: Row, seed: int) -> Path:
        return self.path / slug(row.name) / f"seed{seed}.json"

    def _read(self, row: Row, seed: int) -> Result | None:
        path = self._file(row, seed)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def get(self, row: Row, job: Job, seed: int) -> Result | None:
        """A finished number; None if there is none, or if it was measured with other settings."""
        result = self._read(row, seed)
        return result if result and result["settings"] == settings_of(job) else None

    def seeds(self, row: Row, job: Job) -> dict[int, Result]:
        """All finished numbers of a row, by seed."""
        numbers = sorted(int(path.stem[4:]) for path in self._file(row, 0).parent.glob("seed*.json"))
        found = {seed: self.get(row, job, seed) for seed in numbers}
        return {seed: result for seed, result in found.items() if result}

    def put(self, row: Row, job: Job, seed: int, outcome: Outcome, seconds: float, more: Mapping[str, Any]) -> Result:
        """Keep a number.

        Another number that it replaces stays on record, so that nobody takes the best of several readings of the test
        set without its being seen.

        Args:
            row: its row.
            job: what measured it.
            seed: its seed.
            outcome: the number and facts.
            seconds: the last attempt took.
            more: `command`, `data` and conditions.
        """
        before = self._read(row, seed)
        replaced = before["replaced"] if before else []
        if before and (before["settings"], before["value"]) != (settings_of(job), outcome.value):
            replaced = [*replaced, {key: before[key] for key in ("value", "finished", "settings")}]
        result: Result = {
            "row": row.name,
            "seed": seed,
            "value": outcome.value,
            "unit": row.unit,
            "split": job.split,
            "tuned": job.tuned,
            "facts": dict(outcome.facts),
            "seconds": round(seconds if outcome.seconds is None else outcome.seconds, 1),
            **more,
            "settings": settings_of(job),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "replaced": replaced,
        }
        self._file(row, seed).parent.mkdir(parents=True, exist_ok=True)
        checkpoints.write_json(self._file(row, seed), result)
        return result
