"""What every job works with: the data sets, the folder of the runs, the device."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from training.config import RunConfig
from training.datasets import Dataset, Split, load
from training.features import CPU
from training.pipeline import Pipeline, settings_of
from training.reuse import take_over
from training.whitening import Preprocessing, fit

Made = TypeVar("Made")
KEPT = 4
"""Things that jobs share: three seeds' features of a test set, and a whitening."""


@dataclass(frozen=True)
class Bench:
    """Where jobs work.

    Attributes:
        data_dir: official files, kept here.
        runs_dir: checkpoints, logs, results.
        download: whether missing files may be fetched.
        device: where to train.
        command: the command line, for the model cards.
    """

    data_dir: Path
    runs_dir: Path
    download: bool = True
    device: torch.device = CPU
    command: str = ""
    lent: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What has been handed out: by data set, how many images and which; whoever keeps a number keeps this with it."""
    _kept: dict[str, Any] = field(default_factory=dict)

    def dataset(self, name: str) -> Dataset:
        """Training and test images: for a final measurement only.

        Raises:
            DataError: it is not there.
        """
        whole, digest = _load(name, self.data_dir, self.download)
        self._lend(name, whole, digest, len(whole.test.labels))
        return whole

    def blind(self, name: str) -> Dataset:
        """The same without a test image: what settings are chosen with cannot peek."""
        whole, digest = _load(name, self.data_dir, self.download)
        self._lend(name, whole, digest, 0)
        return dataclasses.replace(whole, test=Split(whole.test.images[:0], whole.test.labels[:0]))

    def _lend(self, name: str, whole: Dataset, digest: str, tested: int) -> None:
        before = self.lent.get(name, {}).get("test_images", 0)
        self.lent[name] = {
            "training_images": len(whole.train.labels),
            "training_sha256": digest,
            "test_images": max(before, tested),
        }

    def preprocessing(self, config: RunConfig) -> Preprocessing:
        """What a config without a window makes of images, fitted to all training images."""
        images = self.blind(config.dataset).train.images
        key = repr((config.dataset, config.whitening, config.whitening_epsilon, config.contrast_epsilon))
        return self.once(key, lambda: fit(images, config, self.device).cpu())

    def once(self, key: str, make: Callable[[], Made]) -> Made:
        """What `make` gives, or gave another job under this key: the last few are kept in memory."""
        if key not in self._kept:
            made = make()
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = made
        found: Made = self._kept[key]
        return found

    def pipeline(self, config: RunConfig, dataset: Dataset) -> Pipeline:
        """A run of its own, or the one that was begun under this name; other runs' layers are taken over."""
        settings = settings_of(config, dataset)
        # changed settings are another run, not an error: a report is made over weeks
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        own = f"seed{config.seed}-{digest[:8]}"
        folder = self.runs_dir / f"{config.name}-{own}"
        take_over(folder, settings, self.runs_dir)
        # as the run's folder: rows of other settings have networks of the same name
        models = self.runs_dir / "models" / own
        # a number needs no 8-bit graph: nobody serves these bundles
        return Pipeline(config, dataset, folder, models, self.command, "1", self.device, fast=False)


@functools.lru_cache(maxsize=1)
def _load(name: str, data_dir: Path, download: bool) -> tuple[Dataset, str]:
    """A data set and its training images' digest."""
    dataset = load(name, data_dir, download)
    return dataset, dataset.train.digest()
