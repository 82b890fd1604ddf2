"""Sparse convolutional autoencoders with a probe: on the test set when all is chosen, on held-out images until then."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from training.config import RunConfig
from training.pipeline import Pipeline
from training.probe import best_of
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.jobs.scoring import HELD_OUT, REFITTED
from training.reproduce.rows import Outcome, Split


def in_metric(accuracy: float, metric: str) -> float:
    """Percent right, as the paper states it for the data set."""
    return accuracy if metric == "accuracy" else 100 - accuracy


def _seconds(pipeline: Pipeline, *last: str) -> float:
    """What the layers took, and the last stages: a trial and its final run may share a folder."""
    stages = pipeline.folder.stages
    return sum(taken for stage, taken in stages.items() if stage.startswith(("whitening", "layer")) or stage in last)


@dataclass(frozen=True)
class FinalRun:
    """A whole run: layers, probe, bundle, and one reading of the test set through the exported graph."""

    config: RunConfig
    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = REFITTED

    def expected_seconds(self) -> float:
        """See `Job`."""
        return cost.run_seconds(self.config, final=True)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        config = dataclasses.replace(self.config, seed=seed)
        pipeline = bench.pipeline(config, bench.dataset(config.dataset))
        summary = pipeline.run()
        training = summary.manifest["training"]
        chosen = pipeline.folder.read("trials.json", {})["chosen"]
        facts = {
            "validation": round(in_metric(100 * chosen["validation_accuracy"], config.metric), 4),
            "chosen": {"loss": chosen["loss"], "strength": chosen["strength"]},
            "layers": [pipeline.folder.read(f"layer{i}.json", {}) for i in range(1, len(config.layers) + 1)],
            "dead_maps": training["dead_maps"],
            "features": summary.manifest["feature_dim"],
            "taken_over": pipeline.folder.read("taken_over.json", None),
        }
        return Outcome(summary.manifest["accuracy"]["value"], facts, _seconds(pipeline, "probe", "export"))


@dataclass(frozen=True)
class ValidationRun:
    """A run up to the choice of the probe: the number that settings are chosen by. The test set is not even loaded."""

    config: RunConfig
    split: ClassVar[Split] = "validation"
    tuned: ClassVar[str] = HELD_OUT

    def expected_seconds(self) -> float:
        """See `Job`."""
        return cost.run_seconds(self.config, final=False)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        config = dataclasses.replace(self.config, seed=seed)
        pipeline = bench.pipeline(config, bench.blind(config.dataset))
        best = best_of(pipeline.validate())
        facts = {
            "chosen": {"loss": best.loss, "strength": best.strength},
            "training_split": round(100 * best.train_accuracy, 4),
            "layers": [pipeline.folder.read(f"layer{i}.json", {}) for i in range(1, len(config.layers) + 1)],
            "taken_over": pipeline.folder.read("taken_over.json", None),
        }
        value = in_metric(100 * best.validation_accuracy, config.metric)
        return Outcome(round(value, 4), facts, _seconds(pipeline, "validation"))
