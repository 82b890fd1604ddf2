"""The processes of one `torchrun` job: who does which share of the work, and sums over all of them.

Without torchrun there is one process, and every function here does nothing but return.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


def rank() -> int:
    """This process's number, from 0; the first one writes files and talks to the user."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this process writes files and shows progress."""
    return rank() == 0


@contextmanager
def job() -> Iterator[None]:
    """Join the other processes that torchrun has started, if it has."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    distributed.init_process_group("gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def share(start: int, stop: int) -> tuple[int, int]:
    """This process's consecutive part of the range start .. stop; sizes differ by one at most."""
    count = stop - start
    return start + count * rank() // world(), start + count * (rank() + 1) // world()


def sum_(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over all processes; returns it."""
    if world() > 1:
        distributed.all_reduce(tensor)
    return tensor


def total(count: int) -> int:
    """The sum of a number over all processes."""
    return int(sum_(torch.tensor(count))) if world() > 1 else count


def concatenate(rows: Tensor) -> Tensor:
    """All processes' rows below each other, in the order of their numbers, on every one of them."""
    if world() == 1:
        return rows
    counts = torch.zeros(world(), dtype=torch.int64)
    counts[rank()] = len(rows)
    ends = sum_(counts).cumsum(0)
    out = rows.new_zeros(int(ends[-1]), *rows.shape[1:])
    out[int(ends[rank()]) - len(rows) : int(ends[rank()])] = rows
    return sum_(out)


def wait() -> None:
    """Until all processes are here: what the first one wrote is then there for the others."""
    if world() > 1:
        distributed.barrier()
