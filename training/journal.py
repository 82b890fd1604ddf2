"""Scalars, events and pictures of a run in; a JSON-lines log and TensorBoard files out."""

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from training import parallel


class Journal:
    """The log of one run: one JSON object a line in `log.jsonl`, and the same in TensorBoard's format.

    Of a job's processes only the first writes; to the others it is silent.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.prefix = ""
        """Put before each scalar's name, for example `layer1/`."""
        self.silent = not parallel.is_first()
        if self.silent:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "log.jsonl"
        self._file = self._path.open("a", buffering=1, encoding="utf-8")
        if self._file.tell() and not self._path.read_bytes().endswith(b"\n"):
            self._file.write("\n")  # an earlier attempt was cut off in the middle of a line
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only a run needs it

        self._board = SummaryWriter(folder / "tensorboard")

    def __enter__(self) -> Self:
        """Use as a context, so that nothing logged is lost."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush and close."""
        if self.silent:
            return
        self._file.close()
        self._board.close()

    def event(self, event: str, **fields: Any) -> None:
        """Log that something happened."""
        if self.silent:
            return
        record = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **fields}
        self._file.write(json.dumps(record) + "\n")

    def warn(self, message: str) -> None:
        """Log a warning and show it above the progress bar."""
        self.event("warning", message=message)
        if not self.silent:
            tqdm.write(f"warning: {message}", file=sys.stderr)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log numbers of one step."""
        self.event("scalars", step=step, **{self.prefix + name: value for name, value in values.items()})
        if self.silent:
            return
        for name, value in values.items():
            self._board.add_scalar(self.prefix + name, value, step)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values logged under a name, also by earlier attempts; a step logged twice counts once."""
        points: dict[int, float] = {}
        if self.silent:
            return [], []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # cut off, as above
                continue
            if record["event"] == "scalars" and name in record:
                points[record["step"]] = record[name]
        steps = sorted(points)
        return steps, [points[step] for step in steps]

    def last(self, name: str) -> float | None:
        """The newest value logged under a name; None if there is none."""
        values = self.series(name)[1]
        return values[-1] if values else None

    def picture(self, name: str, pixels: npt.NDArray[np.uint8]) -> None:
        """Log a picture, uint8 (H, W, 3)."""
        if self.silent:
            return
        self._board.add_image(name, cast(Any, pixels), dataformats="HWC")
