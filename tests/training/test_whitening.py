"""Contrast normalisation and whitening, against numpy and against their definitions."""

from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.training.drawn import config, dataset, flat, photos
from training import checkpoints, whitening
from training.config import Whitening as Kind
from training.splits import DataError
from training.whitening import PixelScaling, SeparableWhitening, Whitening, ZcaWhitening

KINDS: tuple[Kind, ...] = ("zca", "separable")
every_kind = pytest.mark.parametrize("kind", KINDS)

Floats = npt.NDArray[np.float64]


def normalised(images: npt.NDArray[np.uint8], epsilon: float) -> Floats:
    """Contrast-normalised rows (N, C * H * W) by numpy in float64."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1).astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    return cast(Floats, rows / np.sqrt(rows.var(1, keepdims=True) + epsilon))


def fitted(kind: Kind, images: npt.NDArray[np.uint8], epsilon: float = 0.1) -> Whitening:
    made = whitening.fit(images, config(kind, whitening_epsilon=epsilon))
    assert isinstance(made, Whitening)
    return made


def as_matrix(made: Whitening) -> Floats:
    """The explicit matrix (d, d): each row what one unit vector becomes."""
    shape = made.mean.shape
    unit = torch.eye(made.mean.numel()).view(-1, *shape)
    return cast(Floats, made.whiten(unit).flatten(1).double().numpy())


def test_statistics_in_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images = photos(100, 6, 5, 3).images
    rows = normalised(images, 10.0)
    monkeypatch.setattr(whitening, "FIT_IMAGES", 7)
    mean, covariance = whitening.measure(images, 10.0)
    np.testing.assert_allclose(mean.flatten().numpy(), rows.mean(0), atol=1e-6)
    np.testing.assert_allclose(covariance.numpy(), np.cov(rows.T, bias=True), atol=1e-6)


def test_images_mapped_from_disk_are_measured_alike(tmp_path: Path) -> None:
    images = photos(40, 6, 5, 1).images
    path = tmp_path / "images.npy"
    np.save(path, images)
    mapped = np.load(path, mmap_mode="c")
    for one, other in zip(whitening.measure(images, 10.0), whitening.measure(mapped, 10.0), strict=True):
        assert torch.equal(one, other)


def test_contrast_is_normalised_image_by_image() -> None:
    images = photos(5, 9, 7, 3).images
    got = whitening.normalise_contrast(whitening.to_planes(torch.from_numpy(images)), 10.0)
    np.testing.assert_allclose(got.flatten(1).numpy(), normalised(images, 10.0), atol=1e-5)


def test_zca_matches_numpy_and_whitens() -> None:
    images, epsilon = photos(3000, 6, 6, 1).images, 1e-3
    rows = normalised(images, 10.0)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    expected = (rows - rows.mean(0)) @ vectors / np.sqrt(values.clip(0) + epsilon) @ vectors.T
    got = fitted("zca", images, epsilon)(torch.from_numpy(images)).flatten(1).double().numpy()
    # the matrix is kept as float16: 11 bits
    assert np.abs(got - expected).max() <= 2e-3 * np.abs(expected).max()
    # the covariance along each eigenvector is its variance over itself + epsilon, so 1 where there is signal
    along = ((got @ vectors) ** 2).mean(0)
    np.testing.assert_allclose(along, values / (values + epsilon), atol=0.02)


def test_separable_whitening_is_its_kronecker_matrix() -> None:
    made = fitted("separable", photos(200, 5, 6, 3).images)
    assert isinstance(made, SeparableWhitening)
    colors, rows, columns = (part.double().numpy() for part in (made.colors, made.rows, made.columns))
    basis = np.kron(np.kron(colors, rows), columns)
    expected = basis @ np.diag(made.gains.double().flatten().numpy()) @ basis.T
    np.testing.assert_allclose(as_matrix(made), expected, atol=1e-5 * float(made.gains.max()))
    for part in (colors, rows, columns):
        np.testing.assert_allclose(part.T @ part, np.eye(len(part)), atol=1e-6)


def test_gains_are_one_over_the_deviation_along_each_basis_vector() -> None:
    images, epsilon = photos(300, 5, 6, 3).images, 0.05
    made = fitted("separable", images, epsilon)
    assert isinstance(made, SeparableWhitening)
    rows = normalised(images, 10.0)
    planes = torch.from_numpy(rows - rows.mean(0)).float().view(-1, 3, 5, 6)
    variance = made.rotate(planes).double().square().mean(0)
    torch.testing.assert_close(made.gains.double(), (variance + epsilon).rsqrt(), rtol=1e-4, atol=0)
    back = made.rotate_back(made.rotate(planes))
    torch.testing.assert_close(back, planes, rtol=0, atol=1e-5)


def test_on_stationary_images_both_kinds_nearly_agree() -> None:
    # waves of all phases: their covariance depends on the distance of two pixels only
    rng = np.random.default_rng(0)
    place = np.arange(8)
    phase, pitch = rng.uniform(0, 2 * np.pi, (2, 4000, 1, 1)), rng.uniform(0.2, 1.2, (2, 4000, 1, 1))
    waves = np.sin(pitch[0] * place[None, :, None] + phase[0]) + np.sin(pitch[1] * place[None, None, :] + phase[1])
    images = (128 + 60 * waves + rng.normal(0, 4, waves.shape)).clip(0, 255).astype(np.uint8)[..., None]
    dense, separable = (fitted(kind, images)(torch.from_numpy(images[:200])) for kind in KINDS)
    difference = float((dense - separable).norm() / dense.norm())
    assert difference < 0.35
    untouched = whitening.normalise_contrast(whitening.to_planes(torch.from_numpy(images[:200])), 10.0)
    assert difference < 0.5 * float((dense - untouched).norm() / dense.norm())


@every_kind
def test_whitening_is_symmetric_and_undone_by_its_inverse(kind: Kind) -> None:
    images = photos(200, 6, 5, 3).images
    made = fitted(kind, images)
    matrix = as_matrix(made)
    np.testing.assert_allclose(matrix, matrix.T, atol=2e-3 * np.abs(matrix).max())
    planes = whitening.normalise_contrast(whitening.to_planes(torch.from_numpy(images[:20])), 10.0)
    back = made.to_pixels(made.whiten(planes))
    assert float((back - planes).abs().max()) <= 5e-3 * float(planes.abs().max())


@every_kind
def test_whitening_flattens_the_spectrum(kind: Kind) -> None:
    images = photos(2000, 6, 6, 3).images
    before = np.linalg.eigvalsh(np.cov(normalised(images, 10.0), rowvar=False))
    white = fitted(kind, images, 1e-3)(torch.from_numpy(images)).flatten(1).double().numpy()
    after = np.linalg.eigvalsh(np.cov(white, rowvar=False))
    assert after[-1] / np.median(after) < 0.2 * before[-1] / np.median(before)


@every_kind
@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_flat_image_is_only_the_mean_taken_off(kind: Kind, level: int) -> None:
    made = fitted(kind, photos(100, 6, 6, 3).images)
    got = made(torch.from_numpy(flat(2, 6, 6, 3, level=level)))
    assert torch.isfinite(got).all()
    torch.testing.assert_close(got, made.whiten(-made.mean[None]).expand(2, -1, -1, -1), rtol=0, atol=1e-4)
    contrast = whitening.normalise_contrast(whitening.to_planes(torch.from_numpy(flat(1, 6, 6, 3, level=level))), 10.0)
    assert not contrast.any()


@every_kind
def test_flat_training_images_give_no_nan(kind: Kind) -> None:
    made = fitted(kind, flat(30, 4, 4, 3))
    got = made(torch.from_numpy(photos(5, 4, 4, 3).images))
    assert torch.isfinite(got).all()


def test_zca_is_kept_in_numbers_that_float16_holds_exactly() -> None:
    made = fitted("zca", photos(100, 5, 5, 3).images)
    assert isinstance(made, ZcaWhitening)
    assert torch.equal(made.matrix, made.matrix.half().float())


def test_without_whitening_pixels_are_scaled() -> None:
    images = photos(3, 5, 4, 1).images
    made = whitening.fit(images, config("none"))
    assert isinstance(made, PixelScaling)
    expected = images.transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(made(torch.from_numpy(images)).numpy(), expected, rtol=1e-6)


def test_contrast_alone_is_normalised_rows_without_their_mean() -> None:
    images = photos(40, 6, 5, 3).images
    made = fitted("contrast", images)
    rows = normalised(images, 10.0)
    got = made(torch.from_numpy(images))
    np.testing.assert_allclose(got.flatten(1).numpy(), rows - rows.mean(0), atol=1e-5)
    assert torch.equal(made.to_pixels(got), got)


@pytest.mark.parametrize("kind", ["none", "contrast", *KINDS])
def test_what_is_saved_is_restored_to_the_bit(kind: Kind, tmp_path: Path) -> None:
    images = photos(50, 6, 5, 3).images
    settings = config(kind)
    made = whitening.fit(images, settings)
    path = tmp_path / "whitening.npz"
    checkpoints.save(path, made.state_dict())
    again = whitening.restore(checkpoints.load(path), settings)
    pixels = torch.from_numpy(images)
    assert type(again) is type(made) and torch.equal(again(pixels), made(pixels))


def test_contrast_alone_needs_no_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.asarray(dataset().train.images)
    (mean, _), (alone, nothing) = (whitening.measure(images, 10.0, mean_only=only) for only in (False, True))
    torch.testing.assert_close(alone, mean, rtol=0, atol=0)
    assert nothing.shape == (0, 0)
    monkeypatch.setattr(whitening, "MOST_NUMBERS", images[0].size - 1)
    assert whitening.fit(images, config("contrast")).kind == "contrast"
    for kind in ("zca", "separable"):
        with pytest.raises(DataError, match=f"whitening {kind}: images of 432 numbers are too large"):
            whitening.fit(images, config(kind))
