"""A folder of bundles of one name in: what the service takes from it, and whether another bundle may go there."""

import json
from pathlib import Path
from typing import Any

from training.splits import Dataset


class PlaceError(RuntimeError):
    """Under this name there is a model of other images."""


def _versions(bundles: Path) -> list[int]:
    """The versions that have a manifest, the highest first, as the service looks for them."""
    found = (manifest.parent.name for manifest in bundles.glob("*/manifest.json"))
    return sorted((int(name) for name in found if name.isdecimal()), reverse=True)


def refuse_other(bundles: Path, dataset: Dataset) -> None:
    """Keep a run from taking the place of a model of other images, which the service would no longer serve.

    Args:
        bundles: the folder of the versions, `<models>/<name>`.
        dataset: what the run learns from.

    Raises:
        PlaceError: the highest version there is of another data set, or has other labels.
    """
    for version in _versions(bundles)[:1]:
        bundle = bundles / str(version)
        try:
            facts: dict[str, Any] = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
            there = facts["dataset"], list(facts["labels"])
        except (OSError, ValueError, KeyError, TypeError):  # no whole bundle: nothing that could be served
            return
        if there != (dataset.name, list(dataset.label_names)):
            raise PlaceError(
                f"{bundle} holds a model of {_described(*there)}, not of "
                f"{_described(dataset.name, list(dataset.label_names))}: give another --name or --models-dir"
            )


def _described(name: str, labels: list[str]) -> str:
    some = ", ".join(map(str, labels[:3])) + (", …" if len(labels) > 3 else "")
    return f"{name} ({len(labels)} labels: {some})"


def announcement(bundle: Path) -> str | None:
    """Which version the service takes from its next start on; None where there is only this one.

    Args:
        bundle: the new bundle's folder, `<models>/<name>/<version>`.
    """
    highest, *lower = _versions(bundle.parent)
    if highest != int(bundle.name):
        return f"{bundle}: not served, as version {highest} is higher"
    return f"{bundle}: served from the next start on, instead of version {lower[0]}" if lower else None
