"""One batch: pieces of waiting requests → one uint8 tensor; its rows → back to the requests they belong to."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from service.loans import lasting

UInt8Array = NDArray[np.uint8]
Images = Sequence[UInt8Array] | UInt8Array
Outputs = dict[str, NDArray[np.float32]]


class Rows(NamedTuple):
    """What a request gets back.

    Attributes:
        outputs: float32 (N, …) by output name, in the order of the request's images.
        queue_s: Seconds from submission to the start of the first run.
        infer_s: Seconds spent in runs that held this request's images.
    """

    outputs: Outputs
    queue_s: float
    infer_s: float


class Waiter(Protocol):
    """Who waits for rows: a future, or what does as much of one as is needed here, in the thread of its loop."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Returns the loop in whose thread the other methods are called."""

    def done(self) -> bool:
        """Tells whether it waits no more."""

    def set_result(self, result: Rows, /) -> None:
        """Takes the rows."""

    def set_exception(self, exception: Exception, /) -> None:
        """Takes what went wrong."""


@dataclass(slots=True, eq=False)
class Entry:
    """One submitted request; guarded by the batcher's lock, except the waiter, which only its own loop touches.

    Attributes:
        images: uint8 (H, W, C) each, or one uint8 (N, H, W, C).
        wants: Names of the outputs to compute.
        deadline: `time.monotonic()` after which nobody needs them.
        waiter: Who is told.
        since: `time.monotonic()` of submission.
        left: Images that are not yet in a run.
        done: Images that have rows.
        ended: Nothing more may happen to it: its end is on the way, or its owner left.
        parts: Rows so far, by the index of their first image.
    """

    images: Images
    wants: frozenset[str]
    deadline: float
    waiter: Waiter
    count: int = field(init=False)
    left: int = field(init=False)
    done: int = 0
    ended: bool = False
    queue_s: float = 0.0
    infer_s: float = 0.0
    parts: dict[int, Outputs] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Counts the images, which may be dropped later."""
        self.count = self.left = len(self.images)


class Piece(NamedTuple):
    """Images start…stop of an entry, which is how an entry larger than a batch is split."""

    entry: Entry
    images: Images
    start: int
    stop: int


def assemble(pieces: Sequence[Piece], buffer: UInt8Array) -> UInt8Array:
    """Brings the pieces' images together: the only copy between a decoded image and the session.

    Args:
        pieces: What the batch is made of, in order.
        buffer: uint8 (max_batch, H, W, C) to copy into.

    Returns:
        uint8 (N, H, W, C), C-contiguous: a part of `buffer`, or the caller's own array where that needs no copy.
    """
    only = pieces[0]
    if len(pieces) == 1 and isinstance(only.images, np.ndarray) and only.images.flags.c_contiguous:
        return only.images[only.start : only.stop]
    position = 0
    for piece in pieces:
        for index in range(piece.start, piece.stop):
            buffer[position] = piece.images[index]
            position += 1
    return buffer[:position]


def scatter(pieces: Sequence[Piece], outputs: Outputs, seconds: float) -> list[tuple[Entry, Rows]]:
    """Gives the rows of a batch to their entries; returns the entries that are complete now."""
    finished = []
    position = 0
    for entry, _, start, stop in pieces:
        rows = slice(position, position + stop - start)
        position = rows.stop
        if entry.ended:
            continue
        entry.parts[start] = {name: lasting(outputs[name][rows]) for name in entry.wants}
        entry.infer_s += seconds
        entry.done += stop - start
        if entry.done == entry.count:
            entry.ended = True
            finished.append((entry, Rows(_joined(entry), entry.queue_s, entry.infer_s)))
    return finished


def _joined(entry: Entry) -> Outputs:
    parts = [entry.parts[start] for start in sorted(entry.parts)]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in entry.wants}


def halves(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Splits a batch into two of nearly equal size, order kept; a batch of one image has no halves."""
    total = sum(piece.stop - piece.start for piece in pieces)
    if total < 2:
        return []
    first: list[Piece] = []
    second: list[Piece] = []
    room = total // 2
    for piece in pieces:
        cut = min(piece.stop, piece.start + room)
        room -= cut - piece.start
        if cut > piece.start:
            first.append(piece._replace(stop=cut))
        if cut < piece.stop:
            second.append(piece._replace(start=cut))
    return [first, second]


def settle(ends: Sequence[tuple[Entry, Rows | Exception]]) -> None:
    """Tells the waiters of entries from another thread, with one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Waiter, Rows | Exception]]] = {}
    for entry, end in ends:
        by_loop.setdefault(entry.waiter.get_loop(), []).append((entry.waiter, end))
    for loop, pairs in by_loop.items():
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_end, pairs)


def _end(pairs: Sequence[tuple[Waiter, Rows | Exception]]) -> None:
    for waiter, end in pairs:
        if waiter.done():  # its owner was cancelled
            continue
        if isinstance(end, Exception):
            waiter.set_exception(end)
        else:
            waiter.set_result(end)
