"""Results in, the report's last section out: on what they were measured, and what was measured before them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.reproduce.markdown import table
from training.reproduce.numbers import Numbers
from training.reproduce.rows import Row
from training.reproduce.store import Result
from training.reproduce.text import BEFORE


def _condition(result: Result) -> str:
    machine, versions = result["machine"], result["versions"]
    where = f"{machine['threads']} threads of {machine['processor']}, {machine['memory_gib']} GiB"
    if machine["device"] != "cpu":
        where += f", {machine['device']}"
    return f"{where}; " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _counted(results: Iterable[Result]) -> str:
    """Each machine with its libraries, and of how many numbers it is the source."""
    machines = Counter(_condition(result) for result in results)
    return "\n".join(f"- {count} numbers: {condition}" for condition, count in machines.most_common())


def _former(rows: Sequence[Row], numbers: Mapping[str, Numbers]) -> str:
    """Readings that others have replaced, and which images they were of."""
    lines = [
        (row.name, row.job.split, str(old["seed"]), f"{old['value']:.2f}", _now(known, old), old["finished"])
        for row in rows
        if row.job is not None and (known := numbers[row.name])
        for old in known.former
    ]
    if not lines:
        return ""
    words = "These rows have been measured before, with other settings, other code or on another machine:"
    return f"{words}\n\n{table(('row', 'images', 'seed', 'then', 'now', 'read'), lines)}"


def _now(known: Numbers, old: Mapping[str, Any]) -> str:
    value = known.values.get(old["seed"])
    return "" if value is None else f"{value:.2f}"


def section(rows: Sequence[Row], numbers: Mapping[str, Numbers]) -> str:
    """The section's text."""
    results = [result for known in numbers.values() for result in known.results.values()]
    commits = sorted({json.dumps(result["commit"]).strip('"') for result in results})
    parts = ["## Conditions", _counted(results) or "Nothing has been measured yet."]
    if commits:
        said = ", ".join(f"`{commit[:12]}{commit[40:]}`" for commit in commits)
        parts.append(f"Code, when a row was finished: {said} (`+`: with changes).")
    return "\n\n".join(part for part in (*parts, _former(rows, numbers), BEFORE) if part)
