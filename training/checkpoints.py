"""Named arrays in, a file that is either whole or absent out; and back. No pickle."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when it is whole and on disk; it is gone if it never is."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a crash."""
    with _replacing(path) as sink:
        sink.write(data)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented, atomically."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def save(path: Path, arrays: Mapping[str, Tensor | npt.NDArray[Any]]) -> None:
    """Write named arrays as `.npz`, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as sink:
        plain: dict[str, Any] = {k: v.detach().cpu().numpy() if isinstance(v, Tensor) else v for k, v in arrays.items()}
        np.savez(sink, allow_pickle=False, **plain)


def load(path: Path) -> dict[str, Tensor]:
    """Read named arrays written by `save`."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: torch.from_numpy(np.array(archive[name])) for name in archive.files}
