"""Features of a network whose sparsity stays on: in each map only the winner, pooled. On held-out images."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.config import RunConfig
from training.features import CPU, room, write
from training.probe import best_of
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.jobs.sca import in_metric
from training.reproduce.jobs.scoring import HELD_OUT, Labelled, trials
from training.reproduce.rows import Outcome, Split
from training.sources import ImageSource
from training.stack import FeatureExtractor

BATCH = 256


def winners_alone(extractor: FeatureExtractor, images: Tensor) -> Tensor:
    """The pooled maps of a network of one layer, in each of which all but the largest activation is zero.

    Args:
        extractor: the frozen network.
        images: uint8 (N, H, W, C).

    Returns:
        float32 (N, M, H', W'), none negative.
    """
    (layer,) = extractor.stack()
    with torch.no_grad():
        x = extractor.preprocessing(extractor.framing(images))
        pad, pool = layer.config.kernel // 2, layer.config.pool_width
        maps = functional.conv2d(x, layer.encoder, layer.encoder_bias, padding=pad).relu_()
        flat = maps.flatten(2)
        values, places = flat.max(2, keepdim=True)
        sparse = torch.zeros_like(flat).scatter_(2, places, values).view_as(maps)
        return functional.max_pool2d(sparse, pool, layer.config.pool_stride, padding=pool // 2)


@dataclass(frozen=True)
class WinnersValidation:
    """A network of one layer, as trained; its probe sees the winners alone (paper, section 2.1, at test time)."""

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
        extractor = pipeline.fit_layers().to(CPU)
        features = self._features(extractor, pipeline.train.images, folder)
        images = Labelled(features, pipeline.train.labels, len(pipeline.dataset.label_names), config.layers[0].maps)
        best = best_of(trials(images, config.probe, folder))
        facts = {"chosen": {"loss": best.loss, "strength": best.strength}}
        return Outcome(round(in_metric(100 * best.validation_accuracy, config.metric), 4), facts)

    @staticmethod
    def _features(extractor: FeatureExtractor, images: ImageSource, folder: Path) -> Tensor:
        maps, rows, columns = extractor.output_shape(*images.shape[1:3])
        features = room(len(images), maps * rows * columns, folder / "features.f16")
        assert isinstance(features, Tensor), "the features of a narrow network fit into memory"
        for start in range(0, len(images), BATCH):
            pixels = images[np.arange(start, min(start + BATCH, len(images)))]
            write(features, start, winners_alone(extractor, torch.from_numpy(np.asarray(pixels))).flatten(1))
        return features
