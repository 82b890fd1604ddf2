"""Rows in, a table for the terminal out: what the report says of each, what has been measured here, what is left."""

import itertools
from collections.abc import Mapping, Sequence

from training.reproduce.cost import spoken
from training.reproduce.markdown import shown
from training.reproduce.numbers import Numbers
from training.reproduce.runner import Runner, Task

HEAD = ("row", "in the report", "seeds", "here", "left to do here")


def listing(runner: Runner, tasks: Sequence[Task], numbers: Mapping[str, Numbers]) -> str:
    """A line a row: its name, its number and seeds in the report, seeds that are done here of those asked for.

    Args:
        runner: knows what is done, and how long the rest takes.
        tasks: all that was asked for, row by row.
        numbers: of the report, by row.
    """
    lines = [HEAD]
    total = 0.0
    for name, group in itertools.groupby(tasks, key=lambda task: task.row.name):
        mine = list(group)
        left = [runner.expected(task) for task in mine if not runner.is_done(task)]
        total += sum(left)
        known, unit = numbers[name], mine[0].row.unit
        number = f"{shown(known, unit)} {unit}" if known.values else "-"
        done = f"{len(mine) - len(left)}/{len(mine)}"
        lines.append((name, number, str(len(known.values)), done, f"about {spoken(sum(left))}" if left else "nothing"))
    lines.append(("all of these", "", "", "", f"about {spoken(total)}" if total else "nothing"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
