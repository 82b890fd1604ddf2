"""Losses of a few samples at a time in, Adam steps on whole batches out; threads share a batch."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.fit import DivergedError
from training.workers import spread

Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        samples: in the training set.
        batch: samples a step; those that would not fill a batch are left for another epoch.
        epochs: passes over the samples.
        learning_rate: Adam's step size at its peak; it falls linearly to zero.
        warmup_steps: steps over which it rises.
    """

    samples: int
    batch: int
    epochs: int
    learning_rate: float
    warmup_steps: int = 50

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass."""
        return max(1, self.samples // self.batch)

    @property
    def steps(self) -> int:
        """Steps of all passes."""
        return self.epochs * self.steps_per_epoch

    def batches(self, epoch: int, seed: int) -> Iterator[Order]:
        """Sample numbers of each batch, in an order that depends on seed and epoch only."""
        order = np.random.default_rng((seed, epoch)).permutation(self.samples)
        for i in range(self.steps_per_epoch):
            yield order[i * self.batch : (i + 1) * self.batch]

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        return self.learning_rate * rise * (1.0 - step / self.steps)


class Descent:
    """Adam.

    A batch is cut into pieces, the same ones for any number of threads, and the pieces' gradients are added up in their
    order: the weights do not depend on the threads.

    Args:
        parameters: what is trained.
        schedule: how.
        piece: samples of which one thread takes the gradient at a time; few enough for what they make to stay in cache.
        weight_decay: the decoupled decay (AdamW) a unit of learning rate.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], schedule: Schedule, piece: int, weight_decay: float = 0.0
    ) -> None:
        self.parameters, self.schedule, self.piece = tuple(parameters), schedule, piece
        self.optimiser = torch.optim.AdamW(self.parameters, lr=schedule.learning_rate, weight_decay=weight_decay)
        self.steps = 0

    def step(self, loss_of: Callable[[slice], Tensor], samples: int) -> float:
        """One step down the mean of a loss.

        Args:
            loss_of: the sum of the losses of a slice of the batch, differentiable; called in several threads at once.
            samples: in the batch.

        Returns:
            The mean loss before the step.

        Raises:
            DivergedError: it is no longer finite.
        """
        pieces = -(-samples // self.piece)
        found: dict[int, tuple[float, tuple[Tensor, ...]]] = {}

        def work(start: int, stop: int) -> None:
            for index in range(start, stop):
                loss = loss_of(slice(index * self.piece, min((index + 1) * self.piece, samples)))
                found[index] = float(loss.detach()), torch.autograd.grad(loss, self.parameters)

        spread(work, pieces)
        total = sum(found[index][0] for index in range(pieces)) / samples
        if not math.isfinite(total):
            raise DivergedError(f"loss is {total} at step {self.steps}: lower the learning rate")
        self._apply([found[index][1] for index in range(pieces)], samples)
        return total

    def state(self) -> dict[str, Tensor]:
        """Parameters, Adam's moments and the number of steps: all that a later process needs to go on."""
        kept = {f"parameter.{i}": parameter.detach().clone() for i, parameter in enumerate(self.parameters)}
        for number, moments in self.optimiser.state_dict()["state"].items():
            kept |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        return kept | {"steps": torch.tensor(self.steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, number, name = key.split(".")
                moments.setdefault(int(number), {})[name] = value
        with torch.no_grad():
            for index, parameter in enumerate(self.parameters):
                parameter.copy_(state[f"parameter.{index}"])
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.steps = int(state["steps"])

    def _apply(self, gradients: list[tuple[Tensor, ...]], samples: int) -> None:
        for parameter, *parts in zip(self.parameters, *gradients, strict=True):
            parameter.grad = parts[0].clone()
            for part in parts[1:]:
                parameter.grad += part
            parameter.grad /= samples
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate(self.steps)
        self.optimiser.step()
        self.steps += 1
