"""A bundle and its data set in, the same with a `fast` variant out: its graph, golden outputs, accuracy, deviation."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import checkpoints
from training.bundlefolder import replacing, write_manifest
from training.card_training import filled
from training.datasets import Dataset
from training.export import OnnxModel, ParityError
from training.fast import calibration, quantise
from training.fast.calibration import spread
from training.fast.deviation import compare
from training.reporting import test_accuracy

FILE = "model.fast.onnx"
GOLDEN_TOLERANCE = 0.02
"""Largest golden error, as a share of the largest golden value: a rounding that falls the other way on another
processor moves a map by one of its 255 steps."""
DECODED_ALIKE = 2.0
"""Mean difference, in grey levels of 0 to 255, of images that are the same to two versions of a decoder; two
photographs differ by some fifty."""
MOST_RELATIVE = 0.2
"""A graph whose features deviate by more than this is broken, not rounded."""


def has_learnt_from(bundle: Path, dataset: Dataset) -> bool:
    """Whether the data set's first training images are the golden ones of a bundle.

    Nearly: another version of a decoder may round otherwise.
    """
    golden = checkpoints.load(bundle / "golden.npz")["images"].numpy()
    images = np.asarray(dataset.train.images[: len(golden)])
    if images.shape != golden.shape:
        return False
    return bool(np.abs(images.astype(np.int16) - golden).mean() <= DECODED_ALIKE)


def add(bundle: Path, dataset: Dataset, threads: int = 0) -> None:
    """Give a finished bundle a fast variant, or a new one in the place of the old one; all files change or none.

    Args:
        bundle: its folder, `<name>/<version>`.
        dataset: what it was trained on.
        threads: as many as the runtime may use; 0 leaves the choice to it.

    Raises:
        ParityError: the fast graph computes something else.
    """
    with replacing(bundle) as folder:
        for file in bundle.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        extend(folder, dataset, threads)


def extend(folder: Path, dataset: Dataset, threads: int = 0) -> None:
    """Add the fast variant to a bundle's folder that nobody serves yet. See `add`."""
    exact = (folder / "model.onnx").read_bytes()
    fast = quantise.build(exact, dataset.train.images, threads)
    facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    report = _report(OnnxModel(exact, threads), OnnxModel(fast, threads), dataset, facts["accuracy"]["metric"])
    (folder / FILE).write_bytes(fast)
    _add_golden(folder / "golden.npz", OnnxModel(fast, threads))
    card = (folder / "README.md").read_text(encoding="utf-8")
    section = _section(report, facts["input"].get("mirrored", False) or facts.get("all_layers", False))
    (folder / "README.md").write_text(_with_section(card, section), encoding="utf-8")
    write_manifest(folder, {key: value for key, value in facts.items() if key != "files"} | {"fast": report})


def extend_or_warn(folder: Path, dataset: Dataset) -> None:
    """`extend`; if that fails, the bundle is whole without."""
    try:
        extend(folder, dataset, torch.get_num_threads())
    except ParityError as error:
        print(f"warning: the bundle gets no fast variant: {error}", file=sys.stderr)


def _report(exact: OnnxModel, fast: OnnxModel, dataset: Dataset, metric: str) -> dict[str, Any]:
    """The manifest's `fast`."""
    images = dataset.train.images
    unseen = spread(len(images), calibration.IMAGES, part=1, parts=2)
    deviation = compare(exact, fast, images, unseen)
    if not deviation["relative"] <= MOST_RELATIVE:
        raise ParityError(f"features of the fast graph deviate by {deviation['relative']:.1%} of their size")
    right = test_accuracy(dataset.test, fast)
    return {
        "file": FILE,
        "precision": "int8",
        "accuracy": {
            "metric": metric,
            "value": round(right if metric == "accuracy" else 100 - right, 4),
            "unit": "%",
            "split": "test",
            "images": len(dataset.test.labels),
        },
        "deviation": deviation | {"split": "train, not used for calibration"},
        "calibration_images": len(spread(len(images), calibration.IMAGES, part=0, parts=2)),
        "golden_tolerance": GOLDEN_TOLERANCE,
    }


def _add_golden(path: Path, fast: OnnxModel) -> None:
    """Add what the fast graph makes of the golden images; float16, which is finer than its steps."""
    arrays = {name: array.numpy() for name, array in checkpoints.load(path).items() if not name.startswith("fast_")}
    outputs = fast.outputs(arrays["images"])
    halves = {f"fast_{name}": values.astype(np.float16) for name, values in outputs.items()}
    checkpoints.save(path, arrays | halves)


def _section(report: dict[str, Any], float_probe: bool) -> str:
    """What the model card says of the fast variant."""
    accuracy, deviation = report["accuracy"], report["deviation"]
    # a mean of two is no integer
    parts = "convolutions and pooling" if float_probe else "convolutions, pooling and probe"
    text = (
        f"`{FILE}`: {parts} in 8-bit integers, ranges taken from "
        f"{report['calibration_images']:,} training images. Test {accuracy['metric']} {accuracy['value']:.2f} %. On "
        f"{deviation['images']:,} other training images its features differ from the exact ones by "
        f"{deviation['mean']:g} on average, {deviation['greatest']:g} at most, {deviation['relative']:.1%} of their "
        f"size (root mean square), and {deviation['same_class']:g} % of the images keep their class."
    )
    return f"## Fast variant\n\n{filled(text)}\n\n"


def _with_section(card: str, section: str) -> str:
    """The model card with a section on the fast variant, before its limits."""
    before, found, after = card.partition("## Fast variant\n")
    if found:
        return before + section + "## " + after.partition("\n## ")[2]
    before, found, after = card.partition("## Limits\n")
    return before + section + found + after
