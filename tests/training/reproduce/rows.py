"""Rows whose jobs take no time."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from training.datasets import DataError
from training.reproduce.bench import Bench
from training.reproduce.jobs.filters import PICTURE
from training.reproduce.rows import Job, Outcome, Row, Split


@dataclass(frozen=True)
class Counted:
    """Gives `base` + seed, and remembers that it was asked; draws a picture if it is to."""

    base: float
    split: Split = "test"
    tuned: ClassVar[str] = "nothing"
    runs: ClassVar[list[tuple[float, int]]] = []

    def expected_seconds(self) -> float:
        """Longer than an hour for a base above 100."""
        return 60.0 if self.base <= 100 else 7200.0

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """Count."""
        self.runs.append((self.base, seed))
        Image.new("RGB", (4, 3)).save(folder / PICTURE)
        (folder / "features.f16").write_bytes(b"large")
        return Outcome(self.base + seed, {"dead_maps": 3 + seed})


@dataclass(frozen=True)
class Missing:
    """Has no data."""

    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = "nothing"

    def expected_seconds(self) -> float:
        """None."""
        return 1.0

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """Say so."""
        raise DataError("small NORB is not there")


@dataclass(frozen=True)
class Broken:
    """Has a bug."""

    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = "nothing"

    def expected_seconds(self) -> float:
        """None."""
        return 1.0

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """Fail."""
        raise ZeroDivisionError("a bug")


def row(name: str, job: Job | None, paper: float | None = None, reason: str = "") -> Row:
    """A row of Table 1."""
    return Row(name, "table 1", f"**System {name}**", "accuracy %", paper, job, reason)
