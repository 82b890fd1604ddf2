"""What a row of the report is: a system with the paper's number, and what measures ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from training.reproduce.bench import Bench

Section = Literal[
    "table 1",
    "table 2",
    "table 3",
    "figure 1",
    "figure 2",
    "figure 3",
    "figure 4",
    "figure 5",
    "claims",
    "labels",
    "choices",
    "best",
]
Split = Literal["test", "validation", "none"]
"""Which images a number is measured on: the test set, training images held out, or none (it is not about accuracy)."""

UNAVAILABLE = "not measured: data unavailable"
PENDING = "not yet measured"
PUBLISHED = "published number only"


@dataclass(frozen=True)
class Outcome:
    """What a job ends with.

    Attributes:
        value: in the row's unit.
        facts: what else is worth keeping, as JSON types.
        seconds: the work took, over all attempts; by default what the last one took.
    """

    value: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None


class Job(Protocol):
    """Measures one number for one seed; a frozen dataclass whose fields decide the number."""

    @property
    def split(self) -> Split:
        """What the number is measured on. Only a job that says `test` may read the test set, and reads it once."""
        ...

    @property
    def tuned(self) -> str:
        """What the job itself chooses, and on which images."""
        ...

    def expected_seconds(self) -> float:
        """A rough duration on two processor cores."""
        ...

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """Do it; `folder` is there for state and for pictures, and kept until the number is."""
        ...


@dataclass(frozen=True)
class Difference:
    """One row's number minus another's, seed by seed."""

    of: str
    minus: str


@dataclass(frozen=True)
class FactOf:
    """A fact that another row's job has noted."""

    row: str
    fact: str


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        name: unique; what `--rows` selects by.
        section: where it stands.
        system: what it is called there.
        unit: of the numbers.
        paper: the paper's number; None if it has none.
        source: what measures ours; None if nothing does.
        reason: what stands in the place of a number that is not there; by default one of the sentences above.
        note: what a reader must know to compare.
        seeds: that are measured unless others are asked for; by default the runner decides by the duration.
    """

    name: str
    section: Section
    system: str
    unit: str
    paper: float | None = None
    source: Job | Difference | FactOf | None = None
    reason: str = ""
    note: str = ""
    seeds: int | None = None

    @property
    def job(self) -> Job | None:
        """What measures it; None if nothing does, or if it follows from other rows."""
        return None if isinstance(self.source, Difference | FactOf) else self.source

    @property
    def absence(self) -> str:
        """What to say as long as there is no number."""
        return self.reason or (PUBLISHED if self.source is None else PENDING)
