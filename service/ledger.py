"""Observations noted now and counted later, many at a time.

The metrics library takes locks and walks through buckets in Python for each number. Between two requests the model has
emptied the processor's caches, so that counting a request's ten numbers one by one takes several times as long as
counting some hundred in a row.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import Metric

Record = Callable[[Any], object]
"""Counts what was noted: a counter's `inc`, a histogram's `observe`."""
_MOST_NOTES = 256
"""Then they are counted, whoever brought the last one: it takes a fraction of a millisecond."""


class Ledger:
    """Notes from any thread. A collector as well: registered first, it brings all others up to date when they are read.

    Nothing is counted twice, and nothing is lost but by the end of the process.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self._notes: deque[tuple[Record, Any]] = deque()

    def note(self, record: Record, value: object) -> None:
        """Keeps a value for `record`."""
        self._notes.append((record, value))
        if len(self._notes) >= _MOST_NOTES:
            self.settle()

    def settle(self) -> None:
        """Counts what was noted."""
        notes = self._notes
        while notes:
            try:
                record, value = notes.popleft()
            except IndexError:  # another thread took the last one
                return
            record(value)

    def collect(self) -> Iterable[Metric]:
        """Brings the instruments up to date; it has no samples of its own."""
        self.settle()
        return ()
