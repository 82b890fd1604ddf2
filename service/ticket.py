"""A request's room in a model's queue, held from admission until its images are submitted."""

import asyncio
from collections.abc import Callable

from service.batch import Entry, Images, Rows


class Ticket:
    """Room for images that are still being decoded; leaving the `with` gives back what was not submitted."""

    def __init__(
        self, images: int, release: Callable[[int], None], put: Callable[[Entry], None], drop: Callable[[Entry], None]
    ) -> None:
        """Takes over room for this many images.

        Args:
            images: How many.
            release: Gives room back unused.
            put: Queues an entry, which takes its images' room over.
            drop: Ends a queued entry that nobody waits for any more; one that ended already stays as it is.
        """
        self._images = images
        self._release = release
        self._put = put
        self._drop = drop

    def __enter__(self) -> "Ticket":
        """Returns the ticket."""
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the room back that no submitted image took over."""
        self._give_back(self._images)

    def _give_back(self, images: int) -> None:
        self._images -= images
        if images:
            self._release(images)

    async def submit(self, images: Images, wants: frozenset[str], deadline: float = float("inf")) -> Rows:
        """Queues images of this ticket, and waits for their rows.

        Args:
            images: uint8 (H, W, C) each, or one uint8 (N, H, W, C); no more than the ticket has room for.
            wants: Names of the outputs to compute.
            deadline: `time.monotonic()` after which nobody needs them.

        Raises:
            ServiceError: The run failed, the deadline passed, or the batcher is closed.
        """
        if not 0 < len(images) <= self._images:
            raise ValueError(f"{len(images)} images on a ticket for {self._images}")
        rows: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        entry = Entry(images, wants, deadline, rows)
        self._give_back(self._images - len(images))
        self._images = 0
        self._put(entry)
        try:
            return await rows
        finally:
            # Only matters if the owner was cancelled: its room is free at once, its images are skipped.
            self._drop(entry)
