"""Triangle k-means, the patch-wise rival, with the probe that every other system gets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from training.config import ProbeConfig
from training.features import room
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.jobs.scoring import REFITTED, Labelled, fit_probe, percent_right, probe_facts
from training.reproduce.rows import Outcome, Split
from training.rivals.kmeans import TriangleKMeans

QUADRANTS = 4


@dataclass(frozen=True)
class KMeansFinal:
    """K-means of patches, triangle activations summed over quadrants (Coates et al. 2011), probe, test set."""

    dataset: str
    maps: int
    patch: int = 6
    whiten: bool = True
    patches: int = 400_000
    # features of another kind: a wide range, all of whose strengths are fitted together
    probe: ProbeConfig = field(
        default_factory=lambda: ProbeConfig(
            losses=("svm",), strengths={"svm": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)}, max_iterations=120
        )
    )
    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = REFITTED

    def expected_seconds(self) -> float:
        """See `Job`."""
        images, tested, size, channels = cost.SIZES[self.dataset]
        numbers = self.patch**2 * channels
        places = (size - self.patch + 1) ** 2
        one = places * (self.maps * 2e-9 + numbers * (numbers + self.maps) / cost.MULTIPLICATIONS)
        clustering = self.patches * numbers * self.maps * 50 / cost.MULTIPLICATIONS
        return 30 + clustering + (images + tested) * one + cost.probe_seconds(images, QUADRANTS * self.maps, self.probe)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        dataset = bench.dataset(self.dataset)
        train = dataset.train.shuffled(seed)
        pixels = np.asarray(train.images)
        model = TriangleKMeans(self.maps, self.patch, self.whiten, seed, self.patches).fit(pixels)
        features = room(len(pixels), QUADRANTS * self.maps, folder / "features.f16")
        assert isinstance(features, torch.Tensor), "quadrants of a few thousand maps fit into memory"
        model.features(pixels, out=features)
        images = Labelled(features, train.labels, len(dataset.label_names), self.maps)
        probe = fit_probe(images, self.probe, folder)
        tested = model.features(np.asarray(dataset.test.images))
        return Outcome(percent_right(probe, tested, dataset.test.labels), probe_facts(probe))
