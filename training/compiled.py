"""A plain loop in, the same loop as machine code out, where numba is installed."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

try:
    import numba
except ImportError:  # the torch kernels do the same, slower
    AVAILABLE = False
else:
    AVAILABLE = True

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

REORDER = frozenset({"reassoc", "contract", "nsz"})
"""What the compiler may do with sums: take sixteen at a time, and multiply and add in one."""


def compiled(fastmath: frozenset[str] = REORDER) -> Callable[[Kernel], Kernel]:
    """Compile a kernel on its first call; kept on disk, so that a machine pays for it once.

    The kernel runs without the interpreter's lock. Indices are not checked, and unsigned ones are cheapest: a signed
    one is tested for counting from the end, number by number, which keeps loops from being vectorised.

    Args:
        fastmath: the liberties that LLVM may take; empty for IEEE 754 to the letter.
    """

    def decorate(function: Kernel) -> Kernel:
        if not AVAILABLE:
            return function
        options: dict[str, Any] = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy"}
        try:
            kernel = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # there is no folder to keep it in; NUMBA_CACHE_DIR names one
            kernel = numba.njit(**options)(function)
        return cast(Kernel, kernel)

    return decorate
