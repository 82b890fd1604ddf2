"""Frozen features and labels in, a linear classifier out: chosen on a validation split, then refitted."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Never

import torch
from torch import Tensor
from tqdm import tqdm

from training import parallel
from training.config import ProbeConfig
from training.features import FeatureFile, Features, part
from training.journal import Journal
from training.losses import LOSSES
from training.scaling import DesignMatrix, Maps, Scaling
from training.solver import Sketch, minimise
from training.splits import DataError, held_out_of
from training.workers import alone


@dataclass(frozen=True)
class Trial:
    """One loss and strength on the validation split."""

    loss: str
    strength: float
    train_accuracy: float
    validation_accuracy: float
    temperature: float


@dataclass(frozen=True)
class Probe:
    """A linear classifier on raw features: logits = features @ weights + bias.

    Attributes:
        weights: (D, K) float32.
        bias: (K,) float32.
        chosen: the trial that won.
        trials: all of them.
    """

    weights: Tensor
    bias: Tensor
    chosen: Trial
    trials: tuple[Trial, ...]


def temperature_of(scores: Tensor, labels: Tensor) -> float:
    """The T for which softmax(scores / T) has the least log loss (Guo et al. 2017, section 4.2).

    If all answers are right, the loss falls for ever as T does. Then N right ones of N are counted as N + 1 of N + 2,
    as Platt (1999) smooths his targets.

    Args:
        scores: (N, K) of held-out images.
        labels: (N,) int64.
    """
    log_scale = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_scale], max_iter=50, line_search_fn="strong_wolfe")
    wide, classes = scores.double(), scores.shape[1]
    unbounded = bool((scores.gather(1, labels[:, None])[:, 0] >= scores.amax(1)).all())
    smoothing = classes / (classes - 1) / (len(labels) + 2) if unbounded else 0.0

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(wide * log_scale.exp(), labels, label_smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]  # as above
    return float((-log_scale).exp().detach())


def _accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Share of right answers of all processes for each strength, (S,), from this one's scores (N, S, K)."""
    right = (scores.argmax(2) == labels[:, None]).double().sum(0)
    return parallel.sum_(right) / parallel.total(len(labels))


def best_of(trials: Iterable[Trial]) -> Trial:
    """The most accurate on held-out images; of equals the strongest: it moves least with another sample of images."""
    return max(trials, key=lambda trial: (trial.validation_accuracy, trial.strength))


def validation_start(images: int, config: ProbeConfig) -> int:
    """Number of the first image that validates; those before it fit."""
    return images - held_out_of(images, config.validation_fraction)


class ProbeFit:
    """Chooses and fits a probe.

    Args:
        features: (N, D): rows to fit to, rows that validate, and rows that only the final fit sees besides. Of a job
            with several processes, this one's.
        labels: (N,) int64.
        classes: K.
        maps: maps that the features come from, see `Scaling.fit`.
        config: what to try.
        journal: where the curves go.
        fitted: rows before the validating ones; by default what `config.validation_fraction` leaves.
        validating: rows that validate; by default all that are left.
    """

    def __init__(
        self,
        features: Features,
        labels: Tensor,
        classes: int,
        maps: Maps,
        config: ProbeConfig,
        journal: Journal,
        fitted: int | None = None,
        validating: int | None = None,
    ) -> None:
        self.features, self.classes, self.maps = features, classes, maps
        self.labels = labels if isinstance(features, FeatureFile) else labels.to(features.device)
        self.config, self.journal = config, journal
        self.fitted = validation_start(len(features), config) if fitted is None else fitted
        self.validated = len(features) if validating is None else self.fitted + validating

    def choose(self) -> tuple[Trial, ...]:
        """Try every loss and strength on the split."""
        with alone():
            return self._choose()[0]

    def run(self) -> Probe:
        """Try every loss and strength on the split, then fit the best of them to all rows."""
        with alone():
            trials, sketch = self._choose()
            best = best_of(trials)
            matrix = DesignMatrix(self.features, Scaling.fit(self.features, self.maps))
            weights = self._fit(best.loss, (best.strength,), matrix, sketch, "probe: all images")
            raw, bias = matrix.fold(weights[:, 0])
            return Probe((raw / best.temperature).cpu(), (bias / best.temperature).cpu(), best, trials)

    def _choose(self) -> tuple[tuple[Trial, ...], Sketch]:
        fitting = part(self.features, 0, self.fitted)
        if parallel.total(self.fitted) < 2:
            raise DataError("there is but one image to fit the probe to beside those held out: give more")
        scaling = Scaling.fit(fitting, self.maps)
        if not scaling.scale.any():
            raise DataError("no feature differs from image to image: all maps are dead, or the learning rate too high")
        matrix = DesignMatrix(fitting, scaling)
        held_out = DesignMatrix(part(self.features, self.fitted, self.validated), matrix.scaling)
        sketch = Sketch.of(matrix)
        trials: list[Trial] = []
        for loss in self.config.losses:
            trials += self._try(loss, self.config.strengths[loss], matrix, held_out, sketch)
        return tuple(trials), sketch

    def _try(
        self, loss: str, strengths: tuple[float, ...], matrix: DesignMatrix, held_out: DesignMatrix, sketch: Sketch
    ) -> Iterator[Trial]:
        weights = self._fit(loss, strengths, matrix, sketch, f"probe: {loss}")
        train, held = self.labels[: matrix.rows], self.labels[self.fitted : self.validated]
        fitted_scores, scores = (
            m.times(weights.flatten(1)).view(m.rows, len(strengths), self.classes) for m in (matrix, held_out)
        )
        accuracies = zip(_accuracy(fitted_scores, train).tolist(), _accuracy(scores, held).tolist(), strict=True)
        scores, held = parallel.concatenate(scores.cpu()), parallel.concatenate(held.cpu())
        for index, (strength, (train_accuracy, accuracy)) in enumerate(zip(strengths, accuracies, strict=True)):
            trial = Trial(loss, strength, train_accuracy, accuracy, temperature_of(scores[:, index], held))
            self.journal.event("trial", **trial.__dict__)
            yield trial

    def _fit(self, loss: str, strengths: tuple[float, ...], matrix: DesignMatrix, sketch: Sketch, name: str) -> Tensor:
        labels = self.labels[: matrix.rows]
        with self._bar(name, labels) as watch:
            return minimise(
                matrix,
                LOSSES[loss](labels, self.classes),
                strengths,
                sketch,
                self.config.max_iterations,
                self.config.tolerance,
                watch,
            )

    @contextmanager
    def _bar(self, name: str, labels: Tensor) -> Iterator["_Watch"]:
        hidden = not parallel.is_first()
        with tqdm(total=self.config.max_iterations, unit="it", desc=name, disable=hidden) as bar:
            yield _Watch(bar, labels, self.journal, name)


class _Watch:
    """Shows how far a fit has come."""

    def __init__(self, bar: "tqdm[Never]", labels: Tensor, journal: Journal, name: str) -> None:
        self.bar, self.labels, self.journal, self.name = bar, labels, journal, name

    def __call__(self, iteration: int, scores: Tensor, share: Tensor) -> None:
        accuracy = float(_accuracy(scores, self.labels).max())
        gradient = float(share.max())
        self.bar.update()
        self.bar.set_postfix(gradient=f"{gradient:.1e}", train=f"{accuracy:.3f}", refresh=False)
        self.journal.scalars(iteration, {f"{self.name}/gradient": gradient, f"{self.name}/train_accuracy": accuracy})
