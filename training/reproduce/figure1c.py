"""The points of Figure 1 (c) in, its diagram and its table out."""

from collections.abc import Mapping
from pathlib import Path

from training import figures
from training.reproduce.catalogue.figures import IMAGES, POINTS, SYSTEMS
from training.reproduce.markdown import shown, table
from training.reproduce.numbers import Numbers

SERIES = tuple((system, images) for system in SYSTEMS for images in IMAGES)


def draw(path: Path, numbers: Mapping[str, Numbers]) -> None:
    """Write the diagram of all points that are known, if there are any."""
    lines, colours = [], list(SYSTEMS)
    for series in SERIES:
        points = []
        for point in POINTS:
            known = numbers[point.row]
            if (point.system, point.images) == series and known.mean is not None:
                points.append((float(point.maps), known.mean, known.deviation or 0.0))
        if points:
            system, images = series
            lines.append(figures.Line(f"{SYSTEMS[system]}, {images}", points, colours.index(system), images == "raw"))
    if lines:
        figures.save_lines(path, lines, "feature maps", "CIFAR-10 test accuracy, %")


def section(path: str, numbers: Mapping[str, Numbers]) -> str:
    """The diagram, and the points as a table: a line a number of maps, a column a system."""
    known = {(point.system, point.images, point.maps): numbers[point.row] for point in POINTS}
    lines = [
        [str(maps), *(shown(known[(*one, maps)], "%") if (*one, maps) in known else "" for one in SERIES)]
        for maps in sorted({point.maps for point in POINTS})
    ]
    grid = table(("maps", *(f"{SYSTEMS[system]}, {images}" for system, images in SERIES)), lines)
    drawn = any(point.values for point in known.values())
    return f"![Accuracy over the number of maps]({path})\n\n{grid}" if drawn else grid
