"""A sparse autoencoder of patches: k units survive, and filters become local."""

import pytest
import torch

from tests.training.rivals.real import photographs
from training.rivals.errors import NotFittedError
from training.rivals.patches import PatchAutoencoder, PatchFilters

IMAGES = photographs()


def fitted(**changes: float) -> PatchFilters:
    plain = {"units": 40, "patch": 5, "k": 8, "patches": 3000, "epochs": 4, "batch": 100, "learning_rate": 5e-3}
    return PatchAutoencoder(**{**plain, **changes}).fit(IMAGES).result  # type: ignore[arg-type]  # all but one are int


def test_it_learns_to_reconstruct() -> None:
    early, late = fitted(epochs=1), fitted(epochs=8)
    assert late.filters.shape == (40, 3, 5, 5)
    assert late.loss_share < 0.7 < 1.0 and late.loss_share < early.loss_share


def test_more_units_that_survive_reconstruct_better() -> None:
    assert fitted(k=30).loss_share < fitted(k=4).loss_share


def test_k_falls_to_its_value_over_the_first_half() -> None:
    model = PatchAutoencoder(units=100, k=10)
    assert [model.k_at(share) for share in (0, 0.25, 0.5, 0.75, 1)] == [100, 55, 10, 10, 10]


def test_units_that_no_patch_uses_are_counted() -> None:
    assert fitted().dead_units < 40
    crowd = fitted(units=400, k=1)
    assert crowd.dead_units > 0


def test_the_same_seed_gives_the_same_filters() -> None:
    one, same, other = fitted(), fitted(), fitted(seed=1)
    assert torch.equal(one.filters, same.filters) and not torch.equal(one.filters, other.filters)
    torch.set_num_threads(2)
    assert torch.equal(fitted().filters, one.filters)


@pytest.mark.parametrize("k", [0, 41])
def test_a_k_that_units_cannot_have_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and 40 units: {k}"):
        PatchAutoencoder(units=40, k=k)


def test_an_unfitted_model_says_so() -> None:
    with pytest.raises(NotFittedError, match="call fit first"):
        PatchAutoencoder().filters  # noqa: B018
