"""Past the paper: its networks with mirrored features, and probes that learn from changed copies of images too."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from training.config import ProbeConfig, ProbeLoss, RunConfig
from training.presets import DIGITS, MIRRORED_PHOTOGRAPHS, PHOTOGRAPHS, PRESETS
from training.reproduce.catalogue import configs
from training.reproduce.catalogue.tables import ACCURACY, ERROR
from training.reproduce.jobs.sca import FinalRun
from training.reproduce.rows import Row

MIRRORED = "the probe also sees each image mirrored"
BOTH = "features are the mean of the image's and its mirror image's; the probe also sees a moved, turned, zoomed copy"
FEWER = f"{configs.LAYER_2}; the paper has 512 and 4096 maps"
WEAK, STRONG = (0.03, 0.1, 0.3), (0.1, 0.3, 1.0)
"""Strengths that were tried for narrow and for wide networks."""
COPIES = "moved, turned, zoomed copies of each image"


def mnist_deep(maps: int, copies: int, strengths: tuple[float, ...], elastic: float = 0.0) -> RunConfig:
    """The deep network for digits with other numbers of maps in layer 2, and other copies for the probe.

    Args:
        maps: of layer 2.
        copies: of each image.
        strengths: of the probe's penalty, to try.
        elastic: how far copies are bent, in pixels.
    """
    config = configs.varied(PRESETS["mnist-deep"], "mnist-deep", 0.48, maps=maps)
    return _probed(config, strengths, augmentation=dataclasses.replace(DIGITS, copies=copies, elastic=elastic))


def _probed(config: RunConfig, strengths: tuple[float, ...], **changes: Any) -> RunConfig:
    """The config with these strengths of the squared hinge, and with other changes of its probe."""
    probe = dataclasses.replace(config.probe, losses=("svm",), strengths={"svm": strengths}, **changes)
    return dataclasses.replace(config, probe=probe)


def _mirrored(config: RunConfig) -> RunConfig:
    probe = dataclasses.replace(config.probe, augmentation=MIRRORED_PHOTOGRAPHS)
    return dataclasses.replace(config, probe=probe, mirrored=True)


def cifar10_deep(maps: int) -> RunConfig:
    """The deep network for photographs on 128 maps, with mirrored features, with so many maps in layer 2."""
    config = configs.varied(PRESETS["cifar10-deep"], "cifar10-deep", 78.1, maps=maps, **configs.ON_128_MAPS)
    config = _probed(config, WEAK)
    return dataclasses.replace(config, layers=(dataclasses.replace(config.layers[0], maps=128), config.layers[1]))


def on_128_maps(maps: int, fine: bool = False, rate: float = 2e-3, images: int | None = None) -> RunConfig:
    """A deep network with mirrored features, with a probe of stronger penalties.

    Args:
        maps: of layer 2.
        fine: layer 2 sees maps of 16 x 16 instead of 8 x 8, and is pooled more.
        rate: the learning rate of layer 2.
        images: that layer 2 learns from; by default all.
    """
    one, two = PRESETS["cifar10-deep"].layers
    pools = ((3, 2), (5, 4)) if fine else ((5, 4), (3, 2))
    layers = (
        dataclasses.replace(one, maps=128, pool_width=pools[0][0], pool_stride=pools[0][1]),
        dataclasses.replace(
            two, maps=maps, learning_rate=rate, images=images, pool_width=pools[1][0], pool_stride=pools[1][1]
        ),
    )
    return _probed(dataclasses.replace(PRESETS["cifar10-deep"], layers=layers), STRONG)


def _with_copies(config: RunConfig, strengths: Mapping[ProbeLoss, tuple[float, ...]]) -> RunConfig:
    """The config with the images' own features; the probe sees mirrored copies."""
    probe = ProbeConfig(losses=tuple(strengths), strengths=strengths, augmentation=PHOTOGRAPHS)
    return dataclasses.replace(config, probe=probe, mirrored=False)


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
        "**Deep SCA, 128 and 512 maps** (bundled)",
        ERROR,
        0.48,
        FinalRun(mnist_deep(512, 6, (0.01, 0.03, 0.1))),
        note=f"the probe also sees 6 {COPIES}; the paper has 2048 maps",
    ),
    Row(
        "mnist deep 128+1024 with copies",
        "best",
        "**Deep SCA, 128 and 1024 maps**",
        ERROR,
        0.48,
        FinalRun(mnist_deep(1024, 3, (0.01, 0.03, 0.1))),
        note=f"the probe also sees 3 {COPIES}; the paper has 2048 maps",
    ),
    Row(
        "cifar10 shallow 512 with copies",
        "best",
        "**Shallow SCA, 512 maps** (bundled)",
        ACCURACY,
        72.7,
        FinalRun(PRESETS["cifar10-shallow"]),
        note=MIRRORED,
    ),
    Row(
        "cifar10 shallow 512 mirrored",
        "best",
        "**Shallow SCA, 512 maps**",
        ACCURACY,
        72.7,
        FinalRun(_mirrored(PRESETS["cifar10-shallow"])),
        note=BOTH,
    ),
    Row(
        "cifar10 deep 128+512 with copies",
        "best",
        "**Deep SCA, 128 and 512 maps**",
        ACCURACY,
        78.1,
        FinalRun(_with_copies(cifar10_deep(512), configs.CIFAR10_DEEP.probe.strengths)),
        note=f"{MIRRORED}; {FEWER}",
    ),
    Row(
        "cifar10 deep 128+512 mirrored",
        "best",
        "**Deep SCA, 128 and 512 maps** (bundled)",
        ACCURACY,
        78.1,
        FinalRun(cifar10_deep(512)),
        note=f"{BOTH}; {FEWER}",
    ),
    Row(
        "cifar10 deep 128+2048 with copies",
        "best",
        "**Deep SCA, 128 and 2048 maps**",
        ACCURACY,
        78.1,
        FinalRun(_with_copies(cifar10_deep(2048), {"svm": (0.3, 1.0, 3.0)})),
        note=f"{MIRRORED}; {FEWER}",
    ),
    Row(
        "cifar10 deep 128+2048 mirrored",
        "best",
        "**Deep SCA, 128 and 2048 maps**",
        ACCURACY,
        78.1,
        FinalRun(cifar10_deep(2048)),
        note=f"{BOTH}; {FEWER}",
    ),
    Row(
        "cifar10 deep 128+4096 mirrored",
        "best",
        "**Deep SCA, 128 and 4096 maps**",
        ACCURACY,
        78.1,
        FinalRun(cifar10_deep(4096)),
        note=f"{BOTH}; {FEWER}",
    ),
    Row(
        "cifar10 deep 512+4096 mirrored",
        "best",
        "**Deep SCA, 512 and 4096 maps**",
        ACCURACY,
        78.1,
        FinalRun(_probed(configs.varied(PRESETS["cifar10-deep"], "cifar10-deep", 78.1, images=configs.IMAGES), WEAK)),
        note=f"{BOTH}; {configs.LAYER_2}",
    ),
    Row(
        "mnist deep 128+2048 with 6 copies",
        "best",
        "**Deep SCA, 128 and 2048 maps**",
        ERROR,
        0.48,
        FinalRun(mnist_deep(2048, 6, STRONG)),
        note=f"the probe also sees 6 {COPIES}",
    ),
    Row(
        "cifar10 deep 512+4096 all images",
        "best",
        "**Deep SCA, 512 and 4096 maps**",
        ACCURACY,
        78.1,
        FinalRun(configs.CIFAR10_DEEP),
        note="the paper's probe; layer 2 learns from all images",
    ),
    Row(
        "cifar10 deep 128+4096 mirrored, rate 0.0005",
        "best",
        "**Deep SCA, 128 and 4096 maps**",
        ACCURACY,
        78.1,
        FinalRun(on_128_maps(4096, rate=5e-4, images=configs.IMAGES)),
        note=f"{BOTH}; {FEWER}; its rate is 0.0005; the other row of 128 and 4096 maps has 0.002",
    ),
    Row(
        "cifar10 deep 128+8192 mirrored, all images",
        "best",
        "**Deep SCA, 128 and 8192 maps**",
        ACCURACY,
        78.1,
        FinalRun(on_128_maps(8192, rate=5e-4)),
        note=f"{BOTH}; layer 2 learns from all images, at the rate of the row above",
    ),
)
