"""A function and its parts in, the parts done by as many threads as torch may use.

Each thread works alone on its share of a batch, from convolution to winners, with what it needs in its own core's
cache. Two pools that take turns on every operation (torch's and a compiler's) would spin against each other.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

_threads: int | None = None  # the count that `alone` has set aside


@contextmanager
def alone() -> Iterator[None]:
    """Leave the cores to `spread`: torch's own operations take one thread meanwhile.

    Small operations between large ones gain nothing from torch's pool, whose threads wait by spinning.
    """
    global _threads
    outer, threads = _threads, torch.get_num_threads()
    _threads = outer or threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _threads = outer
        torch.set_num_threads(threads)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in each of which torch computes alone."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "worker", initializer=torch.set_num_threads, initargs=(1,))
    started = threading.Barrier(threads)
    for ready in [pool.submit(started.wait) for _ in range(threads)]:
        ready.result()
    # what is set for one thread holds for matrix products of all of them
    torch.set_num_threads(before)
    return pool


def shares(count: int, parts: int) -> list[tuple[int, int]]:
    """The range 0 .. count cut into at most `parts` consecutive pieces that differ by one at most; none is empty."""
    parts = min(parts, count)
    return [(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def spread(
    work: Callable[[int, int], None], count: int, device: torch.device | None = None, *, pieces: int = 1
) -> None:
    """Call `work(start, stop)` on parts of 0 .. count, in as many threads as torch has; returns when all are done.

    On a GPU one call does it all: the device shares the work out itself.

    Args:
        work: must release the interpreter's lock while it computes, and write nothing that another part does.
        count: where the range ends.
        device: where the work is done; the processor by default.
        pieces: parts a thread, more than one where parts may differ in work.
    """
    if device is not None and device.type != "cpu":
        work(0, count)
        return
    threads = _threads or torch.get_num_threads()
    parts = shares(count, threads * pieces)
    if threads == 1 or len(parts) <= 1:
        for start, stop in parts:
            work(start, stop)
        return
    for done in [_pool(threads).submit(work, start, stop) for start, stop in parts]:
        done.result()
