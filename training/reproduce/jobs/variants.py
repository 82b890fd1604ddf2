"""The alternatives to winner-take-all that the paper argues against, each trained and probed as winner-take-all is."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from training.config import RunConfig
from training.probe import best_of
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.jobs.scoring import HELD_OUT, Labelled, trials
from training.reproduce.rows import Outcome, Split
from training.rivals.variants import VARIANTS, VariantFit

SLOWER = 4.0
"""What a step of autograd costs, in steps of the sparse gradient."""


@dataclass(frozen=True)
class VariantValidation:
    """Accuracy on held-out training images.

    Attributes:
        variant: a key of `VARIANTS`.
        config: data set, preprocessing, the one layer and the probe.
    """

    variant: str
    config: RunConfig
    split: ClassVar[Split] = "validation"
    tuned: ClassVar[str] = HELD_OUT

    def expected_seconds(self) -> float:
        """See `Job`."""
        return cost.run_seconds(self.config, final=False) + (SLOWER - 1) * cost.network_seconds(self.config)[0]

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        dataset = bench.blind(self.config.dataset)
        train = dataset.train.shuffled(seed)
        (layer,) = self.config.layers
        preprocessing = bench.preprocessing(self.config)
        trained = VariantFit(layer, VARIANTS[self.variant](layer.maps), preprocessing, seed).fit(
            train.images, self.variant
        )
        features = trained.features(train.images, folder / "features.f16")
        images = Labelled(features, train.labels, len(dataset.label_names), layer.maps)
        best = best_of(trials(images, self.config.probe, folder))
        facts = {
            "dead_maps": trained.dead_maps,
            "reconstruction_error": round(trained.loss_share, 5),
            "least_active_share": float(trained.wins.min()) / trained.images,
            "chosen": {"loss": best.loss, "strength": best.strength},
        }
        return Outcome(round(100 * best.validation_accuracy, 4), facts)
