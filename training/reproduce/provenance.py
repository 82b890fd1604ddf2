"""Results in, the report's last section out: on what they were measured, and what was measured before them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from training.reproduce.markdown import table
from training.reproduce.numbers import Numbers
from training.reproduce.rows import Row
from training.reproduce.store import Result


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


def _replaced(rows: Sequence[Row], numbers: Mapping[str, Numbers]) -> str:
    """Readings of the test set that another with other settings has replaced."""
    lines = [
        (row.name, str(seed), f"{old['value']:.2f}", f"{numbers[row.name].values[seed]:.2f}", old["finished"])
        for row in rows
        if row.job is not None and row.job.split == "test"
        for seed, result in numbers[row.name].results.items()
        for old in result["replaced"]
    ]
    if not lines:
        return ""
    words = "These rows have read the test set before, with other settings:"
    return f"{words}\n\n{table(('row', 'seed', 'then', 'now', 'read'), lines)}"


def section(rows: Sequence[Row], numbers: Mapping[str, Numbers]) -> str:
    """The section's text."""
    results = [result for known in numbers.values() for result in known.results.values()]
    commits = sorted({json.dumps(result["commit"]).strip('"') for result in results})
    parts = ["## Conditions", _counted(results) or "Nothing has been measured yet."]
    if commits:
        parts.append("Code: " + ", ".join(f"`{commit}`" for commit in commits) + " (`+`: with changes).")
    return "\n\n".join(part for part in (*parts, _replaced(rows, numbers)) if part)
