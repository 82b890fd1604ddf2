"""What the command lines of all benchmarks share: values that are checked at once, and errors of one line.

A benchmark's last lines are `sys.exit(run(main))`. Whatever may be missing (data, a server, a program) raises one of
`EXPECTED` with a message for the person who started it.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from service.bench import positive_float as positive_float
from service.bundle import BundleError

EXPECTED: tuple[type[Exception], ...] = (
    OSError,
    RuntimeError,
    ValueError,
    subprocess.CalledProcessError,
    BundleError,
)
INTERRUPTED = 128 + signal.SIGINT


def run(main: Callable[[], int | None], *expected: type[Exception]) -> int:
    """Runs a benchmark, which SIGTERM or SIGHUP ends by an exception, so that it takes what it started with it.

    Args:
        main: Returns its exit status, or nothing.
        expected: What its libraries raise besides `EXPECTED`, for things that may happen.

    Returns:
        The exit status: 1 after an error, of which a message went to standard error; 130 after Ctrl-C.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _leave)
    caught = EXPECTED + expected
    try:
        return main() or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return INTERRUPTED
    except caught as error:
        print(f"error: {str(error) or repr(error)}", file=sys.stderr)
        return 1


def _leave(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what is started has to be ended in peace
    sys.exit(128 + number)


def positive_int(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def output_file(text: str) -> Path:
    """A path that can be written to, for argparse: found out before the hours and not after them."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder")
    if not path.exists() and not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written")
    return path
