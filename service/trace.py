"""What one request carries from edge to edge: its id, its clock, its stage, and the seconds each stage took."""

import random
import re
import time
from dataclasses import dataclass, field

from starlette.types import Scope

_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
KEY = "sca.trace"
"""Where a scope holds its trace."""
TIMED = ("decode", "queue", "infer", "encode")


@dataclass(slots=True)
class Trace:
    """A request's own record; every clock is monotonic, so a change of the wall clock expires nothing.

    Attributes:
        request_id: The client's own, if it sent a sane one.
        started: `time.monotonic()` at its headers.
        stage: Where it is now: upload, decode, queue or encode.
        seconds: Seconds by timed stage.
        model: Name of the loaded model it uses, once known.
        images: Images it brought, once known.
        reason: Why it was refused, if it was, as in `sca_rejected_total`.
    """

    request_id: str
    started: float = field(default_factory=time.monotonic)
    stage: str = "upload"
    seconds: dict[str, float] = field(default_factory=dict)
    model: str | None = None
    images: int = 0
    reason: str | None = None

    def server_timing(self) -> str:
        """Writes the `Server-Timing` value: milliseconds of every timed stage, 0 where none was spent."""
        decode, queue, infer, encode = [1000 * self.seconds.get(stage, 0.0) for stage in TIMED]
        return f"decode;dur={decode:.3f}, queue;dur={queue:.3f}, infer;dur={infer:.3f}, encode;dur={encode:.3f}"


def start_trace(scope: Scope) -> Trace:
    """Makes the trace of a request, with the client's `X-Request-Id` if it is short and plain, else a fresh one.

    A request that has a trace already keeps it.
    """
    if KEY in scope:
        return trace_of(scope)
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return Trace(value.decode())
    return fresh_trace()


def fresh_trace() -> Trace:
    """Makes a trace with an id of its own: a name, no secret.

    The system's random numbers would be as good, but asking for them lets another thread have the interpreter.
    """
    return Trace(f"{random.getrandbits(128):032x}")


def trace_of(scope: Scope) -> Trace:
    """Returns the trace that the edge put into the scope."""
    trace = scope[KEY]
    assert isinstance(trace, Trace)
    return trace
