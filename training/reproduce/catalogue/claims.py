"""What the paper says in its text, each as a number; and what its features are worth with few labels."""

import dataclasses

from training.reproduce.catalogue import configs
from training.reproduce.catalogue.tables import ACCURACY, ERROR
from training.reproduce.jobs.labels import FewLabels
from training.reproduce.jobs.sca import ValidationRun
from training.reproduce.jobs.supervised import FewLabelsSupervised, Training
from training.reproduce.jobs.variants import VariantValidation
from training.reproduce.jobs.winners import WinnersValidation
from training.reproduce.rows import Difference, FactOf, Job, Row

VALIDATION_ACCURACY = "held-out accuracy %"

SMALL = configs.cifar10(64, "whitened")
RULES = {
    "winner-take-all": ("Winner-take-all, 64 maps", ""),
    "top-2": ("Top 2 of each map instead", "the paper: less sharp filters, slightly worse"),
    "top-4": ("Top 4 of each map instead", "the paper: less sharp filters, slightly worse"),
    "largest-overall": ("The 64 largest of all maps together instead", "the paper: one filter takes all, the rest die"),
    "tied": ("Decoder tied to the encoder", "the paper: hurts the generalisation"),
}


def _variant(rule: str) -> str:
    return f"claim {rule} 64"


def _over(rule: str) -> Row:
    system, note = RULES[rule]
    return Row(
        f"claim {rule} minus winner-take-all",
        "claims",
        f"{system}: over winner-take-all",
        "points",
        None,
        Difference(_variant(rule), _variant("winner-take-all")),
        note=note,
    )


NARROW = configs.varied(configs.CIFAR10, "cifar10-deeper-128", maps=128)
ABOVE = (128, 512, 2048)


def _deeper(maps: int) -> str:
    return f"claim deeper 128+{maps}"


CLAIMS = (
    *(
        Row(_variant(rule), "claims", system, VALIDATION_ACCURACY, None, VariantValidation(rule, SMALL))
        for rule, (system, _) in RULES.items()
    ),
    *(_over(rule) for rule in RULES if rule != "winner-take-all"),
    *(
        Row(
            f"{_variant(rule)} dead maps",
            "claims",
            f"{RULES[rule][0]}: dead maps",
            "of 64",
            None,
            FactOf(_variant(rule), "dead_maps"),
        )
        for rule in ("winner-take-all", "largest-overall")
    ),
    Row(
        "claim soft 64", "claims", "Sparsity off at test time, 64 maps", VALIDATION_ACCURACY, None, ValidationRun(SMALL)
    ),
    Row(
        "claim sparse 64",
        "claims",
        "Winners alone at test time too",
        VALIDATION_ACCURACY,
        None,
        WinnersValidation(SMALL),
    ),
    Row(
        "claim sparse minus soft",
        "claims",
        "Winners alone at test time too: over sparsity off",
        "points",
        None,
        Difference("claim sparse 64", "claim soft 64"),
        note="the paper: a softer sparsity at test time classifies better",
    ),
    Row(
        "claim dead maps 512+4096",
        "claims",
        "Dead maps of the paper's largest network (512 + 4096)",
        "of 4608",
        0.0,
        FactOf("cifar10 deep 512+4096", "dead_maps"),
        note="the paper: every filter is updated by every training case",
    ),
    Row(
        "claim shallow 128",
        "claims",
        "One layer of 128 maps",
        VALIDATION_ACCURACY,
        None,
        ValidationRun(NARROW),
    ),
    *(
        Row(
            _deeper(maps),
            "claims",
            f"A second layer of {maps} maps on it, learnt from {configs.IMAGES:,} images",
            VALIDATION_ACCURACY,
            None,
            ValidationRun(
                configs.stacked(
                    NARROW,
                    f"cifar10-deeper-128-{maps}",
                    dataclasses.replace(configs.CIFAR10_DEEP.layers[1], maps=maps, **configs.ON_128_MAPS),
                )
            ),
        )
        for maps in ABOVE
    ),
    *(
        Row(
            f"claim deeper {maps} minus shallow",
            "claims",
            f"Gain of a second layer of {maps} maps",
            "points",
            None,
            Difference(_deeper(maps), "claim shallow 128"),
            note="the paper: a deeper layer needs many more maps than the one below",
        )
        for maps in ABOVE
    ),
)

DRAWS = {10: 4, 100: 2, 1000: 1}
"""Draws of the labelled images, by labels a class."""
TURNS = {10: 5, 100: 5, 1000: 1}
"""Fifths of them that choose the probe in turn."""
STEPS = {10: 200, 100: 1000, 1000: 2000}
"""Gradient steps of the supervised net."""
CHOSEN = {
    "mnist": {10: (1e-3, 0.25), 100: (3e-3, 0.5), 1000: (3e-3, 0.5)},
    "cifar10": {10: (1e-3, 0.5), 100: (3e-3, 0.5), 1000: (1e-3, 0.25)},
}
"""Its learning rate and the share of features that is dropped, as held-out images had them; see `choices`."""


def few_labels_training(dataset: str, per_class: int) -> Training:
    """How the supervised net is trained on so many labels a class."""
    rate, dropout = CHOSEN[dataset][per_class]
    return Training(STEPS[per_class], learning_rate=rate, dropout=dropout)


NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def _labels() -> tuple[Row, ...]:
    rows = []
    for config in (configs.MNIST, configs.CIFAR10):
        unit = ERROR if config.metric == "error" else ACCURACY
        for count, draws in DRAWS.items():
            jobs: dict[str, tuple[str, Job]] = {
                "sca": (
                    f"Shallow SCA, {config.layers[0].maps} maps",
                    FewLabels(config, count, draws, turns=TURNS[count]),
                ),
                "pixels": ("Raw pixels", FewLabels(config, count, draws, "pixels", TURNS[count])),
                "supervised": (
                    "Supervised net, same architecture",
                    FewLabelsSupervised(config, count, draws, few_labels_training(config.dataset, count)),
                ),
            }
            rows += [
                Row(
                    f"labels {config.dataset} {count} {key}",
                    "labels",
                    f"{NAMES[config.dataset]}, {count} labels a class: {system}",
                    unit,
                    None,
                    job,
                )
                for key, (system, job) in jobs.items()
            ]
    return tuple(rows)


LABELS = _labels()
