"""The files of a request → arrays, off the event loop wherever that is worth a change of thread."""

import asyncio
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

from service.errors import ImageFailure
from service.images import ImageError, ImageRule, UInt8Image, decode, is_small
from service.intake import File

_FILES_A_JOB = 8
"""Files that a thread takes at a time, at most, so that large requests leave gaps for small ones."""


async def decode_all(
    files: Sequence[File], rule: ImageRule, max_pixels: int, pool: Executor, threads: int
) -> tuple[dict[int, UInt8Image], list[ImageFailure]]:
    """Decodes the files of one request.

    Args:
        files: Whole image files; what is known to be none stays the failure that it is.
        rule: How the model wants its pixels.
        max_pixels: Pixels allowed in a file.
        pool: Where to decode.
        threads: How many threads that has.

    Returns:
        Arrays, uint8 (H, W, C), by the index of their file in ascending order; and what failed.
    """
    given_up = threading.Event()
    if len(files) == 1 and (isinstance(files[0], ImageFailure) or is_small(files[0])):
        # A change of thread and back costs as much as decoding a thumbnail, of which the interpreter holds most anyway.
        done = [_decode_some(rule, max_pixels, given_up, 0, files)]
    else:
        loop = asyncio.get_running_loop()
        job = partial(_decode_some, rule, max_pixels, given_up)
        size = max(1, min(_FILES_A_JOB, math.ceil(len(files) / threads)))
        starts = range(0, len(files), size)
        jobs = [loop.run_in_executor(pool, job, start, files[start : start + size]) for start in starts]
        try:
            done = await asyncio.gather(*jobs)
        finally:  # of a request that was given up, each thread ends the file that it is at, and begins no other
            given_up.set()
    decoded: dict[int, UInt8Image] = {}
    failures: list[ImageFailure] = []
    for index, outcome in (pair for outcomes in done for pair in outcomes):
        if isinstance(outcome, ImageFailure):
            failures.append(outcome)
        else:
            decoded[index] = outcome
    return decoded, failures


def _decode_some(
    rule: ImageRule, max_pixels: int, given_up: threading.Event, start: int, files: Sequence[File]
) -> list[tuple[int, UInt8Image | ImageFailure]]:
    """Decodes files, the first of which has the index `start`, until they are `given_up`."""
    outcomes: list[tuple[int, UInt8Image | ImageFailure]] = []
    for index, data in enumerate(files, start):
        if given_up.is_set():
            break
        if isinstance(data, ImageFailure):
            outcomes.append((index, data))
            continue
        try:
            outcomes.append((index, decode(data, rule, max_pixels)))
        except ImageError as error:
            outcomes.append((index, error.at(index)))
    return outcomes
