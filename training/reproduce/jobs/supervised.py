"""The paper's layer trained with labels from end to end: with all of them, or with few."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from training.config import RunConfig
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.jobs.labels import draw
from training.reproduce.jobs.sca import in_metric
from training.reproduce.rows import Outcome, Split
from training.rivals.supervised import SupervisedNet

CHECKPOINT = "net.npz"
DENSE = 1.7
"""What a training step costs, in forward convolutions as `cost` reckons them."""


@dataclass(frozen=True)
class Training:
    """How long and how fast a net is trained: as long as this, whatever comes of it, with a rate that falls to zero.

    Attributes:
        steps: gradient steps; rounded up to whole passes over the images.
        batch: images a step.
        learning_rate: Adam's, at its peak.
        dropout: share of the features that is dropped in training.
    """

    steps: int
    batch: int = 64
    learning_rate: float = 3e-3
    dropout: float = 0.5

    def epochs(self, images: int) -> int:
        """Passes over so many images."""
        return -(-self.steps // max(1, images // self.batch))

    def seen(self, images: int) -> int:
        """Images of all steps."""
        return self.epochs(images) * max(1, images // self.batch) * min(self.batch, images)


def network(config: RunConfig, seed: int, bench: Bench, training: Training, images: int) -> SupervisedNet:
    """The untrained net of the config's one layer; whitening is fitted to all images, which takes no labels."""
    (layer,) = config.layers
    return SupervisedNet(
        layer.maps,
        layer.kernel,
        layer.pool_width,
        layer.pool_stride,
        seed,
        bench.preprocessing(config),
        epochs=training.epochs(images),
        batch_images=training.batch,
        learning_rate=training.learning_rate,
        dropout=training.dropout,
    )


def _expected_seconds(config: RunConfig, training: Training, fitted: int, judged: int) -> float:
    """What training on so many images takes, and judging so many."""
    through = cost.network_seconds(config)[1]
    return 20 + through * (DENSE * training.seen(fitted) + judged)


def _outcome(net: SupervisedNet, accuracy: float, config: RunConfig) -> Outcome:
    facts = {"epochs": len(net.history), "training_loss": round(net.history[-1].loss, 4)}
    return Outcome(round(in_metric(100 * accuracy, config.metric), 4), facts)


def _trial(
    config: RunConfig, training: Training, bench: Bench, seed: int, folder: Path, per_class: int | None = None
) -> Outcome:
    """Learns from images that are not held out, all or so many a class; judged by all that are held out."""
    train = bench.blind(config.dataset).train.shuffled(seed, config.probe.validation_fraction)
    fitted = len(train.labels) - train.held_out
    images, labels = train.images[:fitted], train.labels[:fitted]
    if per_class is not None:
        rows = draw(labels, per_class, seed, 0).ravel()
        images, labels = train.images[rows], labels[rows]
    net = network(config, seed, bench, training, len(labels))
    net.fit(images, labels, checkpoint=folder / CHECKPOINT)
    return _outcome(net, net.accuracy(train.images[fitted:], train.labels[fitted:]), config)


@dataclass(frozen=True)
class SupervisedFinal:
    """Trained with all labels; then the test set.

    Attributes:
        config: data set, preprocessing and the one layer's sizes.
        training: how.
    """

    config: RunConfig
    training: Training
    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = "nothing: all training images, a fixed number of steps"

    def expected_seconds(self) -> float:
        """See `Job`."""
        images, tested, _, _ = cost.SIZES[self.config.dataset]
        return _expected_seconds(self.config, self.training, images, tested)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        dataset = bench.dataset(self.config.dataset)
        train, test = dataset.train, dataset.test
        net = network(self.config, seed, bench, self.training, len(train.labels))
        net.fit(train.images, train.labels, checkpoint=folder / CHECKPOINT)
        return _outcome(net, net.accuracy(test.images, test.labels), self.config)


@dataclass(frozen=True)
class SupervisedTrial:
    """Trained with four fifths of the labels; then the others: what settings are chosen by.

    Attributes:
        config: data set, preprocessing and the one layer's sizes, and the share that is held out.
        training: how.
    """

    config: RunConfig
    training: Training
    split: ClassVar[Split] = "validation"
    tuned: ClassVar[str] = "nothing: the training images that are not held out, a fixed number of steps"

    def expected_seconds(self) -> float:
        """See `Job`."""
        images, _, _, _ = cost.SIZES[self.config.dataset]
        held_out = round(images * self.config.probe.validation_fraction)
        return _expected_seconds(self.config, self.training, images - held_out, held_out)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        return _trial(self.config, self.training, bench, seed, folder)


@dataclass(frozen=True)
class FewLabelsSupervised:
    """The same net with as few labels as `FewLabels` has, and the same ones.

    Attributes:
        config: data set, preprocessing and the one layer's sizes.
        per_class: labels a class.
        draws: of labelled images; their mean is the number.
        training: how.
    """

    config: RunConfig
    per_class: int
    draws: int
    training: Training
    split: ClassVar[Split] = "test"
    tuned: ClassVar[str] = "nothing: all the labelled images, a fixed number of steps"

    def expected_seconds(self) -> float:
        """See `Job`."""
        _, tested, _, _ = cost.SIZES[self.config.dataset]
        through = cost.network_seconds(self.config)[1]
        return 20 + self.draws * through * (DENSE * self.training.seen(10 * self.per_class) + tested)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        dataset = bench.dataset(self.config.dataset)
        train, test, scores = dataset.train, dataset.test, []
        for number in range(self.draws):
            rows = draw(train.labels, self.per_class, seed, number).ravel()
            net = network(self.config, seed, bench, self.training, len(rows))
            net.fit(train.images[rows], train.labels[rows])
            scores.append(in_metric(100 * net.accuracy(test.images, test.labels), self.config.metric))
        return Outcome(round(float(np.mean(scores)), 4), {"draws": [round(score, 4) for score in scores]})


@dataclass(frozen=True)
class FewLabelsTrial:
    """The same net with few labels, judged by all images that are held out: what its settings are chosen by.

    That is more than `FewLabels` may look at to choose its probe.

    Attributes:
        config: data set, preprocessing and the one layer's sizes, and the share that is held out.
        per_class: labels a class, of images that are not held out.
        training: how.
    """

    config: RunConfig
    per_class: int
    training: Training
    split: ClassVar[Split] = "validation"
    tuned: ClassVar[str] = "nothing: all the labelled images, a fixed number of steps"

    def expected_seconds(self) -> float:
        """See `Job`."""
        images, _, _, _ = cost.SIZES[self.config.dataset]
        held_out = round(images * self.config.probe.validation_fraction)
        return _expected_seconds(self.config, self.training, 10 * self.per_class, held_out)

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        return _trial(self.config, self.training, bench, seed, folder, self.per_class)
