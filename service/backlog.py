"""What waits for a model: images in the order in which they came, counted from admission to the start of a run."""

import time
from collections import deque

from service.batch import Entry, Piece
from service.errors import Draining, QueueFull


class Backlog:
    """A queue of entries under a limit, counted in images; whoever calls holds the batcher's lock.

    Attributes:
        limit: Images that may wait, at most.
        queued: Images of entries.
        reserved: Images of requests that are still being decoded.
        closed: Whether nothing more may come in.
    """

    def __init__(self, limit: int) -> None:
        """Starts empty."""
        self.limit = limit
        self.queued = 0
        self.reserved = 0
        self.closed = False
        self._entries: deque[Entry] = deque()

    @property
    def waiting(self) -> int:
        """Images admitted and not yet in a run."""
        return self.queued + self.reserved

    def check_room(self, images: int) -> None:
        """Refuses images that do not fit now.

        Raises:
            QueueFull: There is no room for them.
            Draining: Nothing more may come in.
        """
        if self.closed:
            raise Draining()
        waiting = self.waiting
        if waiting + images > self.limit:
            hint = "" if images <= self.limit else " It never will: send fewer images at once."
            raise QueueFull(
                f"The queue holds {waiting} images and has no room for {images} more.{hint}",
                limit=self.limit,
                actual=waiting + images,
            )

    def append(self, entry: Entry) -> None:
        """Queues an entry, for which there is room."""
        self.queued += entry.left
        self._entries.append(entry)

    def first(self) -> Entry:
        """Returns the entry that is next; there must be one."""
        return next(entry for entry in self._entries if not entry.ended)

    def take(self, room: int) -> tuple[list[Piece], list[Entry]]:
        """Takes up to `room` images, in turns: what is left of a large entry goes to the back of the queue.

        Returns:
            What to compute, and entries whose deadline has passed.
        """
        pieces: list[Piece] = []
        late: list[Entry] = []
        now = time.monotonic()
        while room and self.queued:
            entry = self._entries.popleft()
            if entry.ended:
                continue
            if entry.deadline <= now:
                self.forget(entry)
                late.append(entry)
                continue
            start = entry.count - entry.left
            if start == 0:
                entry.queue_s = now - entry.since
            count = min(room, entry.left)
            pieces.append(Piece(entry, entry.images, start, start + count))
            entry.left -= count
            self.queued -= count
            room -= count
            if entry.left:
                self._entries.append(entry)
        return pieces, late

    def forget(self, entry: Entry) -> None:
        """Ends an entry: no image of it will enter another run."""
        if not self.closed:
            self.queued -= entry.left
        entry.left = 0
        entry.ended = True
        entry.images = ()

    def close(self) -> list[Entry]:
        """Lets nothing more in; returns what is still queued."""
        self.closed = True
        left = [entry for entry in self._entries if not entry.ended]
        self.queued = 0
        self._entries.clear()
        return left
