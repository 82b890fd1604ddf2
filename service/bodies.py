"""How much memory the bodies of requests may take together, from their first byte until the request is over."""

from types import TracebackType

from service.errors import NoMemory


class Bodies:
    """The memory of all bodies; for one thread, the event loop's.

    The limits of a body and of images in the queue do not bound it: a body counts for the queue only once it is here
    and taken apart, and a connection that is slow holds what it has sent so far.
    """

    def __init__(self, most: int) -> None:
        """Takes the limit in bytes."""
        self.most = most
        self.held = 0

    def hold(self) -> "Hold":
        """Returns the share of a request, which is empty yet."""
        return Hold(self)


class Hold:
    """One request's share; given back at the end of its `with`."""

    def __init__(self, bodies: Bodies) -> None:
        """Belongs to `bodies`."""
        self._bodies = bodies
        self._held = 0

    def __enter__(self) -> "Hold":
        """Begins with nothing."""
        return self

    def add(self, size: int) -> None:
        """Takes so many bytes more.

        Raises:
            NoMemory: They are not there. Nothing waits for them: who holds the rest may wait, too.
        """
        bodies = self._bodies
        if bodies.held + size > bodies.most:
            detail = f"Request bodies already take {bodies.held} bytes of memory."
            raise NoMemory(detail, limit=bodies.most, actual=bodies.held + size)
        bodies.held += size
        self._held += size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives all of it back."""
        self._bodies.held -= self._held
        self._held = 0
