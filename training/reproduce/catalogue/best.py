"""Past the paper: its networks with probes that learn from changed copies of the training images too."""

import dataclasses

from training.config import RunConfig
from training.presets import DIGITS, PRESETS
from training.reproduce.catalogue import configs
from training.reproduce.catalogue.tables import ACCURACY, ERROR
from training.reproduce.jobs.sca import FinalRun
from training.reproduce.rows import Row

COPIES = "moved, turned, zoomed copies of each image"


def _mnist_deep(maps: int, copies: int) -> RunConfig:
    config = configs.varied(PRESETS["mnist-deep"], "mnist-deep", 0.48, maps=maps)
    augmentation = dataclasses.replace(DIGITS, copies=copies)
    return dataclasses.replace(config, probe=dataclasses.replace(config.probe, augmentation=augmentation))


BEST = (
    Row(
        "mnist shallow 128 with copies",
        "best",
        "**Shallow SCA, 128 maps** (bundled)",
        ERROR,
        0.64,
        FinalRun(PRESETS["mnist-shallow"]),
        note=f"the probe also sees 3 {COPIES}",
    ),
    Row(
        "mnist deep 128+512 with copies",
        "best",
        "**Deep SCA, 128 and 512 maps**",
        ERROR,
        0.48,
        FinalRun(_mnist_deep(512, 6)),
        note=f"the probe also sees 6 {COPIES}; the paper has 2048 maps",
    ),
    Row(
        "mnist deep 128+1024 with copies",
        "best",
        "**Deep SCA, 128 and 1024 maps** (bundled)",
        ERROR,
        0.48,
        FinalRun(_mnist_deep(1024, 3)),
        note=f"the probe also sees 3 {COPIES}; the paper has 2048 maps",
    ),
    Row(
        "cifar10 shallow 512 with copies",
        "best",
        "**Shallow SCA, 512 maps** (bundled)",
        ACCURACY,
        72.7,
        FinalRun(PRESETS["cifar10-shallow"]),
        note="the probe also sees each image mirrored",
    ),
)
