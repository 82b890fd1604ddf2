"""Imports in; one line and the exit status 1 out, where a package that training needs is not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

NEEDED = "training needs more packages: pip install '.[training]'"


@contextmanager
def installed() -> Iterator[None]:
    """Import what a program needs in here: the service's environment has no torch, and a traceback would not say so."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "training":  # a fault of ours
            raise
        sys.exit(f"error: {NEEDED}")
