"""Variants of the winner-take-all layer: trained alike, different where they should be."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.drawn import config, layer, photos
from training import whitening
from training.fit import LayerFit
from training.journal import Journal
from training.rivals.selection import LargestOverall, TopPerMap
from training.rivals.variants import VARIANTS, TrainedVariant, Variant, VariantFit
from training.sca import SparseConvAutoencoder

IMAGES = photos(160, 12, 12, 3, seed=1).images
PREPROCESSING = whitening.fit(IMAGES, config("separable"))


def trained(variant: Variant, **changes: float) -> TrainedVariant:
    return VariantFit(layer(**changes), variant, PREPROCESSING, seed=0).fit(IMAGES)


def test_the_papers_rule_ends_where_the_fast_engine_ends(tmp_path: Path) -> None:
    found = trained(Variant())
    expected = SparseConvAutoencoder(layer(), 3, seed=1)
    with Journal(tmp_path) as journal:
        fit = LayerFit(expected, IMAGES, lambda batch: PREPROCESSING(batch), tmp_path / "layer.npz", journal, seed=0)
        fit.run()
        (loss,) = journal.series("loss/epoch")[1][-1:]
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.layer.state_dict()[name], value, rtol=0.02, atol=2e-3, msg=name)
    assert found.loss_share == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_to_reconstruct(name: str) -> None:
    untrained, found = trained(VARIANTS[name](12), epochs=1), trained(VARIANTS[name](12), epochs=6)
    assert found.loss_share < untrained.loss_share < 1.05
    assert found.filters.shape == (12, 3, 5, 5) and found.images == 160
    assert found.dead_maps == int((found.wins == 0).sum())


def test_more_survivors_reconstruct_better() -> None:
    one, four = trained(Variant(), epochs=6), trained(Variant(TopPerMap(4)), epochs=6)
    assert four.loss_share < one.loss_share


def test_tied_filters_are_equal_and_untied_are_not() -> None:
    tied, untied = trained(Variant(tied=True)), trained(Variant())
    assert torch.equal(tied.layer.encoder, tied.layer.decoder)
    assert not torch.equal(untied.layer.encoder, untied.layer.decoder)


def test_few_survivors_of_all_maps_leave_maps_dead() -> None:
    greedy = trained(Variant(LargestOverall(1)), maps=40, epochs=6)
    assert greedy.dead_maps > 10
    assert int(greedy.wins.sum()) <= 160, "more than one survivor an image"
    assert trained(Variant(), maps=40, epochs=6).dead_maps == 0


def test_features_are_the_pooled_maps_with_the_sparsity_off(tmp_path: Path) -> None:
    found = trained(Variant(LargestOverall(12)))
    features = found.features(IMAGES[:9], tmp_path / "spill")
    assert isinstance(features, Tensor)
    with torch.no_grad():
        expected = found.layer(PREPROCESSING(torch.from_numpy(IMAGES[:9]))).flatten(1)
    torch.testing.assert_close(features.float(), expected, rtol=1e-3, atol=1e-3)


def test_threads_do_not_change_a_bit() -> None:
    one = trained(Variant(TopPerMap(2)), epochs=1)
    torch.set_num_threads(2)
    assert torch.equal(trained(Variant(TopPerMap(2)), epochs=1).filters, one.filters)
