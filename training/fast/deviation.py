"""Two graphs of one model and images in, how far the second one's outputs are from the first one's out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from training.fast.calibration import blocks
from training.sources import ImageSource, Pixels

Floats = npt.NDArray[np.float32]
Run = Callable[[Pixels], tuple[Floats, Floats]]
"""uint8 (N, H, W, C) to features (N, D) and logits (N, K)."""


def compare(exact: Run, other: Run, images: ImageSource, numbers: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Measure the deviation.

    Args:
        exact: what is right.
        other: what is compared with it.
        images: uint8 (N, H, W, C).
        numbers: of the images to take.

    Returns:
        Of the features: `mean` and `greatest` absolute difference, and `relative`, the root mean square difference as a
        share of the features' root mean square; `same_class`, percent of the images; `images`, how many there were.
    """
    total = squares = energy = greatest = 0.0
    count = same = 0
    for block in blocks(images, numbers):
        (features, logits), (others, other_logits) = exact(block), other(block)
        difference = np.abs(others.astype(np.float64) - features)
        total += difference.sum()
        squares += np.square(difference).sum()
        energy += np.square(features, dtype=np.float64).sum()
        greatest = max(greatest, float(difference.max()))
        count += features.size
        same += int((logits.argmax(1) == other_logits.argmax(1)).sum())
    return {
        "mean": _short(total / count),
        "greatest": _short(greatest),
        "relative": _short((squares / energy) ** 0.5 if energy else 0.0),
        "same_class": _short(100 * same / len(numbers)),
        "images": len(numbers),
    }


def _short(value: float) -> float:
    """Four digits: the rest would say more about the machine than about the model."""
    return float(f"{value:.4g}")
