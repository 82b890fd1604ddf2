"""A bundle's folder: filled out of sight, put in its place when it is whole, every file listed with its SHA-256."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `target` when the block has ended without an error."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if target.exists():
            target.rename(target.with_name(f".{target.name}.old.{os.getpid()}"))
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for left in target.parent.glob(f".{target.name}.*"):  # the old bundle, and halves that a killed run has left
        shutil.rmtree(left, ignore_errors=True)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `manifest.json`: these facts, and SHA-256 and size of every other file that is there."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
    text = json.dumps({**facts, "files": files}, indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
