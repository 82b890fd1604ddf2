"""A run's settings and the folders of others in; the run's folder out, begun with what another one has learnt."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training import checkpoints

BASIS = ("dataset", "window", "whitening", "whitening_epsilon", "contrast_epsilon", "seed", "images_sha256")
"""Settings besides a layer and those below it that decide its weights; and the share that is held out, see `_basis`."""


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _basis(settings: Mapping[str, Any]) -> list[Any]:
    """Their values; where images come in groups, such as toys, what is held out decides the order of all."""
    return [settings.get(key) for key in BASIS] + [settings.get("probe", {}).get("validation_fraction")]


def _shared(wanted: Mapping[str, Any], donor: Path) -> int | None:
    """Finished layers of `donor`, from the bottom, that are those of a run with the settings `wanted`.

    None if not even the whitening is, or if it is not finished.
    """
    theirs = _read(donor / "config.json")
    if _basis(theirs) != _basis(wanted) or not (donor / "whitening.npz").exists():
        return None
    count = 0
    for index, (ours, other) in enumerate(zip(wanted["layers"], theirs["layers"], strict=False), 1):
        if ours != other or not (donor / f"layer{index}.json").exists():
            break
        count = index
    return count


def take_over(folder: Path, settings: Mapping[str, Any], runs_dir: Path) -> int:
    """Begin a run with what another one has already learnt from equal settings, seed and images.

    The whitening is taken over also where no layer can be.

    Args:
        folder: of the run; one that is there already is left as it is.
        settings: of the run, as in its `config.json`.
        runs_dir: the folder of the other runs' folders.

    Returns:
        How many layers were taken over; the seconds that they took are, too.
    """
    wanted = json.loads(json.dumps(settings))
    donors = [path.parent for path in sorted(runs_dir.glob("*/config.json"))]
    found = [(layers, donor) for donor in donors if (layers := _shared(wanted, donor)) is not None]
    if folder.exists() or not found:
        return 0
    layers, donor = max(found, key=lambda each: each[0])
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    stages = ["whitening", *(f"layer{index}" for index in range(1, layers + 1))]
    for stage in stages:
        for file in (donor / f"{stage}.npz", donor / f"{stage}.json"):
            if file.exists():
                shutil.copy2(file, partial)
    seconds = _read(donor / "stages.json")
    checkpoints.write_json(partial / "stages.json", {stage: seconds[stage] for stage in stages if stage in seconds})
    checkpoints.write_json(partial / "taken_over.json", {"from": donor.name, "layers": layers})
    partial.rename(folder)
    return layers
