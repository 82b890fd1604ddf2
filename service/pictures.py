"""Pictures are drawn one at a time, in a thread of their own: they must not keep images from being decoded."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from service.errors import QueueFull

MOST_WAITING = 8
"""Pictures that may wait or be drawn; a large one takes half a second and a hundred megabytes meanwhile."""


class Pictures:
    """The thread, and how many are waiting for it."""

    def __init__(self) -> None:
        """Starts no thread before there is something to draw."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._waiting = 0

    async def draw(self, work: Callable[[], bytes]) -> bytes:
        """Draws one; who is cancelled while it waits is not drawn at all.

        Raises:
            QueueFull: Too many wait.
        """
        if self._waiting >= MOST_WAITING:
            detail = f"{MOST_WAITING} pictures are waiting to be drawn."
            raise QueueFull(detail, limit=MOST_WAITING)
        self._waiting += 1
        loop = asyncio.get_running_loop()
        drawn = self._pool.submit(work)
        drawn.add_done_callback(lambda _: self._finished(loop))
        return await asyncio.wrap_future(drawn)

    def _finished(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called in the thread that draws, or in the loop's if a picture is cancelled before."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and nobody counts any more
            loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Draws nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
