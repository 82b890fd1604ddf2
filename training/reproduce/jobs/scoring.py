"""Features and labels in, a probe and its score out: for everything that is not a whole run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.config import ProbeConfig
from training.features import CPU, FeatureFile, Features, blocks
from training.journal import Journal
from training.probe import Probe, ProbeFit, Trial

HELD_OUT = "the probe's loss and strength on a held-out fifth of the training images"
REFITTED = f"{HELD_OUT}; then it is refitted on all of them"
"""What jobs say of what they choose."""
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labelled:
    """Features (N, D) and their labels (N,); D / `maps` consecutive features belong to each map."""

    features: Features
    labels: Labels
    classes: int
    maps: int

    def rows(self, order: Labels) -> Tensor:
        """Features in another order; they must be in memory."""
        assert isinstance(self.features, Tensor), "few images' features fit into memory"
        return self.features[torch.from_numpy(order).to(self.features.device)]


def _fit(images: Labelled, config: ProbeConfig, journal: Journal, fitted: int | None) -> ProbeFit:
    labels = torch.from_numpy(images.labels)
    return ProbeFit(images.features, labels, images.classes, images.maps, config, journal, fitted)


def fit_probe(images: Labelled, config: ProbeConfig, folder: Path, fitted: int | None = None) -> Probe:
    """Choose a probe on the last rows (those after `fitted`), refit it on all."""
    with Journal(folder) as journal:
        return _fit(images, config, journal, fitted).run()


def trials(images: Labelled, config: ProbeConfig, folder: Path, fitted: int | None = None) -> tuple[Trial, ...]:
    """What probes reach on the last rows (those after `fitted`)."""
    with Journal(folder) as journal:
        return _fit(images, config, journal, fitted).choose()


def percent_right(probe: Probe, features: Features, labels: Labels) -> float:
    """Percent of the images that the probe puts into the right class."""
    device = CPU if isinstance(features, FeatureFile) else features.device
    weights, bias = probe.weights.to(device), probe.bias.to(device)
    right = 0
    for start, stop, block in blocks(features):
        predicted = (block @ weights + bias).argmax(1).cpu().numpy()
        right += int((predicted == labels[start:stop]).sum())
    return 100 * right / len(labels)


def pixel_features(images: npt.NDArray[np.uint8]) -> Tensor:
    """Pixels as features: uint8 (N, H, W, C) to float16 (N, C * H * W) in [0, 1], colour by colour."""
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    return planes.flatten(1).half().div_(255)


def probe_facts(probe: Probe) -> dict[str, Any]:
    """What was chosen, and how it did where it was chosen."""
    chosen = probe.chosen
    return {
        "validation": round(100 * chosen.validation_accuracy, 4),
        "chosen": {"loss": chosen.loss, "strength": chosen.strength},
    }
