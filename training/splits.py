"""Images and labels in, a data set of two splits out: what every loader returns and every stage takes."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.sources import FolderSource, ImageSource, reorder

Labels = npt.NDArray[np.int64]

DIGEST_IMAGES = 4096
"""Images that are hashed at a time; those that do not lie in order are copied for it."""


class DataError(RuntimeError):
    """A data set is missing or is not what it says it is."""


@dataclass(frozen=True)
class Split:
    """Samples uint8 (N, H, W, C) and their labels int64 (N,), 0 to K - 1.

    A sample of several views has them one after the other along C. `groups` int64 (N,), where they are known, say
    which samples belong together (pictures of one object, say) and should not be on both sides of a validation split.
    The last `held_out` of them are the ones to validate on.
    """

    images: ImageSource
    labels: Labels
    groups: Labels | None = None
    held_out: int = 0

    def __post_init__(self) -> None:
        """Refuse a split whose parts do not belong together."""
        if len(self.images.shape) != 4 or len(self.images) != len(self.labels):
            raise DataError(f"images {self.images.shape} do not go with labels {self.labels.shape}")
        if self.groups is not None and self.groups.shape != self.labels.shape:
            raise DataError(f"groups {self.groups.shape} do not go with labels {self.labels.shape}")

    def digest(self) -> str:
        """SHA-256 over labels, groups, shape and pixels.

        Of images that are decoded when needed, over their files' paths below the folder they share, sizes and times of
        the last change: reading a million of them would take as long as an epoch.
        """
        digest = hashlib.sha256(repr(self.images.shape).encode() + self.labels.tobytes())
        if self.groups is not None:
            digest.update(self.groups.tobytes())
        if isinstance(self.images, np.ndarray):
            for start in range(0, len(self.images), DIGEST_IMAGES):
                digest.update(np.ascontiguousarray(self.images[start : start + DIGEST_IMAGES]).data)
        elif isinstance(self.images, FolderSource):
            digest.update(self.images.identity())
        return digest.hexdigest()

    def shuffled(self, seed: int, held_out: float = 0.0) -> "Split":
        """The same pairs in a random order, those to validate on at the end; of groups, whole ones.

        Args:
            seed: decides the order.
            held_out: share of the samples to validate on, at least one of them. Of groups it is as many whole ones as
                it has room for, and at least one, so that the rows before hold none of them.
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.labels))
        if self.groups is None:
            count = held_out_of(len(order), held_out)
            return Split(reorder(self.images, order), self.labels[order], held_out=count)
        names, sizes = np.unique(self.groups, return_counts=True)
        drawn = rng.permutation(len(names))
        fitting = max(int((sizes[drawn].cumsum() <= round(held_out * len(order))).sum()), int(held_out > 0))
        if fitting >= len(names):
            raise DataError(f"{len(names)} groups cannot be split: some have to be held out, and others not")
        last = np.isin(self.groups[order], names[drawn[:fitting]])
        order = order[np.argsort(last, kind="stable")]
        return Split(reorder(self.images, order), self.labels[order], self.groups[order], held_out=int(last.sum()))


def held_out_of(samples: int, share: float) -> int:
    """How many of so many samples validate: their share, but neither none nor all, if that can be."""
    return min(max(round(samples * share), int(share > 0)), max(samples - 1, 0))


@dataclass(frozen=True)
class Dataset:
    """A data set's two splits and what a model card says of it."""

    name: str
    train: Split
    test: Split
    label_names: tuple[str, ...]
    color_mode: str
    license: str
    alpha_background: str = "white"
    """What transparent pixels of a served image are composed over."""
    resize_mode: str = "cover"
    """How a served image of another size is brought to this one's; a photograph must not be squeezed."""
    views: int = 1
    """Images that make a sample: 2 for stereo."""

    @property
    def samples(self) -> str:
        """What to call several samples."""
        return {1: "images", 2: "pairs of images"}.get(self.views, f"groups of {self.views} images")
