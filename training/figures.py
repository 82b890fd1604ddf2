"""Filters, maps and curves in, PNG pictures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

GAP = 1
"""Pixels between filters, before scaling."""


def filter_grid(filters: Tensor, scale: int = 4, columns: int | None = None) -> npt.NDArray[np.uint8]:
    """All filters in one picture, each scaled to its own contrast.

    Args:
        filters: (M, C, h, w) float; C of 1 is shown grey, C of 3 as colours.
        scale: screen pixels a filter pixel.
        columns: filters a row; by default as near to a square as possible.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: C is neither 1 nor 3.
    """
    filters = filters.detach().cpu()
    count, channels, height, width = filters.shape
    if channels not in (1, 3):
        raise ValueError(f"{channels} channels cannot be shown as a picture")
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    low = filters.amin((1, 2, 3), keepdim=True)
    span = (filters.amax((1, 2, 3), keepdim=True) - low).clamp(min=1e-12)
    tiles = ((filters - low) / span * 255).round().byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    grid = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 32, np.uint8)
    for index, tile in enumerate(tiles):
        top = GAP + index // columns * (height + GAP)
        left = GAP + index % columns * (width + GAP)
        grid[top : top + height, left : left + width] = tile
    return grid.repeat(scale, 0).repeat(scale, 1)


def save_filters(path: Path, filters: Tensor, scale: int = 4) -> None:
    """Write `filter_grid` as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(filter_grid(filters, scale)).save(path, optimize=True)


def save_curve(path: Path, steps: Sequence[int], values: Sequence[float], title: str, ylabel: str) -> None:
    """Write one curve over gradient steps as PNG."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, values, linewidth=1)
    axes.set(title=title, xlabel="gradient steps", ylabel=ylabel)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def save_panels(path: Path, panels: Mapping[str, Tensor]) -> None:
    """Write several pictures of tiles (T, C, h, w) side by side as PNG, each tile in its own contrast."""
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.6 * rows), layout="constrained")
    for index, (title, tiles) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, index)
        axes.imshow(filter_grid(tiles), interpolation="nearest")
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    figure.savefig(path, dpi=110)


@dataclass(frozen=True)
class Line:
    """One line of a diagram: points (x, y, deviation of y)."""

    label: str
    points: Sequence[tuple[float, float, float]]
    colour: int = 0
    """Number of its colour; lines of one system share it."""
    dashed: bool = False


def save_lines(path: Path, lines: Sequence[Line], xlabel: str, ylabel: str) -> None:
    """Write lines over a logarithmic axis of sizes as PNG; a deviation is drawn as an error bar."""
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.subplots()
    for line in lines:
        x, y, deviation = zip(*sorted(line.points), strict=True)
        style = "o--" if line.dashed else "o-"
        axes.errorbar(x, y, deviation, None, style, label=line.label, color=f"C{line.colour}", markersize=4, capsize=3)
    axes.set_xscale("log", base=2)
    ticks = sorted({point[0] for line in lines for point in line.points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=45 if len(ticks) > 7 else 0)
    axes.minorticks_off()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)  # inside, it would lie on six lines
    figure.savefig(path, dpi=110)
