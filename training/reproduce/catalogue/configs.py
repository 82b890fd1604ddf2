"""The networks of the rows: the paper's presets, and what is changed in them from row to row."""

import dataclasses
from typing import Any

from training.config import LayerConfig, ProbeConfig, RunConfig
from training.presets import PRESETS


def as_published(config: RunConfig) -> RunConfig:
    """The config with the paper's features and probe, which see the images alone."""
    return dataclasses.replace(config, probe=dataclasses.replace(config.probe, augmentation=None), mirrored=False)


MNIST = as_published(PRESETS["mnist-shallow"])
CIFAR10 = as_published(PRESETS["cifar10-shallow"])
MNIST_DEEP = dataclasses.replace(
    PRESETS["mnist-deep"],
    probe=ProbeConfig(strengths={"svm": (0.03, 0.1, 0.3, 1.0), "logistic": (0.0003, 0.001, 0.003, 0.01)}),
)
CIFAR10_DEEP = dataclasses.replace(
    as_published(PRESETS["cifar10-deep"]),
    probe=ProbeConfig(strengths={"svm": (0.1, 0.3, 1.0, 3.0), "logistic": (0.01, 0.03, 0.1, 0.3)}),
)
IMAGES = 20_000
"""Second layers learn from as many here: that takes minutes without a GPU (the presets' learn from all)."""
LAYER_2 = f"layer 2 learns from {IMAGES:,} images"
"""What a row says of it."""
ON_128_MAPS: dict[str, Any] = {"learning_rate": 2e-3, "images": IMAGES}
"""A second layer on 128 maps: it has the learning rate of a first layer; the preset's is for 512 maps below."""
RAW = {"whitening": "contrast"}
"""Images that are not whitened: of even brightness and contrast, as patches are in Coates et al. 2011."""


def varied(config: RunConfig, name: str, paper: float | None = None, **changes: Any) -> RunConfig:
    """The config under another name, its last layer changed in some fields of its `LayerConfig`."""
    *below, last = config.layers
    layers = (*below, dataclasses.replace(last, **changes))
    return dataclasses.replace(config, name=name, layers=layers, paper_value=paper)


def stacked(config: RunConfig, name: str, above: LayerConfig) -> RunConfig:
    """The config with another layer on top."""
    return dataclasses.replace(config, name=name, layers=(*config.layers, above), paper_value=None)


def _images(config: RunConfig, images: str) -> RunConfig:
    """The config for `raw` images; any other word leaves them whitened."""
    changes: dict[str, Any] = RAW if images == "raw" else {}
    return dataclasses.replace(config, **changes)


WIDE = ProbeConfig(strengths={"svm": (0.03, 0.1, 0.3, 1.0, 3.0), "logistic": (0.003, 0.01, 0.03, 0.1, 0.3)})
"""For numbers of features from 512 on: the fewer there are, the weaker the best penalty."""


RATES: dict[tuple[int, str], float] = {(32, "whitened"): 4e-3}
"""Learning rates that were chosen for a size, of which the paper says most; all others have that of 512 maps."""


def cifar10(maps: int, images: str, own_rate: bool = True) -> RunConfig:
    """Figure 1 (c)'s network for `raw` or `whitened` images; `own_rate` takes the size's own, if it has one."""
    rates = {"learning_rate": RATES[maps, images]} if own_rate and (maps, images) in RATES else {}
    config = varied(CIFAR10, f"cifar10-{images}-{maps}", maps=maps, **rates)
    return _images(dataclasses.replace(config, probe=WIDE), images)


def stereo(config: RunConfig, images: str) -> RunConfig:
    """Figure 5's 32 maps."""
    return _images(varied(config, f"{config.dataset}-{images}-32", maps=32), images)


MNIST_16 = dataclasses.replace(
    varied(MNIST, "mnist-16", 1.15, maps=16),
    probe=ProbeConfig(strengths={"svm": (0.003, 0.01, 0.03, 0.1, 0.3), "logistic": (0.0001, 0.0003, 0.001, 0.003)}),
)
MNIST_16_128 = stacked(MNIST_16, "mnist-16-128", dataclasses.replace(MNIST_DEEP.layers[1], maps=128))
