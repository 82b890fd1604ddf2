"""Networks that nobody trained: all that a graph and a bundle can tell, in milliseconds."""

import torch

from tests.training.drawn import LABELS
from training import whitening
from training.config import RunConfig
from training.datasets import Dataset
from training.export import TrainedModel
from training.framing import Framing, framed
from training.probe import Probe, Trial
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor

TRIAL = Trial("svm", 1.0, 0.9, 0.8, 1.2)


def extractor(run: RunConfig, data: Dataset, seed: int = 0) -> FeatureExtractor:
    """A fitted whitening and layers of random filters."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[SparseConvAutoencoder] = []
    for index, settings in enumerate(run.layers):
        channels = layers[-1].config.maps if layers else data.train.images.shape[3] // data.views
        layer = SparseConvAutoencoder(settings, channels, seed + index)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        layers.append(layer)
    framing = Framing(data.views, run.window)
    fitted = whitening.fit(framed(data.train.images, framing), run)
    return FeatureExtractor(fitted, layers, framing, run.mirrored, run.all_layers)


def model(run: RunConfig, data: Dataset, seed: int = 0) -> TrainedModel:
    """The same with a random probe on top."""
    network = extractor(run, data, seed)
    _, height, width, _ = data.train.images.shape
    size = network.feature_count(height, width)
    generator = torch.Generator().manual_seed(seed + 1)
    weights = torch.randn(size, len(LABELS), generator=generator) / size**0.5
    probe = Probe(weights, torch.randn(len(LABELS), generator=generator), TRIAL, (TRIAL,))
    return TrainedModel(run, data, network, probe)
