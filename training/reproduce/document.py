"""Rows and their numbers in, the report out: `paper.md`, `paper.json`, and the pictures beside them."""

import json
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training import checkpoints
from training.reproduce import figure1c, provenance
from training.reproduce.catalogue.figures import POINTS
from training.reproduce.jobs.filters import PICTURE
from training.reproduce.markdown import row_table
from training.reproduce.numbers import Json, Numbers, collect, to_json
from training.reproduce.rows import Row
from training.reproduce.store import Store, slug
from training.reproduce.text import HEAD, SECTIONS

WIDTH = 120
FIGURES = "paper"
"""Folder of the pictures, beside the report."""
FIGURE_1C = f"{FIGURES}/figure-1c.png"


@dataclass(frozen=True)
class Report:
    """Writes the report.

    Attributes:
        rows: all of them, in order.
        store: finished numbers.
        docs_dir: the folder that it goes to.
    """

    rows: Sequence[Row]
    store: Store
    docs_dir: Path

    @property
    def path(self) -> Path:
        """The numbers as JSON."""
        return self.docs_dir / "paper.json"

    def numbers(self, pictures: Mapping[str, str] | None = None) -> dict[str, Numbers]:
        """What is known of each row: on this machine, and in an earlier report; with paths of new pictures, by row."""
        before: list[Json] = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else []
        return collect(self.rows, self.store, {row["row"]: row for row in before}, pictures or {})

    def write(self) -> None:
        """Bring the report up to date; numbers that an earlier one has, and this machine has not, stay in it."""
        self.docs_dir.mkdir(parents=True, exist_ok=True)
        numbers = self.numbers(self._pictures())
        figure1c.draw(self.docs_dir / FIGURE_1C, numbers)
        checkpoints.write_json(self.path, [to_json(row, numbers[row.name]) for row in self.rows])
        text = self.text(numbers)
        checkpoints.write_bytes(self.docs_dir / "paper.md", text.encode())

    def _pictures(self) -> dict[str, str]:
        """Copy the pictures of finished jobs; their paths, by row."""
        found = {}
        for row in self.rows:
            if (job := row.job) is None:
                continue
            for seed in self.store.seeds(row, job):
                source = self.store.folder(row, job, seed) / PICTURE
                if source.exists():
                    found[row.name] = f"{FIGURES}/{slug(row.name)}.png"
                    (self.docs_dir / FIGURES).mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, self.docs_dir / found[row.name])
                    break
        return found

    def text(self, numbers: Mapping[str, Numbers]) -> str:
        """The page."""
        parts = [HEAD]
        for section, (title, words) in SECTIONS.items():
            rows = [row for row in self.rows if row.section == section]
            if not rows:
                continue
            parts += [f"## {title}", textwrap.fill(words, WIDTH, break_on_hyphens=False)]
            if section == "figure 1":
                parts.append(figure1c.section(FIGURE_1C, numbers))
                points = {point.row for point in POINTS}
                rows = [row for row in rows if row.name not in points]
            parts.append(row_table(rows, numbers) if rows else "")
            parts += [
                f"![{row.system.strip('*')}]({known.picture})"
                for row in rows
                if (known := numbers[row.name]).picture is not None
            ]
        parts.append(provenance.section(self.rows, numbers))
        return "\n\n".join(part.strip() for part in parts if part) + "\n"
