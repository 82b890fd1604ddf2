"""A loop over numpy arrays in, a compiled one out."""

from typing import Any

import numba


def compiled(function: Any) -> Any:
    """Compile on the first call; kept on disk, so that a machine pays for it once.

    The interpreter's lock is not held meanwhile. Sums may be reordered, so that they use vector registers, but the
    order depends on nothing but the arrays' sizes.
    """
    return numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz"}, cache=True)(function)
