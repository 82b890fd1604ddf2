"""Under which conditions a number was measured: the machine, the libraries, the state of the code."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from training.reporting import processor

LIBRARIES = ("numba", "numpy", "onnxruntime", "torch")


def conditions(device: torch.device) -> dict[str, Any]:
    """As JSON types; equal for all that one process measures."""
    return {
        "machine": {
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        },
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in LIBRARIES},
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of this source tree, with `+` if it was changed; `SOURCE_COMMIT` says it for a tree without git."""
    if "SOURCE_COMMIT" in os.environ:
        return os.environ["SOURCE_COMMIT"]
    head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ":/training")
    return None if head is None else head + ("+" if changes else "")


def _git(*arguments: str) -> str | None:
    """What git says in this source tree; None where it says nothing."""
    try:
        said = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()
