"""Pairs of images for tests: a small rendered set, and settings that learn from it in seconds."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.training.drawn import LABELS, Images, config, layer, photos
from training import rendered
from training.config import RunConfig, Window
from training.datasets import Dataset, Split

GRID = rendered.Grid.spread(1, 3, 2)
"""150 pairs a split."""
WINDOW = Window(crop=64, reduce=4)
"""Smaller pictures than the paper's, for speed."""


def write_rendered(folder: Path) -> Path:
    """The six files of a small rendered set."""
    rendered.write(folder, GRID)
    return folder


def pairs(count: int, height: int, width: int, channels: int = 1, seed: int = 0) -> Images:
    """Drawn pairs uint8 (N, H, W, 2 * C): the second view is another picture of the same class."""
    views = [photos(count, height, width, channels, seed=seed + view).images for view in range(2)]
    return np.concatenate(views, axis=3)


def drawn_pairs(height: int = 20, width: int = 18, channels: int = 1, train: int = 120, test: int = 4) -> Dataset:
    """A data set of them, in five groups; labels of the first view."""

    def split(count: int, seed: int) -> Split:
        labels = photos(count, height, width, channels, seed).labels
        return Split(pairs(count, height, width, channels, seed), labels, np.arange(count, dtype=np.int64) % 5)

    color_mode = "L" if channels == 1 else "RGB"
    return Dataset("pairs", split(train, 1), split(test, 5), LABELS, color_mode, "none", views=2)


def stereo_config(**changes: Any) -> RunConfig:
    """A run of seconds on the rendered set: the paper's pipeline, fewer and smaller maps."""
    small = layer(maps=16, kernel=5, pool_width=6, pool_stride=4, epochs=6)
    plain: dict[str, Any] = {"name": "stereo", "layers": (small,), "window": WINDOW, "metric": "error"}
    return config("zca", **(plain | changes))
