"""The dynamic micro-batcher: images → rows; it knows arrays, waiters and a `run` callable, nothing of ONNX or HTTP.

A worker thread takes whatever waits as soon as its last run ends, up to `max_batch` images, so a batch forms while the
session is busy and nobody waits for a timer. The queue is counted in images, from admission (before decoding) to the
start of a run. Every waiter is told exactly once: rows or an error; or it leaves.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from service.backlog import Backlog
from service.batch import (
    Entry,
    Images,
    Outputs,
    Piece,
    Rows,
    UInt8Array,
    Waiter,
    assemble,
    halves,
    scatter,
    settle,
)
from service.errors import DeadlinePassed, Draining, InferenceFailed, Internal
from service.ticket import Ticket

logger = logging.getLogger(__name__)

Run = Callable[[UInt8Array, frozenset[str]], Outputs]
"""uint8 (N, H, W, C) and the names of the wanted outputs → float32 (N, …) by name."""
OnBatch = Callable[[int, Sequence[float], float], None]
"""Images in the batch, seconds that each request new in it waited, seconds of the run; called in a worker thread."""


class Batcher:
    """Collects single requests into batches for one model."""

    def __init__(
        self,
        run: Run,
        shape: tuple[int, int, int],
        *,
        max_batch: int,
        queue_images: int,
        max_wait_s: float = 0.0,
        runs: int = 1,
        on_batch: OnBatch = lambda images, waits_s, run_s: None,
    ) -> None:
        """Starts the worker threads.

        Args:
            run: Computes a batch; called in worker threads, never with more than `max_batch` images.
            shape: (H, W, C) of one image.
            max_batch: Images in a run, at most.
            max_wait_s: Seconds that a batch waits for company, counted from its first image; 0 never waits.
            queue_images: Images admitted and not yet in a run, at most.
            runs: Runs at a time, one worker thread each.
            on_batch: Told about every batch that succeeded.
        """
        self._run, self._shape = run, shape
        self._max_batch, self._max_wait_s = max_batch, max_wait_s
        self._on_batch = on_batch
        self._wake = threading.Condition()
        self._backlog = Backlog(queue_images)
        self._busy_since: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"batcher-{worker}", daemon=True)
            for worker in range(runs)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Images admitted and not yet in a run."""
        return self._backlog.waiting

    @property
    def limit(self) -> int:
        """Images that may wait, at most."""
        return self._backlog.limit

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not (self._backlog.waiting or self._busy_since)

    def alive(self, longest_run_s: float) -> bool:
        """Tells whether every worker thread lives and none has been in one run for longer than this."""
        oldest = min(self._busy_since.copy().values(), default=time.monotonic())
        return all(thread.is_alive() for thread in self._threads) and time.monotonic() - oldest <= longest_run_s

    def admit(self, images: int) -> Ticket:
        """Takes room in the queue before any work is done for a request.

        Raises:
            QueueFull: The images do not fit now.
            Draining: The batcher is closed.
        """
        with self._wake:
            self._backlog.check_room(images)
            self._backlog.reserved += images
        return Ticket(images, self._release, self._put, self.drop)

    def check_room(self) -> None:
        """Raises what `admit` would for one image, now; without the lock, since `offer` and `admit` ask again."""
        self._backlog.check_room(1)

    def offer(self, images: Images, wants: frozenset[str], deadline: float, waiter: Waiter) -> Entry:
        """Admits and queues images that are decoded; see `admit` and `Ticket.submit`."""
        entry = Entry(images, wants, deadline, waiter)
        with self._wake:
            self._backlog.check_room(entry.count)
            self._queue(entry)
        return entry

    async def submit(self, images: Images, wants: frozenset[str], deadline: float = float("inf")) -> Rows:
        """Admits and submits in one go; see `Ticket.submit`."""
        with self.admit(len(images)) as ticket:
            return await ticket.submit(images, wants, deadline)

    def close(self, timeout_s: float = 5.0) -> None:
        """Ends what is still queued with `Draining`, lets running batches finish, and stops the threads."""
        with self._wake:
            left = self._backlog.close()
            self._wake.notify_all()
        settle([(entry, Draining()) for entry in left])
        for thread in self._threads:
            thread.join(timeout_s)

    def _release(self, images: int) -> None:
        with self._wake:
            self._backlog.reserved -= images

    def drop(self, entry: Entry) -> None:
        """Ends an entry that nobody waits for any more: its room is free at once, its images are skipped."""
        with self._wake:
            self._backlog.forget(entry)

    def _put(self, entry: Entry) -> None:
        with self._wake:
            # The ticket's room becomes the entry's, so `waiting` does not move.
            self._backlog.reserved -= entry.count
            if self._backlog.closed:
                raise Draining()
            self._queue(entry)

    def _queue(self, entry: Entry) -> None:
        """Appends an entry; needs the lock."""
        self._backlog.append(entry)
        self._wake.notify()

    def _work(self, worker: int) -> None:
        """Runs batches until closed."""
        buffer = np.empty((self._max_batch, *self._shape), np.uint8)
        while True:
            with self._wake:
                pieces, late = self._next_batch()
                self._busy_since[worker] = time.monotonic()
            settle([(entry, DeadlinePassed("The deadline passed in the queue.")) for entry in late])
            if pieces:
                self._run_pieces(pieces, buffer, may_halve=True)
            elif not late:
                return
            # Otherwise the last batch's rows would live until the next one.
            del pieces, late
            self._busy_since.pop(worker, None)

    def _next_batch(self) -> tuple[list[Piece], list[Entry]]:
        """Waits for images and takes a batch of them; needs the lock. Two empty lists mean closed."""
        while not self._backlog.closed:
            if not self._backlog.queued:
                self._wake.wait()
                continue
            patience = self._backlog.first().since + self._max_wait_s - time.monotonic()
            if self._backlog.queued < self._max_batch and patience > 0:
                self._wake.wait(patience)
                continue
            return self._take()
        return [], []

    def _take(self) -> tuple[list[Piece], list[Entry]]:
        """Takes up to `max_batch` images; needs the lock.

        With several workers each takes its share of what waits, and not all of it: another will be free before this
        one is, and should not find an empty queue.
        """
        share = math.ceil(self._backlog.queued / len(self._threads))
        taken = self._backlog.take(min(self._max_batch, share))
        if self._backlog.queued:
            self._wake.notify()
        return taken

    def _run_pieces(self, pieces: list[Piece], buffer: UInt8Array, may_halve: bool) -> None:
        """Runs one batch and ends the entries it completes; a failed batch is tried once more in two halves."""
        try:
            images = sum(piece.stop - piece.start for piece in pieces)
            wants = frozenset[str]().union(*(piece.entry.wants for piece in pieces))
            batch = assemble(pieces, buffer)
            started = time.monotonic()
            outputs = self._run(batch, wants)
            seconds = time.monotonic() - started
            if any(len(rows) != images for rows in outputs.values()):
                raise RuntimeError(f"the run answered {images} images with other than {images} rows")
            # Before anybody is told: who reads the metrics after an answer finds its batch among them.
            self._on_batch(images, [piece.entry.queue_s for piece in pieces if piece.start == 0], seconds)
            with self._wake:
                finished = scatter(pieces, outputs, seconds)
            settle(finished)
        # Whatever a run may raise must reach its owners and must not end the thread, or all callers would hang.
        except Exception as error:
            halved = halves(pieces) if may_halve else []
            logger.warning("batch failed%s", "; trying halves" if halved else "", exc_info=error)
            for half in halved:
                self._run_pieces(half, buffer, may_halve=False)
            if not halved:
                self._fail(pieces, error)

    def _fail(self, pieces: list[Piece], error: Exception) -> None:
        """Ends the entries of a failed batch, and only those."""
        with self._wake:
            entries = [piece.entry for piece in pieces if not piece.entry.ended]
            for entry in entries:
                self._backlog.forget(entry)
        # One error object a waiter: a raised exception collects the traceback of whoever awaits it.
        settle(
            [(e, InferenceFailed(str(error)) if isinstance(error, InferenceFailed) else Internal()) for e in entries]
        )
