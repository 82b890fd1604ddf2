"""Samples as a client sends them in, the images that the network looks at out: one view each, its centre, made smaller.

Letters: N samples, V views, C channels of a view, H W positions.
"""

import numpy as np
import torch
from torch import Tensor, nn

from training.config import Window
from training.sources import ImageSource, Indices, Pixels


class Framing:
    """Takes a sample apart into its views, and of each the part that is looked at (paper, section 3.3).

    Args:
        views: V, images that make a sample; they lie one after the other along its channels.
        window: the part of each view that is looked at; all of it by default.
    """

    def __init__(self, views: int = 1, window: Window | None = None) -> None:
        self.views, self.window = views, window

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what comes out for samples of this size."""
        return (height, width) if self.window is None else (self.window.size, self.window.size)

    def corner(self, height: int, width: int) -> tuple[int, int]:
        """First row and column that are looked at.

        Raises:
            ValueError: samples of this size do not hold the window.
        """
        if self.window is None:
            return 0, 0
        if min(height, width) < self.window.crop:
            raise ValueError(f"images of {height}×{width} pixels have no inner {self.window.crop}×{self.window.crop}")
        return (height - self.window.crop) // 2, (width - self.window.crop) // 2

    def __call__(self, samples: Tensor) -> Tensor:
        """uint8 (N, H, W, V * C) to uint8 (N * V, h, w, C), the views of a sample one after the other."""
        images = samples
        if self.views > 1:
            apart = samples.reshape(*samples.shape[:3], self.views, samples.shape[3] // self.views)
            images = apart.permute(0, 3, 1, 2, 4).flatten(0, 1)
        if self.window is None:
            return images
        top, left = self.corner(images.shape[1], images.shape[2])
        inner = images[:, top : top + self.window.crop, left : left + self.window.crop]
        # means of integers below 2^24 are exact, so that any other runtime rounds the same way: to even
        small = nn.functional.avg_pool2d(inner.permute(0, 3, 1, 2).float(), self.window.reduce).round()
        return small.permute(0, 2, 3, 1).to(torch.uint8)


WHOLE = Framing()
"""One view a sample, all of it looked at."""


class FramedSource:
    """The views of all samples as images of their own, framed when they are asked for.

    Args:
        samples: uint8 (N, H, W, V * C).
        framing: what to make of them.
    """

    def __init__(self, samples: ImageSource, framing: Framing) -> None:
        self.samples, self.framing = samples, framing

    @property
    def shape(self) -> tuple[int, ...]:
        """(N * V, h, w, C)."""
        count, height, width, channels = self.samples.shape
        return count * self.framing.views, *self.framing.size(height, width), channels // self.framing.views

    def __len__(self) -> int:
        """N * V."""
        return len(self.samples) * self.framing.views

    def __getitem__(self, indices: Indices, /) -> Pixels:
        """Some of the images, uint8 (B, h, w, C)."""
        numbers = np.arange(*indices.indices(len(self))) if isinstance(indices, slice) else indices
        views = self.framing.views
        samples = self.samples[numbers // views]
        apart = samples.reshape(*samples.shape[:3], views, samples.shape[3] // views)
        picked = apart[np.arange(len(numbers)), :, :, numbers % views]
        return Framing(window=self.framing.window)(torch.from_numpy(picked)).numpy()


def framed(samples: ImageSource, framing: Framing) -> ImageSource:
    """The views of all samples as images of their own; samples that are such images already come back as they are."""
    return samples if framing.views == 1 and framing.window is None else FramedSource(samples, framing)
