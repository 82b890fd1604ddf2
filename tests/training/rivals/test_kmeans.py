"""Triangle k-means: its features are those that the publication defines, and say something of the images."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.training.drawn import CLASSES, flat, photos
from tests.training.rivals.real import photographs
from training.config import ProbeConfig
from training.journal import Journal
from training.probe import ProbeFit
from training.rivals.errors import NotFittedError
from training.rivals.kmeans import TriangleKMeans
from training.rivals.sampling import PatchWhitening, normalise_patches, sample_patches
from training.rivals.triangle import MaxPooling, Pooling, Quadrants, TriangleEncoder

IMAGES = photographs()


def fitted(maps: int = 20, whiten: bool = True, pooling: Pooling | None = None, patch: int = 6) -> TriangleKMeans:
    return TriangleKMeans(maps, patch, whiten, patches=4000, iterations=10, pooling=pooling).fit(IMAGES)


def dense_maps(images: npt.NDArray[np.uint8], model: TriangleKMeans) -> Tensor:
    """Triangle maps (N, K, R, S) float64, patch by patch as Coates et al. 2011 write them (sections 3.1, 3.2.3)."""
    whitening = PatchWhitening.none(3 * model.patch**2)
    if model.whiten:
        sample = sample_patches(IMAGES, model.patches, model.patch, model.seed)
        whitening = PatchWhitening.fit(normalise_patches(sample, 10.0), 0.1)
    windows = np.lib.stride_tricks.sliding_window_view(images, (model.patch,) * 2, axis=(1, 2))
    rows = torch.from_numpy(windows.reshape(-1, 3 * model.patch**2)).double()
    centred = rows - rows.mean(1, keepdim=True)
    normal = centred / (rows.var(1, keepdim=True) + 10).sqrt()
    white = (normal - whitening.mean.double()) @ whitening.matrix.double()
    distances = torch.cdist(
        white, model.clusters.centroids.flatten(1).double(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    triangle = (distances.mean(1, keepdim=True) - distances).clamp(min=0)
    return triangle.view(*windows.shape[:3], -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("patch", [5, 6])
def test_features_are_the_published_ones(whiten: bool, patch: int) -> None:
    model = fitted(whiten=whiten, patch=patch)
    maps = dense_maps(IMAGES, model)
    half = (maps.shape[2] + 1) // 2
    quarters = [
        maps[:, :, rows, columns].sum((2, 3))
        for rows in (slice(half), slice(half, None))
        for columns in (slice(half), slice(half, None))
    ]
    found = model.features(IMAGES)
    assert found.dtype == torch.float32 and found.shape == (len(IMAGES), 80)
    torch.testing.assert_close(found.double(), torch.stack(quarters, 2).flatten(1), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("width", "stride"), [(5, 4), (3, 2), (6, 4), (2, 2), (5, 3)])
def test_max_pooling_is_that_of_the_autoencoder(width: int, stride: int) -> None:
    model = fitted(pooling=MaxPooling(width, stride))
    expected = functional.max_pool2d(dense_maps(IMAGES[:4], model), width, stride, padding=width // 2)
    found = model.features(IMAGES[:4]).view(expected.shape)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-3)


def test_a_batch_gives_what_single_images_give() -> None:
    model = fitted()
    singles = torch.cat([model.features(IMAGES[i : i + 1]) for i in range(len(IMAGES))])
    torch.testing.assert_close(model.features(IMAGES), singles, rtol=1e-5, atol=1e-3)


def test_threads_do_not_change_a_bit() -> None:
    model = fitted()
    one = model.features(IMAGES)
    torch.set_num_threads(2)
    assert torch.equal(model.features(IMAGES), one)
    assert torch.equal(fitted().features(IMAGES), one)


def test_features_go_where_they_are_wanted() -> None:
    model = fitted()
    out = torch.empty(len(IMAGES), 80, dtype=torch.float16)
    assert model.features(IMAGES, out) is out
    torch.testing.assert_close(out.float(), model.features(IMAGES), rtol=1e-3, atol=1e-2)


def test_flat_images_have_finite_features() -> None:
    features = fitted().features(np.concatenate([flat(1, 32, 32, 3, level=level) for level in (0, 77, 255)]))
    assert bool(features.isfinite().all())
    # whatever its level, a flat patch is the same after its contrast was normalised
    torch.testing.assert_close(features[1:], features[:1].expand(2, -1), rtol=1e-3, atol=0.05)


def test_a_centroids_own_patch_has_distance_zero_and_not_less() -> None:
    patches = normalise_patches(sample_patches(IMAGES, 12, 32, seed=0), 10.0)
    encoder = TriangleEncoder(patches.view(-1, 3, 32, 32), PatchWhitening.none(3072), 10.0, Quadrants())
    features = encoder.features(IMAGES)
    assert bool(features.isfinite().all()) and float(features.max()) > 0


def test_an_unfitted_model_says_so() -> None:
    with pytest.raises(NotFittedError, match="call fit first"):
        TriangleKMeans(4).features(IMAGES)


def test_a_linear_probe_reads_the_class_from_the_features(tmp_path: Path) -> None:
    train, test = photos(600, 16, 16, 3, seed=1), photos(200, 16, 16, 3, seed=2)
    model = TriangleKMeans(32, patches=5000, iterations=10).fit(train.images)
    config = ProbeConfig(losses=("svm",), strengths={"svm": (0.03, 0.3)}, max_iterations=30)
    with Journal(tmp_path) as journal:
        features, labels = model.features(train.images), torch.from_numpy(train.labels)
        probe = ProbeFit(features, labels, CLASSES, 32, config, journal).run()
    scores = model.features(test.images) @ probe.weights + probe.bias
    assert float((scores.argmax(1) == torch.from_numpy(test.labels)).float().mean()) > 0.95
