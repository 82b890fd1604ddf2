"""Readers of the deployment's files, as fixtures."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# PyYAML has no types of its own, and one reader is not worth a stub package.
_yaml = importlib.import_module("yaml")

Loader = Callable[[str], Any]


@pytest.fixture(scope="session")
def load_yaml() -> Loader:
    """Reads a file of one YAML document, named from the project's root."""
    return lambda name: _yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT
