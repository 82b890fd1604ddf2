"""Pictures with the statistics that training relies on, and settings that learn from them in seconds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.config import LayerConfig, ProbeConfig, RunConfig, Whitening
from training.datasets import Dataset, Split

Images = npt.NDArray[np.uint8]

CLASSES = 4
LABELS = ("north", "east", "south", "west")


class Photos(NamedTuple):
    """Images uint8 (N, H, W, C) and labels int64 (N,), 0 to 3."""

    images: Images
    labels: npt.NDArray[np.int64]


def photos(count: int, height: int, width: int, channels: int, seed: int = 0) -> Photos:
    """Draw edges on smooth ground; an edge's direction is its class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    images = np.empty((count, height, width, channels), np.uint8)
    for image, label in zip(images, labels, strict=True):
        angle = (label + rng.uniform(-0.2, 0.2)) * 2 * np.pi / CLASSES
        edge = np.tanh(6 * (np.cos(angle) * columns + np.sin(angle) * rows - rng.uniform(-0.3, 0.3)))
        ground = sum(
            np.sin(f * np.pi * (a * columns + b * rows) + c) / f
            for f, (a, b, c) in enumerate(rng.uniform(-2, 2, (4, 3)), 1)
        )
        tint = rng.uniform(0.6, 1, channels)
        level = 128 + 50 * edge[..., None] * tint + 15 * ground[..., None] + rng.normal(0, 5, image.shape)
        image[:] = level.clip(0, 255).astype(np.uint8)
    return Photos(images, labels.astype(np.int64))


def dataset(height: int = 12, width: int = 12, channels: int = 3, train: int = 256, test: int = 64) -> Dataset:
    """A drawn data set; two calls with the same sizes give the same."""
    return Dataset(
        name="drawn",
        train=Split(*photos(train, height, width, channels, seed=1)),
        test=Split(*photos(test, height, width, channels, seed=2)),
        label_names=LABELS,
        color_mode="L" if channels == 1 else "RGB",
        license="none: drawn by the tests",
    )


def config(kind: Whitening = "separable", layers: Sequence[LayerConfig] | None = None, **changes: Any) -> RunConfig:
    """A run of seconds: one layer of 12 maps, three epochs."""
    strengths: Mapping[Any, tuple[float, ...]] = {"svm": (0.3, 3.0), "logistic": (0.1, 1.0)}
    plain: dict[str, Any] = {
        "name": f"drawn-{kind}",
        "dataset": "drawn",
        "layers": tuple(layers or (layer(),)),
        "whitening": kind,
        "probe": ProbeConfig(strengths=strengths, max_iterations=20),
        "paper_value": 72.7,
    }
    return RunConfig(**(plain | changes))


def layer(**changes: Any) -> LayerConfig:
    """12 maps of 5 x 5, pooled 3 / 2."""
    plain: dict[str, Any] = {
        "maps": 12,
        "kernel": 5,
        "pool_width": 3,
        "pool_stride": 2,
        "epochs": 3,
        "batch_images": 32,
        "warmup_steps": 4,
    }
    return LayerConfig(**(plain | changes))


def flat(*sizes: int, level: int = 77) -> Images:
    """Images without any contrast, uint8 (N, H, W, C)."""
    return np.full(sizes, level, np.uint8)
