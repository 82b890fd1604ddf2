"""What an answer of `/features` holds: rows of numbers, their type, where they come from, and what failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

DType = Literal["float32", "float16"]
Rows = NDArray[np.float32] | NDArray[np.float16]

DEFAULT_OUTPUT = "features"


@dataclass(frozen=True, slots=True)
class Vectors:
    """What is to be written; every format carries the same numbers, to the bit.

    Attributes:
        model: Name of the model that computed them.
        version: Its version.
        output: Name of the model's output that they are.
        rows: float32 or float16 (N, D), little-endian, C-contiguous.
        indices: Place in the request of each row, where single images may fail; None if none may.
        errors: The failed images, as in a problem's `errors`.
        base64: In JSON, writes each row as base64 of its little-endian numbers in the place of the list.
    """

    model: str
    version: str
    output: str
    rows: Rows
    indices: Sequence[int] | None = None
    errors: Sequence[dict[str, Any]] = ()
    base64: bool = False

    @property
    def dtype(self) -> DType:
        """Name of the numbers' type; numpy makes it up anew each time, which takes longer than all the rest here."""
        return "float32" if self.rows.dtype == np.float32 else "float16"

    @property
    def source(self) -> str:
        """Model, version and output as `name/version/output`, for formats with a place for text beside the numbers."""
        return f"{self.model}/{self.version}/{self.output}"


def as_rows(computed: NDArray[np.float32], dtype: DType) -> Rows:
    """Brings computed rows into the type that was asked for.

    Args:
        computed: float32 (N, D).
        dtype: float16 rounds to nearest even (IEEE 754); beyond ±65504 that is an infinity.

    Returns:
        (N, D), little-endian, C-contiguous; the same array where nothing has to change.
    """
    if dtype == "float32":
        return np.ascontiguousarray(computed, "<f4")
    with np.errstate(over="ignore"):  # an infinity is the answer here, and no reason to warn
        return np.ascontiguousarray(computed, "<f2")
