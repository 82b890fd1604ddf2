"""Images in, triangle k-means features out: the patch-wise rival of the paper's Table 2 and Figure 1 (c).

Coates, Lee and Ng: An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011.
"""

from typing import Self

from torch import Tensor

from training.rivals.errors import NotFittedError
from training.rivals.lloyd import Clusters, cluster
from training.rivals.sampling import PatchWhitening, normalise_patches, sample_patches
from training.rivals.triangle import Pooling, Quadrants, TriangleEncoder
from training.sources import Pixels


class TriangleKMeans:
    """K-means of normalised and whitened patches; triangle activations at every place, pooled.

    Args:
        maps: K, centroids.
        patch: p, width and height of a patch, in pixels.
        whiten: whether patches are whitened (ZCA) after their contrast was normalised.
        seed: seeds the patches and the first centroids.
        patches: how many are clustered.
        iterations: of k-means, at most; on CIFAR-10 ten gave the same validation accuracy.
        contrast_epsilon: added to a patch's variance, in squared grey levels.
        whitening_epsilon: added to each eigenvalue of the normalised patches' covariance.
        pooling: how maps become features; the sums over quadrants that were published, by default.
    """

    def __init__(
        self,
        maps: int,
        patch: int = 6,
        whiten: bool = True,
        seed: int = 0,
        patches: int = 400_000,
        iterations: int = 50,
        contrast_epsilon: float = 10.0,
        whitening_epsilon: float = 0.1,
        pooling: Pooling | None = None,
    ) -> None:
        self.maps, self.patch, self.whiten, self.seed = maps, patch, whiten, seed
        self.patches, self.iterations = patches, iterations
        self.contrast_epsilon, self.whitening_epsilon = contrast_epsilon, whitening_epsilon
        self.pooling: Pooling = pooling or Quadrants()
        self._fitted: tuple[Clusters, PatchWhitening, TriangleEncoder] | None = None

    def fit(self, images: Pixels) -> Self:
        """Learn the whitening and the centroids from uint8 (N, H, W, C)."""
        channels = images.shape[3]
        patches = sample_patches(images, self.patches, self.patch, self.seed)
        patches = normalise_patches(patches, self.contrast_epsilon)
        size = patches.shape[1]
        whitening = PatchWhitening.fit(patches, self.whitening_epsilon) if self.whiten else PatchWhitening.none(size)
        pictures = whitening(patches).view(-1, channels, self.patch, self.patch)
        clusters = cluster(pictures, self.maps, self.iterations, self.seed)
        encoder = TriangleEncoder(clusters.centroids, whitening, self.contrast_epsilon, self.pooling)
        self._fitted = clusters, whitening, encoder
        return self

    def features(self, images: Pixels, out: Tensor | None = None) -> Tensor:
        """Features of uint8 (N, H, W, C): float32 (N, K * G), each map's G windows next to each other.

        Args:
            images: of the fitted number of channels.
            out: where to write them, of any float type; by default a new tensor.

        Raises:
            NotFittedError: `fit` was not called.
        """
        return self._parts()[2].features(images, out)

    @property
    def clusters(self) -> Clusters:
        """The centroids, pictures of whitened patches (K, C, p, p), with their sizes."""
        return self._parts()[0]

    def _parts(self) -> tuple[Clusters, PatchWhitening, TriangleEncoder]:
        if self._fitted is None:
            raise NotFittedError
        return self._fitted
