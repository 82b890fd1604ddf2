"""Features of few images in, as many coordinates an image as there are images out: the same probe, at less cost."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from training.config import ProbeConfig
from training.features import CPU, FeatureFile, Features, blocks
from training.scaling import Scaling


@dataclass(frozen=True)
class Span:
    """The directions that N images' standardised features span, N well below D.

    The weights of an L2-regularised linear classifier are a combination of the images that it was fitted to, and
    rotating them changes nothing: a fit on the N coordinates is the fit on the D features, at N / D of its cost.

    Attributes:
        scaling: standardises features (N, D).
        basis: (D, N) float32, orthonormal.
    """

    scaling: Scaling
    basis: Tensor

    @classmethod
    def of(cls, features: Features, maps: int) -> "Span":
        """The span of features (N, D) of which each map owns D / maps consecutive ones."""
        scaling = Scaling.fit(features, maps)
        rows = torch.cat([(block - scaling.mean) * scaling.scale for _, _, block in blocks(features)])
        return cls(scaling, torch.linalg.qr(rows.T)[0])

    def project(self, features: Features) -> Tensor:
        """Coordinates (N', N) float32 of features (N', D)."""
        device = CPU if isinstance(features, FeatureFile) else features.device
        out = torch.empty(len(features), self.basis.shape[1], device=device)
        weights = self.basis * self.scaling.scale[:, None]
        offset = self.scaling.mean @ weights
        for start, stop, block in blocks(features):
            torch.mm(block, weights, out=out[start:stop])
        return out.sub_(offset)

    def config(self, config: ProbeConfig) -> ProbeConfig:
        """The same trials: the coordinates' mean variance is D / N times that of the features, until it is scaled."""
        columns, rows = self.basis.shape
        strengths = {
            loss: tuple(strength * rows / columns for strength in tried) for loss, tried in config.strengths.items()
        }
        return dataclasses.replace(config, strengths=strengths)
