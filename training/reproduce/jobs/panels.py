"""Figure 3's six panels: a digit, its filters, and its maps on their way through a network of two layers."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from training import figures
from training.config import RunConfig
from training.reproduce import cost
from training.reproduce.bench import Bench
from training.reproduce.jobs.filters import PICTURE
from training.reproduce.rows import Outcome, Split
from training.stack import FeatureExtractor

SHOWN = 48
"""Maps of the second layer that are shown, as in the paper."""


def panels(extractor: FeatureExtractor, image: Tensor) -> dict[str, Tensor]:
    """What the figure shows for one image uint8 (1, H, W, 1), each panel as tiles (T, 1, h, w)."""
    first, second = extractor.stack()
    with torch.no_grad():
        x = extractor.preprocessing(image)
        maps = functional.conv2d(x, first.encoder, first.encoder_bias, padding=first.config.kernel // 2).relu()
        flat = maps.flatten(2)
        best = flat.argmax(2, keepdim=True)
        winners = torch.zeros_like(flat).scatter_(2, best, flat.gather(2, best)).view_as(maps)
        pooled = first(x)
        deep = second(pooled)[:, :SHOWN]
    return {
        "(a) input": x,
        "(b) decoder filters": first.decoder.detach(),
        "(c) maps in training": winners.transpose(0, 1),
        "(d) maps without sparsity": maps.transpose(0, 1),
        "(e) after max-pooling": pooled.transpose(0, 1),
        "(f) second layer after max-pooling": deep.transpose(0, 1),
    }


@dataclass(frozen=True)
class Panels:
    """The figure; the number is how many maps of both layers won nothing in their last epoch.

    Attributes:
        config: a network of two layers on grey images.
        image: number of the training image.
    """

    config: RunConfig
    image: int = 0
    split: ClassVar[Split] = "none"
    tuned: ClassVar[str] = "nothing"

    def expected_seconds(self) -> float:
        """See `Job`."""
        return 20 + cost.network_seconds(self.config)[0]

    def run(self, bench: Bench, seed: int, folder: Path) -> Outcome:
        """See `Job`."""
        config = dataclasses.replace(self.config, seed=seed)
        dataset = bench.blind(config.dataset)
        pipeline = bench.pipeline(config, dataset)
        extractor = pipeline.fit_layers().cpu()
        image = torch.from_numpy(dataset.train.images[self.image : self.image + 1])
        figures.save_panels(folder / PICTURE, panels(extractor, image))
        layers = [pipeline.folder.read(f"layer{i}.json", {}) for i in (1, 2)]
        return Outcome(
            sum(layer["maps/dead"] for layer in layers), {"layers": layers}, sum(pipeline.folder.stages.values())
        )
