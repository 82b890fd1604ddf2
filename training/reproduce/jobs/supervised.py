"""The paper's layer trained with labels from end to end: with all of them, or with few."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from training import whitening
from training.config import RunConfig
from training.datasets import Split as Images
from training.probe import validation_start
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.jobs.labels import draw
from training.reproduce.jobs.sca import in_metric
from training.reproduce.rows import Outcome, Split
from training.rivals.supervised import SupervisedNet

BATCH = 64
CHECKPOINT = "net.npz"
EPOCHS = 30
PATIENCE = 5
STEPS = 1000
"""Gradient steps that few images are to be worth, too."""
DENSE = 4.0
"""What a training step costs, in forward convolutions."""


def network(config: RunConfig, seed: int, train: Images, epochs: int, patience: int) -> SupervisedNet:
    """The untrained net of the config's one layer; whitening is fitted to all images, which takes no labels."""
    (layer,) = config.layers
    preprocessing = whitening.fit(train.images, dataclasses.replace(config, seed=seed))
    return SupervisedNet(
        layer.maps,
        layer.kernel,
        layer.pool_width,
        layer.pool_stride,
        seed,
        preprocessing,
        epochs=epochs,
        patience=patience,
        batch_images=BATCH,
    )


@dataclass(frozen=True)
class SupervisedFinal:
    """Trained on four fifths of the labels, stopped by the fifth; then the test set.

    Attributes:
        config: data set, preprocessing and the one layer's sizes.
    """

    config: RunConfig
    epochs: int = EPOCHS
    patience: int = PATIENCE
    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = "the epochs on a held-out fifth of the training images; nothing is refitted"

    def expected_seconds(self) -> float:
        """See `Job`."""
        images, tested, _, _ = cost.SIZES[self.config.dataset]
        through = cost.network_seconds(self.config)[1]
        held = self.config.probe.validation_fraction
        return self.epochs * images * through * (DENSE * (1 - held) + held) + tested * through

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        dataset = bench.dataset(self.config.dataset)
        train = dataset.train.shuffled(seed)
        net = network(self.config, seed, train, self.epochs, self.patience)
        cut = validation_start(len(train.labels), self.config.probe)
        held = train.images[cut:], train.labels[cut:]
        net.fit(train.images[:cut], train.labels[:cut], *held, folder / CHECKPOINT)
        metric = self.config.metric
        best = net.history[net.best_epoch]
        value = in_metric(100 * net.accuracy(dataset.test.images, dataset.test.labels), metric)
        facts = {
            "validation": round(in_metric(100 * best.accuracy, metric), 4),
            "chosen": {"epochs": net.best_epoch + 1},
        }
        return Outcome(round(value, 4), facts)


@dataclass(frozen=True)
class FewLabelsSupervised:
    """The same net with as few labels as `FewLabels` has, and the same ones.

    Attributes:
        config: data set, preprocessing and the one layer's sizes.
        per_class: labels a class.
        draws: of labelled images; their mean is the number.
    """

    config: RunConfig
    per_class: int
    draws: int
    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = "the epochs on a fifth of the labelled images; nothing is refitted"

    def _epochs(self, labelled: int) -> int:
        return max(EPOCHS, STEPS * BATCH // labelled)

    def expected_seconds(self) -> float:
        """See `Job`."""
        _, tested, _, _ = cost.SIZES[self.config.dataset]
        through = cost.network_seconds(self.config)[1]
        labelled = 10 * self.per_class
        return self.draws * through * (DENSE * labelled * self._epochs(labelled) + tested)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        dataset = bench.dataset(self.config.dataset)
        train, test, scores = dataset.train, dataset.test, []
        for number in range(self.draws):
            folds = draw(train.labels, self.per_class, seed, number)
            rows, fitted = folds.ravel(), folds[:-1].size
            epochs = self._epochs(fitted)
            net = network(self.config, seed, train, epochs, epochs // 5)
            images, labels = train.images[rows], train.labels[rows]
            net.fit(images[:fitted], labels[:fitted], images[fitted:], labels[fitted:])
            scores.append(in_metric(100 * net.accuracy(test.images, test.labels), self.config.metric))
        return Outcome(round(float(np.mean(scores)), 4), {"draws": [round(score, 4) for score in scores]})
