"""What the paper leaves open, chosen on held-out training images: the trials, and which of them the presets use."""

import dataclasses

from training.config import LayerConfig, ProbeConfig, RunConfig
from training.reproduce.catalogue import configs
from training.reproduce.catalogue.best import STRONG, cifar10_deep, mnist_deep, on_128_maps
from training.reproduce.catalogue.claims import STEPS, few_labels_training
from training.reproduce.catalogue.figures import PASSES, SUPERVISED_TRAINING, training_of
from training.reproduce.jobs.sca import ValidationRun
from training.reproduce.jobs.supervised import FewLabelsTrial, SupervisedTrial
from training.reproduce.rows import Row

TRIAL_MAPS = 512
"""A second layer's maps in a trial."""


def _row(question: str, answer: str, config: RunConfig, chosen: bool) -> Row:
    unit = f"held-out {config.metric} %"
    system = f"{question}: {answer}" + (" (used)" if chosen else "")
    name = f"choice {question} {answer}"
    run = dataclasses.replace(config, name=name.replace(" ", "-"), paper_value=None)
    return Row(name, "choices", system, unit, None, ValidationRun(run))


def _rates(question: str, config: RunConfig, rates: tuple[float, ...]) -> list[Row]:
    """Learning rates of a config's top layer."""
    used = config.layers[-1].learning_rate
    return [
        _row(question, f"learning rate {r:g}", configs.varied(config, "", learning_rate=r), r == used) for r in rates
    ]


def _second_layers(question: str, below: RunConfig, used: LayerConfig) -> list[Row]:
    """Filter widths and learning rates of a second layer."""
    rows = []
    for kernel in (3, 5):
        for rate in (5e-4, 2e-3):
            layer = dataclasses.replace(used, maps=TRIAL_MAPS, images=configs.IMAGES, kernel=kernel, learning_rate=rate)
            chosen = (kernel, rate) == (used.kernel, used.learning_rate)
            config = configs.stacked(below, "", layer)
            rows.append(_row(question, f"{kernel}x{kernel} filters, learning rate {rate:g}", config, chosen))
    return rows


def _layer_2_on_128(images: int | None, rate: float) -> Row:
    """How long and how fast a second layer on 128 maps learns; the probe sees no copies, for a trial's sake."""
    config = on_128_maps(2 * TRIAL_MAPS, rate=rate, images=images)
    probe = ProbeConfig(losses=("svm",), strengths={"svm": (0.01, 0.03, 0.1, 0.3, 1.0)})
    config = dataclasses.replace(config, probe=probe)
    answer = f"{f'{images:,}' if images else 'all'} images, learning rate {rate:g}"
    return _row("cifar10 layer 2 of 1024 on 128 maps", answer, config, (images, rate) == (configs.IMAGES, 2e-3))


def _wide(maps: int, rate: float) -> Row:
    """Wide second layers that learn from all images; the probe is that of the final runs."""
    answer = f"128+{maps}, learning rate {rate:g}"
    return _row("cifar10 wide, all images", answer, on_128_maps(maps, rate=rate), (maps, rate) == (8192, 5e-4))


def _digits(elastic: float) -> Row:
    """The probe's copies of digits, bent or not."""
    bent = f", bent by up to {elastic:g} pixels" if elastic else ""
    return _row("mnist deep 128+2048", f"6 copies{bent}", mnist_deep(2048, 6, STRONG, elastic), not elastic)


def _layers(question: str, config: RunConfig) -> list[Row]:
    """Whether features are those of both layers."""
    answers = {"layer 2": False, "both layers": True}
    return [
        _row(question, answer, dataclasses.replace(config, all_layers=both), not both)
        for answer, both in answers.items()
    ]


def _supervised(maps: int, rate: float, dropout: float, passes: int = PASSES) -> Row:
    """How fast and how long the supervised net learns, and how much it drops."""
    name, unit = f"cifar10 supervised {maps} whitened", "held-out accuracy %"
    answer = f"learning rate {rate:g}, dropout {dropout:g}" + (f", {passes} passes" if passes != PASSES else "")
    training = training_of(passes, rate, dropout)
    job = SupervisedTrial(configs.cifar10(maps, "whitened", own_rate=False), training)
    system = f"{name}: {answer}" + (" (used)" if training == SUPERVISED_TRAINING else "")
    return Row(f"choice {name} {answer}", "choices", system, unit, None, job)


def _few_labels(base: RunConfig, per_class: int, rate: float, dropout: float) -> Row:
    """The same with few labels."""
    name = f"{base.dataset} supervised, {per_class} labels a class"
    answer = f"learning rate {rate:g}, dropout {dropout:g}"
    used = few_labels_training(base.dataset, per_class)
    training = dataclasses.replace(used, learning_rate=rate, dropout=dropout)
    system = f"{name}: {answer}" + (" (used)" if training == used else "")
    job = FewLabelsTrial(base, per_class, training)
    return Row(f"choice {name} {answer}", "choices", system, f"held-out {base.metric} %", None, job)


CHOICES = (
    *_rates("mnist 16", configs.MNIST_16, (5e-4, 1e-3, 2e-3)),
    *_rates("mnist 128", configs.MNIST, (2.5e-4, 5e-4, 1e-3, 2e-3)),
    *_second_layers("mnist second layer", configs.MNIST, configs.MNIST_DEEP.layers[1]),
    *_rates("cifar10 512", configs.CIFAR10, (1e-3, 2e-3, 4e-3)),
    *_rates("cifar10 32", configs.cifar10(32, "whitened"), (1e-3, 2e-3, 4e-3)),
    *_second_layers("cifar10 second layer", configs.CIFAR10, configs.CIFAR10_DEEP.layers[1]),
    _supervised(32, 1e-2, 0.5),
    _supervised(32, 3e-3, 0.5),
    _supervised(32, 3e-3, 0.75),
    _supervised(32, 3e-3, 0.25),
    _supervised(32, 1e-3, 0.5),
    _supervised(32, 1e-3, 0.25),
    _supervised(32, 1e-3, 0.0),
    _supervised(32, 5e-4, 0.25),
    _supervised(32, 1e-3, 0.25, 2 * PASSES),
    _supervised(128, 3e-3, 0.5),
    _supervised(128, 1e-3, 0.5),
    _supervised(128, 1e-3, 0.25),
    *(
        _few_labels(base, per_class, rate, dropout)
        for base in (configs.MNIST, configs.CIFAR10)
        for per_class in STEPS
        for rate, dropout in ((3e-3, 0.5), (1e-3, 0.5), (1e-3, 0.25))
    ),
    *(
        _row(
            "cifar10 raw 128",
            f"whitening {kind}",
            dataclasses.replace(configs.cifar10(128, "raw"), whitening=kind),
            kind == configs.RAW["whitening"],
        )
        for kind in ("contrast", "none")
    ),
    *(
        _row("cifar10 deep mirrored", answer, on_128_maps(2048, fine), not fine)
        for answer, fine in (("128+2048", False), ("128+2048 on 16x16", True))
    ),
    *(_wide(maps, rate) for maps, rate in ((4096, 2.5e-4), (4096, 5e-4), (8192, 5e-4))),
    *(_digits(elastic) for elastic in (0.0, 1.5, 2.5)),
    *_layers("mnist deep 128+512, 3 copies", mnist_deep(512, 3, (0.03, 0.1, 0.3))),
    *_layers("cifar10 deep mirrored 128+512", cifar10_deep(512)),
    *(
        _layer_2_on_128(images, rate)
        for images, rate in ((configs.IMAGES, 2e-3), (configs.IMAGES, 5e-4), (configs.IMAGES, 2.5e-4), (None, 5e-4))
    ),
)
