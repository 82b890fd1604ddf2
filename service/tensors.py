"""Feature vectors → safetensors: dense, or compressed sparse rows for vectors that are mostly zeros.

Sparse rows travel in safetensors too, and not in scipy's `.npz`: it is one header and raw arrays, without a zip archive
and its checksums, read in many languages without pickle, and by the same reader as the dense form.
"""

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from service.vectors import Vectors

_MAX_INT32 = 2**31 - 1


def write_safetensors(vectors: Vectors) -> bytes:
    """Writes one tensor, `features` (N, D), float32 or float16; the metadata name its `source`."""
    tensors: dict[str, NDArray[np.generic]] = {"features": vectors.rows}
    return _saved(tensors, vectors)


def write_csr(vectors: Vectors) -> bytes:
    """Writes the rows in compressed sparse row form, as scipy's `csr_array((data, indices, indptr), shape)` takes it.

    The tensors are `indptr` (N + 1) and `indices` (a stored number each), int32 while that suffices, else int64;
    `data`; and `shape` (2), int64. What is left out is +0.0 and nothing else, so that nothing is lost.
    """
    rows = vectors.rows
    # By its bits: -0.0 equals zero and is not the same number.
    stored = rows.view(np.uint32 if rows.dtype == np.float32 else np.uint16) != 0
    counts = np.count_nonzero(stored, axis=1)
    index = np.int32 if max(rows.shape[1], int(counts.sum())) <= _MAX_INT32 else np.int64
    indptr = np.zeros(len(rows) + 1, index)
    np.cumsum(counts, out=indptr[1:])
    indices = np.concatenate([np.flatnonzero(row) for row in stored]).astype(index)
    shape = np.array(rows.shape, np.int64)
    return _saved({"indptr": indptr, "indices": indices, "data": rows[stored], "shape": shape}, vectors)


def _saved(tensors: dict[str, NDArray[np.generic]], vectors: Vectors) -> bytes:
    """Adds `index` (N), int64, each row's place in the request, where single images may fail, and serialises."""
    if vectors.indices is not None:
        tensors["index"] = np.asarray(vectors.indices, np.int64)
    # One entry and no more: the library writes several in random order, and equal answers should be equal bytes.
    return save(tensors, {"source": vectors.source})
