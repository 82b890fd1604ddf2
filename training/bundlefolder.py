"""A bundle's folder: filled out of sight, put in its place when it is whole, every file listed with its SHA-256."""

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ABANDONED_S = 3600.0
"""Seconds after which a folder that is being filled is taken for one that nobody fills any more."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `target` when the block has ended without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))  # nobody else's, whatever its number
    partial = hidden / target.name
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            target.rename(hidden / "old")
        partial.rename(target)
    finally:
        if (hidden / "old").exists() and not target.exists():  # interrupted between the two
            (hidden / "old").rename(target)
        shutil.rmtree(hidden, ignore_errors=True)
    for left in target.parent.glob(f".{target.name}.*"):  # halves that killed runs have left
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
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


def is_whole(folder: Path) -> bool:
    """Whether every file of a bundle is there and is as its manifest says."""
    try:
        files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
        return all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == fact["sha256"] for name, fact in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
