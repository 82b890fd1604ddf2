"""An autoencoder without sparsity: it copies."""

import pytest
import torch

from tests.training.drawn import photos
from training.rivals.errors import NotFittedError
from training.rivals.plain import PlainAutoencoder, centre_share, peak_share

IMAGES = photos(640, 12, 12, 3, seed=1).images


def test_it_reconstructs_almost_everything() -> None:
    model = PlainAutoencoder(8, 5, epochs=20, learning_rate=1e-2).fit(IMAGES)
    assert model.trained.loss_share < 0.03
    assert model.encoder.shape == model.decoder.shape == (8, 3, 5, 5)


def test_an_unfitted_model_says_so() -> None:
    with pytest.raises(NotFittedError, match="call fit first"):
        PlainAutoencoder(8, 5).decoder  # noqa: B018


def test_the_shares_of_a_delta_filter_are_one() -> None:
    filters = torch.zeros(3, 3, 5, 5)
    filters[0, :, 2, 2] = torch.tensor([1.0, -2.0, 0.5])
    filters[1, :, 0, 4] = 1
    filters[2] = 1
    torch.testing.assert_close(centre_share(filters), torch.tensor([1.0, 0.0, 1 / 25]))
    torch.testing.assert_close(peak_share(filters), torch.tensor([1.0, 1.0, 1 / 25]))
