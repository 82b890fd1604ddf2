"""Memory for the rows of a run, which lasts until the answers that hold them are written, and is then used again.

Without it each row would be copied once more between the model and the socket: of a small image 131 kB of features.
docs/serving.md has what that is worth ("One copy less").
"""

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]

_MOST = 4
"""Arrays that are lent at a time: a run writes one, while the event loop sends what the runs before have written."""


def _references(arrays: Sequence[Float32Array], index: int) -> int:
    return sys.getrefcount(arrays[index])


_ALONE = _references([np.empty(0, np.float32)], 0)
"""Of an array that only a list refers to. A part of an array refers to the whole, and so does a buffer in a socket."""


class Loans:
    """Arrays for one output; one thread lends, and whichever thread drops the last reference gives back.

    A client that reads slowly keeps the rows of all that were in its run. So that many of them cannot keep any amount
    of memory, there are only so many arrays to lend; while all are out, rows are to be copied.
    """

    def __init__(self, row: tuple[int, ...]) -> None:
        """Takes the shape of a row."""
        self._row = row
        self._lent: list[Float32Array] = []
        self._scratch = self._new(0)

    def lend(self, count: int) -> Float32Array:
        """Returns room for some rows.

        Args:
            count: How many.

        Returns:
            float32 (count, …), uninitialised. Read-only for numpy if nobody else gets it as long as anything refers to
            it or to a part of it; writable if the next one may be the same memory.
        """
        for index in range(len(self._lent)):
            if _references(self._lent, index) == _ALONE:
                break
        else:
            if len(self._lent) == _MOST:
                if len(self._scratch) < count:
                    self._scratch = self._new(count)
                return self._scratch[:count]
            index = len(self._lent)
            self._lent.append(self._new(count))
        if len(self._lent[index]) < count:
            self._lent[index] = self._new(count)
        rows = self._lent[index][:count]
        rows.flags.writeable = False
        return rows

    def _new(self, count: int) -> Float32Array:
        return np.empty((count, *self._row), np.float32)


def lasting(rows: Float32Array) -> Float32Array:
    """Returns rows that nobody writes over: these, if they are such, or a copy."""
    return rows.copy() if rows.flags.writeable else rows
