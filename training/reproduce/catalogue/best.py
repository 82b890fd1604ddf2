"""The same encoders with probes that learn from changed copies of the training images too."""

import dataclasses

from training.config import AugmentationConfig, RunConfig
from training.presets import DIGITS, PHOTOGRAPHS
from training.reproduce.catalogue import configs
from training.reproduce.catalogue.tables import ACCURACY, ERROR
from training.reproduce.jobs.sca import FinalRun
from training.reproduce.rows import Row


def _copies(config: RunConfig, augmentation: AugmentationConfig) -> FinalRun:
    probe = dataclasses.replace(config.probe, augmentation=augmentation)
    return FinalRun(dataclasses.replace(config, name=f"{config.name}-copies", probe=probe))


SEVEN = dataclasses.replace(DIGITS, copies=6)

BEST = (
    Row(
        "mnist shallow 128 with copies",
        "best",
        "Shallow SCA, 128 maps; 6 copies of each image, moved, turned, zoomed",
        ERROR,
        0.64,
        _copies(configs.MNIST, SEVEN),
    ),
    Row(
        "cifar10 shallow 512 with copies",
        "best",
        "Shallow SCA, 512 maps; a mirrored copy of each image",
        ACCURACY,
        72.7,
        _copies(configs.CIFAR10, PHOTOGRAPHS),
    ),
)
