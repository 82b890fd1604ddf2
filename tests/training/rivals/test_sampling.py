"""Patches: cut from the images, normalised, whitened."""

import numpy as np
import pytest
import torch

from tests.training.rivals.real import photographs
from training.rivals.sampling import PatchWhitening, normalise_patches, sample_patches

IMAGES = photographs()


def test_every_patch_is_a_window_of_an_image() -> None:
    images = IMAGES[:3]
    windows = np.lib.stride_tricks.sliding_window_view(images, (5, 5), axis=(1, 2)).reshape(-1, 75)
    known = {window.tobytes() for window in windows}
    patches = sample_patches(images, 400, 5, seed=3)
    assert patches.shape == (400, 75)
    assert {patch.tobytes() for patch in patches.byte().numpy()} <= known


def test_patches_come_from_all_images_and_places() -> None:
    images = np.zeros((4, 8, 8, 1), np.uint8)
    images[..., 0] = np.arange(64).reshape(8, 8) + 64 * np.arange(4)[:, None, None]
    corners = sample_patches(images, 2000, 3, seed=0)[:, 0].int()
    assert set(corners.tolist()) == {64 * n + 8 * r + c for n in range(4) for r in range(6) for c in range(6)}


def test_the_same_seed_cuts_the_same_patches() -> None:
    one, same, other = (sample_patches(IMAGES, 50, 6, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_patches_are_in_random_order() -> None:
    images = np.arange(200, dtype=np.uint8).repeat(16).reshape(200, 4, 4, 1)
    values = sample_patches(images, 400, 4, seed=0)[:, 0]
    assert abs(float(values[:200].mean() - values[200:].mean())) < 20


def test_a_patch_larger_than_the_images_is_refused() -> None:
    with pytest.raises(ValueError, match="33 x 33 do not fit"):
        sample_patches(IMAGES, 1, 33, seed=0)


def test_normalised_patches_have_no_mean_and_their_contrast_in_common() -> None:
    patches = sample_patches(IMAGES, 500, 6, seed=0)
    normal = normalise_patches(patches, 10.0)
    torch.testing.assert_close(normal.mean(1), torch.zeros(500), atol=1e-5, rtol=0)
    variance = patches.var(1)
    torch.testing.assert_close(normal.var(1), variance / (variance + 10), atol=1e-4, rtol=1e-4)


def test_a_flat_patch_becomes_nothing() -> None:
    assert float(normalise_patches(torch.full((1, 108), 200.0), 10.0).abs().max()) == 0


def test_whitened_patches_are_uncorrelated_up_to_epsilon() -> None:
    patches = normalise_patches(sample_patches(IMAGES, 20_000, 4, seed=0), 10.0)
    whitening = PatchWhitening.fit(patches, 0.1)
    values = torch.linalg.eigvalsh(torch.cov(patches.T.double()))
    whitened = whitening(patches)
    torch.testing.assert_close(whitened.mean(0), torch.zeros(48), atol=1e-4, rtol=0)
    found = torch.linalg.eigvalsh(torch.cov(whitened.T.double()))
    torch.testing.assert_close(found, values / (values + 0.1), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(whitened @ whitening.inverse + whitening.mean, patches, atol=1e-4, rtol=1e-4)


def test_no_whitening_changes_nothing() -> None:
    patches = torch.randn(7, 12)
    assert torch.equal(PatchWhitening.none(12)(patches), patches)
