"""Rows and their numbers in, Markdown out."""

from collections.abc import Mapping, Sequence

from training.reproduce.cost import spoken
from training.reproduce.numbers import Numbers
from training.reproduce.rows import PUBLISHED, Row


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def _digits(value: float, unit: str) -> str:
    """Two decimals of what is in percent, three digits of all else."""
    return f"{value:.2f}" if "%" in unit or unit == "points" else f"{value:.3g}"


def shown(numbers: Numbers, unit: str) -> str:
    """A row's number, with its deviation if there is one; empty if there is none."""
    if numbers.mean is None:
        return ""
    deviation = "" if numbers.deviation is None else f" ± {_digits(numbers.deviation, unit)}"
    return _digits(numbers.mean, unit) + deviation


def _paper(row: Row) -> str:
    if row.paper is None:
        return ""
    return str(row.paper) if "%" in row.unit else f"{row.paper:g}"


def _time(numbers: Numbers) -> str:
    """A seed's time, and the GPU that it was measured on."""
    if numbers.seconds is None:
        return ""
    return spoken(numbers.seconds) + ("" if numbers.device == "cpu" else f" ({numbers.device})")


def row_table(rows: Sequence[Row], numbers: Mapping[str, Numbers]) -> str:
    """The rows of a section; a unit that is the same for all stands in the head."""
    units = {row.unit for row in rows}
    lines = []
    for row in rows:
        known = numbers[row.name]
        system = row.system + (f"<br><sub>{row.note}</sub>" if row.note else "")
        absence = "" if row.absence == PUBLISHED else row.absence
        lines.append(
            [
                system,
                *([row.unit] if len(units) > 1 else []),
                _paper(row),
                shown(known, row.unit) or absence,
                str(len(known.values) or ""),
                _time(known),
            ]
        )
    unit = ["unit"] if len(units) > 1 else []
    ours = "ours" if len(units) > 1 else f"ours, {units.pop()}"
    return table(["system", *unit, "paper", ours, "seeds", "time"], lines)
