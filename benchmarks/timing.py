"""Functions in, their times out: taken in turns in one run, so that a noisy machine is noisy for all of them."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from training.reporting import processor


def alternate(functions: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median milliseconds of each function over `repeats` rounds, after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(repeats + 1):
        for name, function in functions.items():
            synchronise()
            started = time.perf_counter()
            function()
            synchronise()
            if round_:
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}


def synchronise() -> None:
    """Wait for the GPU, where there is one at work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine() -> str:
    """What the numbers were measured on."""
    return f"{torch.get_num_threads()} threads of {processor()}, torch {torch.__version__}"


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as a table for the terminal."""
    if not rows:
        return "(nothing)"
    cells = [[_cell(row[key]) for key in rows[0]] for row in rows]
    widths = [max(len(key), *(len(line[i]) for line in cells)) for i, key in enumerate(rows[0])]
    lines = ["  ".join(key.rjust(width) for key, width in zip(rows[0], widths, strict=True))]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def write_rows(path: Path | None, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON, if a path was given."""
    if path:
        path.write_text(json.dumps(rows, indent=2) + "\n")
