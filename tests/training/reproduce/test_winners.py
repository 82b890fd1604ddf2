"""Features of winners alone."""

import torch

from tests.training.drawn import config, dataset, layer
from tests.training.reproduce.measuring import measure
from training import whitening
from training.reproduce.bench import Bench
from training.reproduce.jobs.winners import WinnersValidation, winners_alone
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor

SHALLOW = config("separable", name="shallow")
CHANCE = 25.0


def test_winners_alone_are_the_largest_of_each_map_pooled() -> None:
    extractor = FeatureExtractor(
        whitening.fit(dataset().train.images, SHALLOW), [SparseConvAutoencoder(layer(), 3, seed=1)]
    )
    images = torch.from_numpy(dataset().train.images[:5])
    sparse, soft = winners_alone(extractor, images), extractor.maps(images)
    assert sparse.shape == soft.shape
    torch.testing.assert_close(sparse.amax((2, 3)), soft.amax((2, 3)))
    # A winner is in as many windows as reach it, and all else is zero.
    for winners in sparse.flatten(0, 1):
        assert len(winners.unique()) <= 2 and bool((winners > 0).sum() <= 4)


def test_winners_alone_are_worth_more_than_chance(bench: Bench) -> None:
    outcome = measure(WinnersValidation(SHALLOW), bench)
    assert CHANCE < outcome.value <= 100 and outcome.facts["chosen"]["loss"] in ("svm", "logistic")
