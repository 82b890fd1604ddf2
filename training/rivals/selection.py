"""All feature maps of an image in, the units that survive in training out: the winner-take-all rule and its rivals.

Letters: N images, M maps, P positions of a map, S survivors of an image.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Selection(Protocol):
    """A rule of which units survive."""

    def select(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """Survivors among activations (N, P, M): their maps and their positions, both int64 (N, S).

        The rectifier comes afterwards: a survivor may still be zero.
        """
        ...


@dataclass(frozen=True)
class TopPerMap:
    """The `count` largest of each map; 1 is the winner-take-all rule (paper, section 2.1).

    Attributes:
        count: survivors of a map.
    """

    count: int = 1

    def select(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """See `Selection`; S = count * M."""
        images, places, maps = activations.shape
        if self.count == 1:
            positions = activations.argmax(1, keepdim=True)
        else:
            positions = activations.topk(min(self.count, places), dim=1, sorted=False).indices
        numbers = torch.arange(maps, device=activations.device).expand(images, positions.shape[1], maps)
        return numbers.flatten(1), positions.flatten(1)


@dataclass(frozen=True)
class LargestOverall:
    """The `count` largest units of all maps together (paper, end of section 2.1: it kills filters).

    Attributes:
        count: survivors of an image.
    """

    count: int

    def select(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """See `Selection`; S = count."""
        maps = activations.shape[2]
        flat = activations.flatten(1)
        units = flat.topk(min(self.count, flat.shape[1]), dim=1, sorted=False).indices
        return units % maps, units // maps
