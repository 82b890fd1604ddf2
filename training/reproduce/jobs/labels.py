"""Few labels, many unlabelled images: what the features are worth when labels are scarce (the paper's section 1)."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from training.config import ProbeConfig, RunConfig
from training.datasets import Labels
from training.extraction import extract
from training.features import Features
from training.probe import Probe, Trial
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.jobs.sca import in_metric
from training.reproduce.jobs.scoring import Labelled, fit_probe, percent_right, pixel_features, trials
from training.reproduce.jobs.span import Span
from training.reproduce.rows import Outcome, Split
from training.sources import Pixels

Rows = npt.NDArray[np.int64]
FOLDS = 5
FEW = ProbeConfig(strengths={"svm": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0), "logistic": (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)})
"""Strengths for few labels reach higher: the fewer the labels, the more the probe must be held."""
WIDER = 4
"""Features an image from which on the probe sees the images' span instead."""


def draw(labels: Labels, per_class: int, seed: int, number: int) -> Rows:
    """Images whose labels may be looked at: equally many a class, none else.

    Args:
        labels: (N,) of all training images.
        per_class: labels a class, a multiple of `FOLDS`.
        seed: of the measurement.
        number: of the draw.

    Returns:
        Rows (FOLDS, K * per_class / FOLDS); each fold holds equally many of each of the K classes.
    """
    rng = np.random.default_rng((seed, number))
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:per_class].reshape(FOLDS, -1) for k in np.unique(labels)]
    return rng.permuted(np.concatenate(chosen, axis=1), axis=1)


def cross_validated(images: Labelled, config: ProbeConfig, folder: Path, turns: int = FOLDS) -> Probe:
    """A probe on all images, its loss and strength chosen by each fold in turn.

    One fold of few images would choose by chance.

    Args:
        images: fold after fold, equally many each.
        config: what to try.
        folder: for the log.
        turns: folds that choose.
    """
    rows, fold = np.arange(len(images.labels)), len(images.labels) // FOLDS
    tried: list[tuple[Trial, ...]] = []
    for number in range(turns):
        order = np.roll(rows, fold * number)
        turned = dataclasses.replace(images, features=images.rows(order), labels=images.labels[order])
        tried.append(trials(turned, config, folder, rows.size - fold))
    means = {each[0]: sum(trial.validation_accuracy for trial in each) for each in zip(*tried, strict=True)}
    best = max(means, key=lambda trial: (round(means[trial], 6), trial.strength))
    loss = next(loss for loss in config.losses if loss == best.loss)
    chosen = dataclasses.replace(config, losses=(loss,), strengths={loss: (best.strength,)})
    return fit_probe(images, chosen, folder, rows.size - fold)


@dataclass(frozen=True)
class FewLabels:
    """A probe on a few labelled images' features; the encoder has seen all training images, and no label.

    Attributes:
        config: the encoder; of `pixels`, only the data set counts.
        per_class: labels a class.
        draws: of labelled images; their mean is the number.
        features: what the probe gets.
        turns: folds of the labelled images that choose the probe; one of many images is enough.
        probe: what it may choose from, by these labels alone.
    """

    config: RunConfig
    per_class: int
    draws: int
    features: Literal["sca", "pixels"] = "sca"
    turns: int = FOLDS
    probe: ProbeConfig = field(default_factory=lambda: FEW)
    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = (
        "the probe's loss and strength on folds of the labelled images; then it is refitted on all of these"
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be cut into folds."""
        if self.per_class % FOLDS:
            raise ValueError(f"{self.per_class} labels a class do not make {FOLDS} folds")

    def expected_seconds(self) -> float:
        """See `Job`."""
        _, tested, size, channels = cost.SIZES[self.config.dataset]
        training, through, features = cost.network_seconds(self.config)
        if self.features == "pixels":
            training, through, features = 0.0, 0.0, channels * size * size
        labelled = 10 * self.per_class
        columns = features if labelled * WIDER > features else labelled
        one = labelled * through + self.turns * cost.probe_seconds(labelled, columns, self.probe, final=False)
        return training + tested * through + self.draws * (one + 5)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        dataset = bench.dataset(self.config.dataset)
        features, maps = self._features(bench, seed, folder)
        # three rows of a system have the same encoders and test images
        key = repr((self.config, self.features, seed))
        tested = bench.once(key, lambda: features(np.asarray(dataset.test.images)))
        train, scores = dataset.train, []
        for number in range(self.draws):
            rows = draw(train.labels, self.per_class, seed, number).ravel()
            labelled = Labelled(features(train.images[rows]), train.labels[rows], len(dataset.label_names), maps)
            right = self._percent_right(labelled, tested, dataset.test.labels, folder)
            scores.append(in_metric(right, self.config.metric))
        return Outcome(round(float(np.mean(scores)), 4), {"draws": [round(score, 4) for score in scores]})

    def _percent_right(self, images: Labelled, tested: Features, labels: Labels, folder: Path) -> float:
        """The score on test images of a probe on some labelled ones."""
        if len(images.labels) * WIDER > images.features.shape[1]:
            return percent_right(cross_validated(images, self.probe, folder, self.turns), tested, labels)
        span = Span.of(images.features, images.maps)
        narrow = dataclasses.replace(images, features=span.project(images.features), maps=1)
        probe = cross_validated(narrow, span.config(self.probe), folder, self.turns)
        return percent_right(probe, span.project(tested), labels)

    def _features(self, bench: Bench, seed: int, folder: Path) -> tuple[Callable[[Pixels], Features], int]:
        """What makes features of images, and how many maps they come from."""
        blind = bench.blind(self.config.dataset)
        if self.features == "pixels":
            return pixel_features, blind.train.images.shape[3]
        config = dataclasses.replace(self.config, seed=seed)
        extractor = bench.pipeline(config, blind).fit_layers()

        def features(images: Pixels) -> Features:
            whole = [(0, len(images))]
            return extract(extractor, images, whole, folder / f"{len(images)}.f16", "features", bench.device)

        return features, config.layers[-1].maps
