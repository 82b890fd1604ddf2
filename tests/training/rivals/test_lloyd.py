"""K-means: the nearest centroid, the mean of its members, and again."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.rivals.real import photographs
from training.rivals.lloyd import assign, cluster
from training.rivals.sampling import normalise_patches, sample_patches


def patches(count: int = 3000, size: int = 6) -> Tensor:
    """Normalised patches of real photographs, (n, 3, p, p)."""
    return normalise_patches(sample_patches(photographs(), count, size, seed=0), 10.0).view(-1, 3, size, size)


@pytest.mark.parametrize("count", [1, 5, 64, 65, 150])
def test_the_nearest_centroid_is_found(count: int) -> None:
    points = patches()
    centroids = points[:count] + 0.1
    labels, best = assign(points, centroids)
    distances = torch.cdist(points.flatten(1).double(), centroids.flatten(1).double())
    found = distances.gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(found, distances.amin(1), atol=1e-4, rtol=0)
    assert float((labels == distances.argmin(1)).double().mean()) > 0.999
    squared = points.flatten(1).double().square().sum(1) - 2 * best.double()
    torch.testing.assert_close(squared, distances.amin(1).square(), atol=1e-3, rtol=1e-4)


def test_of_equal_centroids_the_first_is_taken() -> None:
    points = patches(200)
    labels, _ = assign(points, points[:1].repeat(130, 1, 1, 1))
    assert int(labels.abs().max()) == 0


def test_it_ends_where_each_centroid_is_the_mean_of_its_members() -> None:
    points = patches()
    clusters = cluster(points, 20, iterations=200, seed=0, tolerance=0)
    labels, _ = assign(points, clusters.centroids)
    assert torch.equal(clusters.sizes, torch.bincount(labels, minlength=20))
    for k in range(20):
        torch.testing.assert_close(clusters.centroids[k], points[labels == k].mean(0), atol=1e-5, rtol=1e-5)


def test_the_error_falls_and_is_the_mean_squared_distance() -> None:
    points = patches()
    clusters = cluster(points, 30, iterations=15, seed=0, tolerance=0)
    assert len(clusters.errors) == 15
    assert all(after <= before + 1e-5 for before, after in zip(clusters.errors, clusters.errors[1:], strict=False))
    nearest = torch.cdist(points.flatten(1).double(), clusters.centroids.flatten(1).double()).amin(1).square().mean()
    assert float(nearest) == pytest.approx(clusters.errors[-1], rel=0.02) and float(nearest) <= clusters.errors[-1]


def test_it_stops_when_few_patches_change() -> None:
    clusters = cluster(patches(), 5, iterations=500, seed=0, tolerance=0.01)
    assert 2 < len(clusters.errors) < 100


def test_a_dead_centroid_is_put_on_a_patch() -> None:
    rng = np.random.default_rng(0)
    corners = torch.from_numpy(10 * np.eye(6, dtype=np.float32))
    # nearly all patches are the same: first centroids drawn from them coincide, and all but one of them are dead
    points = torch.cat([corners[:1].repeat(300, 1), corners[1:].repeat(10, 1)])
    points = points[torch.from_numpy(rng.permutation(len(points)))].view(-1, 6, 1, 1)
    clusters = cluster(points, 6, iterations=100, seed=0, tolerance=0)
    assert clusters.errors[-1] == pytest.approx(0, abs=1e-4)
    assert int((clusters.sizes > 0).sum()) == 6


def test_threads_do_not_change_a_bit() -> None:
    points = patches(5000)
    one = cluster(points, 40, iterations=5, seed=0)
    torch.set_num_threads(2)
    two = cluster(points, 40, iterations=5, seed=0)
    assert torch.equal(one.centroids, two.centroids) and one.errors == two.errors


def test_more_centroids_than_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="11 centroids need as many patches: 10"):
        cluster(patches(10), 11, iterations=1, seed=0)
