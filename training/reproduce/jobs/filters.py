"""Filters as pictures, with a number that says what one should see in them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training import figures
from training.config import RunConfig
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.rows import Outcome, Split
from training.rivals.patches import PatchAutoencoder
from training.rivals.plain import PlainAutoencoder, centre_share

PICTURE = "picture.png"
COMPARED = 100
"""Filters that are compared with all others at a time."""


def shifted_copies(filters: Tensor) -> float:
    """How alike filters are to shifted others: the best |correlation| with another filter under any shift, on average.

    Args:
        filters: (M, C, k, k), M at least 2.

    Returns:
        0 to 1; 1 if each filter is the shifted copy of another.
    """
    unit = functional.normalize(filters.flatten(1), dim=1).view_as(filters)
    kernel = filters.shape[-1]
    best = []
    for start in range(0, len(unit), COMPARED):
        part = unit[start : start + COMPARED]
        alike = functional.conv2d(part, unit, padding=kernel - 1).abs().amax((2, 3))
        alike[torch.arange(len(part)), torch.arange(start, start + len(part))] = 0
        best.append(alike.amax(1))
    return float(torch.cat(best).mean())


@dataclass(frozen=True)
class ScaFilters:
    """A layer's decoder filters; the number is how many maps won nothing in the last epoch.

    Attributes:
        config: the network; the filters of its first layer are shown.
    """

    config: RunConfig
    split: ClassVar[Split] = "none"
    tuned: ClassVar[str] = "nothing"

    def expected_seconds(self) -> float:
        """See `Job`."""
        return 20 + cost.network_seconds(self.config)[0]

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        config = dataclasses.replace(self.config, seed=seed)
        pipeline = bench.pipeline(config, bench.blind(config.dataset))
        layer = pipeline.fit_layers().cpu().stack()[0]
        figures.save_filters(folder / PICTURE, layer.decoder)
        facts = {
            "shifted_copies": round(shifted_copies(layer.decoder.detach()), 4),
            "centre_share": round(float(centre_share(layer.decoder.detach()).mean()), 4),
        }
        return Outcome(
            pipeline.folder.read("layer1.json", {})["maps/dead"], facts, sum(pipeline.folder.stages.values())
        )


@dataclass(frozen=True)
class PatchFilters:
    """Filters of a sparse autoencoder of patches; the number is `shifted_copies`."""

    dataset: str
    units: int = 1000
    patch: int = 9
    k: int = 25
    patches: int = 200_000
    split: ClassVar[Split] = "none"
    tuned: ClassVar[str] = "nothing"

    def expected_seconds(self) -> float:
        """See `Job`."""
        return 300.0

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        train = bench.blind(self.dataset).train
        model = PatchAutoencoder(self.units, self.patch, self.k, seed=seed, patches=self.patches)
        model.fit(np.asarray(train.images))
        figures.save_filters(folder / PICTURE, model.filters, scale=2)
        result = model.result
        facts = {"dead_units": result.dead_units, "reconstruction_error": round(result.loss_share, 5)}
        return Outcome(round(shifted_copies(model.filters), 4), facts)


@dataclass(frozen=True)
class PlainFilters:
    """Decoder filters of a convolutional autoencoder without sparsity; the number is their middle pixels' energy."""

    config: RunConfig
    split: ClassVar[Split] = "none"
    tuned: ClassVar[str] = "nothing"

    def expected_seconds(self) -> float:
        """See `Job`."""
        return 20 + 5 * cost.network_seconds(self.config)[0]

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        train = bench.blind(self.config.dataset).train
        (layer,) = self.config.layers
        preprocessing = bench.preprocessing(self.config)
        model = PlainAutoencoder(layer.maps, layer.kernel, seed, preprocessing, layer.epochs).fit(train.images)
        figures.save_filters(folder / PICTURE, model.decoder)
        facts = {
            "encoder_centre_share": round(float(centre_share(model.encoder).mean()), 4),
            "reconstruction_error": round(model.trained.loss_share, 6),
        }
        return Outcome(round(float(centre_share(model.decoder).mean()), 4), facts)
