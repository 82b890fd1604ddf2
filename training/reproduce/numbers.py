"""Rows, results and an earlier report in; each row's numbers out, and the same as JSON."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from training.reproduce.rows import Difference, FactOf, Job, Row
from training.reproduce.store import Result, Store, digest, digest_of

KEPT = (
    "value",
    "seconds",
    "facts",
    "tuned",
    "data",
    "command",
    "machine",
    "versions",
    "commit",
    "finished",
)
"""What a report keeps of a result: enough to be made again where the runs are not."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Numbers:
    """What is known of a row.

    Attributes:
        values: by seed, in the row's unit.
        results: by seed, what was measured; empty if the row follows from others.
        picture: path of its picture from the report's folder.
        former: readings that were there before, oldest first: `seed`, `value`, `finished`, `settings`.
    """

    values: Mapping[int, float] = field(default_factory=dict)
    results: Mapping[int, Result] = field(default_factory=dict)
    picture: str | None = None
    former: tuple[Json, ...] = ()

    @property
    def mean(self) -> float | None:
        """Over the seeds; None without any."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds (of n - 1 degrees of freedom); None with fewer than two."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def device(self) -> str:
        """What most seeds were measured on: `cpu`, or the name of a GPU."""
        devices = [result["machine"]["device"] for result in self.results.values()]
        return statistics.mode(devices) if devices else "cpu"

    @property
    def seconds(self) -> float | None:
        """Mean time of a seed on `device`."""
        taken = [result["seconds"] for result in self.results.values() if result["machine"]["device"] == self.device]
        return statistics.fmean(taken) if taken else None


def measured(row: Row, job: Job, store: Store, earlier: Mapping[str, Json], picture: str | None) -> Numbers:
    """A row's results: those here, and those of an earlier report with the same settings."""
    before = earlier.get(row.name, {})
    same = before.get("settings") == digest_of(job)
    results = {int(seed): result for seed, result in before["measured"].items()} if same else {}
    here = store.seeds(row, job)
    results |= {seed: {key: result[key] for key in KEPT} for seed, result in here.items()}
    picture = picture or (before.get("picture") if same else None)
    values = {seed: results[seed]["value"] for seed in sorted(results)}
    return Numbers(values, dict(sorted(results.items())), picture, _former(before, here, results))


def _former(before: Json, here: Mapping[int, Result], results: Mapping[int, Result]) -> tuple[Json, ...]:
    """Readings that an earlier report or the results here know of, and that the row no longer shows."""
    known: list[Json] = [*before.get("former", ())]
    for name, result in before.get("measured", {}).items():
        if result["finished"] != results.get(int(name), {}).get("finished"):
            known.append(_reading(int(name), result, before["settings"]))
    for seed, result in here.items():
        known += [_reading(seed, old, digest(old["settings"])) for old in result["replaced"]]
    unique = {(reading["seed"], reading["finished"]): reading for reading in known}
    return tuple(sorted(unique.values(), key=lambda reading: (reading["finished"], reading["seed"])))


def _reading(seed: int, result: Mapping[str, Any], settings: str) -> Json:
    return {"seed": seed, "value": result["value"], "finished": result["finished"], "settings": settings}


def collect(
    rows: Iterable[Row], store: Store, earlier: Mapping[str, Json], pictures: Mapping[str, str]
) -> dict[str, Numbers]:
    """Each row's numbers, by its name.

    Args:
        rows: all of them.
        store: the results here.
        earlier: rows of an earlier `paper.json`, by name.
        pictures: paths of new pictures from the report's folder, by row.
    """
    rows = list(rows)
    numbers: dict[str, Numbers] = {}
    for row in rows:
        if row.job is not None:
            numbers[row.name] = measured(row, row.job, store, earlier, pictures.get(row.name))
    for row in rows:
        if isinstance(row.source, Difference):
            one, other = numbers[row.source.of].values, numbers[row.source.minus].values
            numbers[row.name] = Numbers({seed: one[seed] - other[seed] for seed in one if seed in other})
        elif isinstance(row.source, FactOf):
            results, fact = numbers[row.source.row].results, row.source.fact
            numbers[row.name] = Numbers({seed: float(result["facts"][fact]) for seed, result in results.items()})
        else:
            numbers.setdefault(row.name, Numbers())
    return numbers


def command_of(row: Row, seeds: int, device: str = "cpu") -> str | None:
    """The command that measures a row's seeds on this kind of device; None if nothing does."""
    match row.source:
        case None:
            return None
        case Difference(one, other):
            rows = f"--rows '{one}' --rows '{other}'"
        case FactOf(of):
            rows = f"--rows '{of}'"
        case _:
            rows = f"--rows '{row.name}'"
    count = f" --seeds {seeds}" if seeds else ""
    return f"python -m training.reproduce {rows}{count}" + ("" if device == "cpu" else " --device cuda")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def to_json(row: Row, numbers: Numbers) -> Json:
    """A row as it stands in `paper.json`."""
    job = row.job
    plain: Json = {
        "row": row.name,
        "section": row.section,
        "system": row.system.strip("*"),
        "paper": row.paper,
        "ours": _rounded(numbers.mean),
        "std": _rounded(numbers.deviation),
        "seeds": len(numbers.values),
        "unit": row.unit,
        "command": command_of(row, len(numbers.values), numbers.device),
        "note": row.note or None,
        "absent": row.absence if numbers.mean is None else None,
    }
    if job is not None:
        plain |= {
            "split": job.split,
            "seconds": _rounded(numbers.seconds),
            "picture": numbers.picture,
            "settings": digest_of(job),
            "former": list(numbers.former),
            "measured": {str(seed): result for seed, result in numbers.results.items()},
        }
    return plain
