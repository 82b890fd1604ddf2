"""Images in, one trained layer out: the loop, its watch over dead maps, its checkpoints and logs."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from training import checkpoints, parallel, winners
from training.features import CPU
from training.journal import Journal
from training.sca import SparseConvAutoencoder
from training.sources import ImageSource, prefetch
from training.splits import DataError
from training.workers import alone

CHECKPOINT_SECONDS = 30.0
"""Between two checkpoints, at least."""
CHECKPOINT_SHARE = 0.02
"""Of the time, at most: with the moments of 105 million numbers a checkpoint is 1.3 GB."""
LOG_STEPS = 50
"""Between two points of a long run's curves; a short run's have about as many points, and both its ends."""
WARMUPS = 2
"""Times the warm-up that a layer has to be trained for, at least, to have learnt something."""


class DivergedError(RuntimeError):
    """The loss is no longer a finite number."""


@dataclass
class Progress:
    """Where a fit stands; saved in every checkpoint.

    Attributes:
        step: gradient steps done.
        energy: sum over the epoch's images of |x|^2, the loss of an empty reconstruction.
        loss: sum over the epoch's images of |x^ - x|^2.
        wins: (M,) images of this epoch in which each map had a winner above zero.
    """

    wins: Tensor
    step: int = 0
    energy: float = 0.0
    loss: float = 0.0

    def clear(self) -> None:
        """Begin an epoch."""
        self.energy = self.loss = 0.0
        self.wins.zero_()


@dataclass
class LayerFit:
    """Train one layer on all images, resuming from its checkpoint.

    In a job of several processes each takes its part of every batch, and gradients are averaged over the whole batch:
    the weights are those of one process, up to the order of additions.

    Attributes:
        layer: the layer; its parameters are changed in place.
        images: uint8 (N, H, W, C); each is seen at most once an epoch, those that would not fill a batch another time.
        prepare: uint8 (B, H, W, C) to the layer's input, float32 (B, C', H', W').
        checkpoint: file to resume from and to write to.
        journal: where the curves go.
        seed: decides the order of the images.
        device: where to train.
    """

    layer: SparseConvAutoencoder
    images: ImageSource
    prepare: Callable[[Tensor], Tensor]
    checkpoint: Path
    journal: Journal
    seed: int
    device: torch.device = CPU
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        """Set the optimiser up, then take over a checkpoint's state if there is one."""
        config = self.layer.config
        self.batch = min(config.batch_images, len(self.images))
        if self.batch < parallel.world():
            raise DataError(f"a batch of {self.batch} images cannot be shared by {parallel.world()} processes")
        self.steps_per_epoch = len(self.images) // self.batch
        self.total_steps = config.epochs * self.steps_per_epoch
        self.layer.to(self.device)
        # fused: parameters, moments and gradients pass through memory once; layer 2 has 105 million of each
        self.optimiser = torch.optim.Adam(self.layer.parameters(), lr=config.learning_rate, fused=True)
        self.progress = Progress(wins=torch.zeros(config.maps, dtype=torch.int64, device=self.device))
        if self.checkpoint.exists():
            self._restore()

    def run(self) -> None:
        """Train to the end.

        Raises:
            DivergedError: the loss left the finite numbers; the last checkpoint is from before.
            DataError: no image of an epoch had anything in it.
        """
        if self.total_steps < WARMUPS * self.layer.config.warmup_steps:
            self.journal.warn(
                f"{self.total_steps} gradient steps are too few to learn filters by, {self.layer.config.warmup_steps} "
                "of them only warm up: give more images, or more --epochs"
            )
        saved, pause = time.monotonic(), 0.0
        start = self.progress.step * self.batch
        with (
            alone(),
            tqdm(
                total=self.total_steps * self.batch,
                initial=start,
                unit="img",
                desc=self.journal.prefix.rstrip("/") or "layer",
                smoothing=0.1,
                disable=not parallel.is_first(),
            ) as bar,
        ):
            for batch in prefetch(self.images, self._batches()):
                loss = self._step(torch.from_numpy(batch))
                bar.update(self.batch)
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                if self.progress.step % self.steps_per_epoch == 0:
                    self._end_epoch()
                if time.monotonic() - saved > max(CHECKPOINT_SECONDS, pause):
                    started = time.monotonic()
                    self._save()
                    saved = time.monotonic()
                    pause = (saved - started) / CHECKPOINT_SHARE
        self._save()

    def _batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """This process's part of each batch still to come; an epoch's order depends on seed and epoch only."""
        epoch, first = divmod(self.progress.step, self.steps_per_epoch)
        for number in range(epoch, self.layer.config.epochs):
            order = np.random.default_rng((self.seed, number)).permutation(len(self.images))
            for i in range(first, self.steps_per_epoch):
                start, stop = parallel.share(i * self.batch, (i + 1) * self.batch)
                yield order[start:stop]
            first = 0

    def _step(self, batch: Tensor) -> float:
        """One gradient step; returns the loss as a share of the images' energy."""
        x = self.prepare(batch.to(self.device))
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        gradients = self.layer.gradients()
        loss, code = winners.step(x, self.layer.filters(), gradients)
        energy, error = float(x.square().sum()), float(loss) * len(x)
        wins = (code.values > 0).sum(0)
        if parallel.world() > 1:
            energy, error, wins = self._average(gradients, len(x), energy, error, wins)
        self.optimiser.step()
        progress = self.progress
        progress.step += 1
        progress.wins += wins
        if not math.isfinite(error):
            raise DivergedError(f"loss is {error} at step {progress.step}: lower the learning rate")
        progress.energy += energy
        progress.loss += error
        loss_share = _share(error, energy)
        if self._is_logged(progress.step):
            learning_rate = self.optimiser.param_groups[0]["lr"]
            self.journal.scalars(progress.step, {"loss/step": loss_share, "learning_rate": learning_rate})
        return loss_share

    def _is_logged(self, step: int) -> bool:
        """Whether the curves have this step."""
        every = max(1, min(LOG_STEPS, self.total_steps // LOG_STEPS))
        return step % every == 0 or (every < LOG_STEPS and step in (1, self.total_steps))

    def _average(
        self, gradients: winners.Filters, images: int, energy: float, error: float, wins: Tensor
    ) -> tuple[float, float, Tensor]:
        """Gradients over the whole batch, in place, and the batch's sums: one exchange for all of them."""
        tensors = gradients.tensors()
        share = images / self.batch
        # float64 keeps the counts whole and makes the sum depend less on the number of processes
        parts = [torch.tensor([energy, error], dtype=torch.float64), wins.double().cpu()]
        parts += [tensor.flatten().double().cpu() * share for tensor in tensors]
        packed = parallel.sum_(torch.cat(parts))
        sums, *flat = torch.split(packed, [len(part) for part in parts])
        for tensor, values in zip(tensors, flat[1:], strict=True):
            tensor.copy_(values.view(tensor.shape))
        return float(sums[0]), float(sums[1]), flat[0].long().to(self.device)

    def _learning_rate(self) -> float:
        """Linear rise over the warm-up, linear fall to zero over the run."""
        config, step = self.layer.config, self.progress.step
        rise = min(1.0, (step + 1) / config.warmup_steps)
        return config.learning_rate * rise * (1.0 - step / self.total_steps)

    def _end_epoch(self) -> None:
        progress = self.progress
        if not progress.energy:
            raise DataError("there is nothing to learn: the training images are all alike once they are preprocessed")
        seen = self.steps_per_epoch * self.batch
        share = progress.wins / seen
        dead = int((progress.wins == 0).sum())
        values = {
            "loss/epoch": progress.loss / progress.energy,
            "maps/dead": float(dead),
            "maps/least_active_share": float(share.min()),
            "maps/mean_active_share": float(share.mean()),
        }
        self.journal.scalars(progress.step, values)
        self.journal.event("epoch", epoch=progress.step // self.steps_per_epoch, images=seen, **values)
        if dead:
            self.journal.warn(f"{dead} of {self.layer.config.maps} maps won nothing in a whole epoch")
        progress.clear()

    def _save(self) -> None:
        if not parallel.is_first():
            return
        state = {f"layer.{k}": v for k, v in self.layer.state_dict().items()}
        for index, slot in self.optimiser.state_dict()["state"].items():
            state.update({f"adam.{index}.{k}": v for k, v in slot.items()})
        progress = self.progress
        numbers = torch.tensor([progress.step, progress.energy, progress.loss], dtype=torch.float64)
        checkpoints.save(self.checkpoint, {**state, "progress": numbers, "wins": progress.wins})

    def _restore(self) -> None:
        state = checkpoints.load(self.checkpoint)
        self.layer.load_state_dict({k.removeprefix("layer."): v for k, v in state.items() if k.startswith("layer.")})
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, index, name = key.split(".")
                slots.setdefault(int(index), {})[name] = winners.channels_last(value) if value.ndim == 4 else value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})
        step, energy, loss = state["progress"].tolist()
        self.progress = Progress(step=int(step), energy=energy, loss=loss, wins=state["wins"].to(self.device))


def _share(error: float, energy: float) -> float:
    """Error as a share of the energy; a batch of blank images has none."""
    return error / energy if energy else 0.0
