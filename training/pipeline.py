"""A config and a data set in, a bundle out: the stages in order, each kept on disk so that a run can be resumed."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from training import checkpoints, figures, parallel, reporting, whitening
from training.augmentation import AugmentedSource
from training.card import write_card
from training.config import RunConfig
from training.datasets import Dataset
from training.export import OnnxModel, TrainedModel, build_checked, write_bundle
from training.extraction import BatchExtractor, extract
from training.fast.bundle import extend_or_warn
from training.features import CPU
from training.fit import LayerFit
from training.framing import Framing, framed
from training.journal import Journal
from training.probe import Probe, ProbeFit, Trial
from training.runfolder import ConfigError, RunFolder
from training.sca import SparseConvAutoencoder
from training.sources import ImageSource, reorder
from training.stack import FeatureExtractor
from training.summary import Summary
from training.versions import VersionNumber
from training.whitening import Preprocessing

Result = TypeVar("Result")
EPOCH_FACTS = ("loss/epoch", "maps/dead", "maps/least_active_share", "maps/mean_active_share")
"""What is kept of a layer's last epoch."""


def settings_of(config: RunConfig, dataset: Dataset) -> dict[str, Any]:
    """What decides a run's numbers, as JSON types: what its folder is claimed with."""
    return {**config.to_json(), "images_sha256": dataset.train.digest()}


class Pipeline:
    """One run.

    Args:
        config: what to train.
        dataset: the images.
        folder: where this run keeps its state.
        models_dir: where bundles go.
        command: the command line, for the model card.
        version: the bundle's version; by default the next free one.
        device: where to train.
        fast: whether the bundle gets its 8-bit variant, which takes another reading of the test set.

    Raises:
        ConfigError: `folder` holds a run with another config, or samples of several views were to be mirrored.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        folder: Path,
        models_dir: Path,
        command: str,
        version: str | None = None,
        device: torch.device = CPU,
        fast: bool = True,
    ) -> None:
        if config.mirrored and dataset.views > 1:
            raise ConfigError(f"{dataset.name}: {dataset.samples} cannot be mirrored: left and right would swap")
        self.config, self.dataset, self.models_dir = config, dataset, models_dir
        self.command, self.version, self.device, self.fast = command, version, device, fast
        self.folder = RunFolder(folder, settings_of(config, dataset))
        # the probe validates on the last rows; shuffled once, here, they are a random sample
        self.train = dataset.train.shuffled(config.seed, config.probe.validation_fraction)
        self.framing = Framing(dataset.views, config.window)
        # what the layers learn from: the views of all samples, apart (paper, section 3.3)
        self.views = framed(self.train.images, self.framing)

    def run(self) -> Summary:
        """Run every stage that has not been run yet; the last one reads the test set."""
        with self.folder.at_work() as journal:
            extractor = self._fit_layers(journal)
            with self.folder.timed("probe"):
                probe = self._probe(extractor)
            model = TrainedModel(self.config, self.dataset, extractor.cpu(), probe)
            with self.folder.timed("export"):
                bundle = self._export(model)
        summary = self._summary(bundle)
        self.folder.write("summary.json", {"bundle": str(bundle), "manifest": summary.manifest})
        return summary

    def finished(self) -> Summary | None:
        """What an earlier attempt has ended with, if its bundle is there, whole and of this test set; only looks."""
        bundle = self._number().finished(self.version)
        return None if bundle is None else self._summary(bundle)

    def _number(self) -> VersionNumber:
        return VersionNumber(self.folder, self.models_dir / self.config.name, self.dataset.test.digest())

    def _summary(self, bundle: Path) -> Summary:
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        return Summary(bundle, manifest, dict(self.folder.stages))

    def fit_layers(self) -> FeatureExtractor:
        """Run the stages before the probe: what `run` would put it on."""
        with self.folder.at_work() as journal:
            return self._fit_layers(journal)

    def validate(self) -> tuple[Trial, ...]:
        """What the probe reaches on held-out training images, to choose settings by; the test set stays unread."""
        with self.folder.at_work() as journal:
            extractor = self._fit_layers(journal)
            with self.folder.timed("validation"):
                if not self.folder.have("validation.json"):
                    trials = self._on_features(extractor, ProbeFit.choose)
                    self.folder.write("validation.json", [asdict(trial) for trial in trials])
                    parallel.wait()
        return tuple(Trial(**trial) for trial in self.folder.read("validation.json", None))

    def _fit_layers(self, journal: Journal) -> FeatureExtractor:
        self.journal = journal
        with self.folder.timed("whitening"):
            preprocessing = self._preprocessing()
        layers: list[SparseConvAutoencoder] = []
        for index in range(1, len(self.config.layers) + 1):
            with self.folder.timed(f"layer{index}"):
                layers.append(self._layer(index, preprocessing, layers))
        return FeatureExtractor(preprocessing, layers, self.framing, self.config.mirrored, self.config.all_layers)

    def _preprocessing(self) -> Preprocessing:
        path = self.folder / "whitening.npz"
        if not self.folder.have(path.name):
            fitted = whitening.fit(self.views, self.config, self.device)
            if parallel.is_first():
                checkpoints.save(path, fitted.state_dict())
            parallel.wait()
        # also the first time: what is read back is what a resumed run will use
        return whitening.restore(checkpoints.load(path), self.config).to(self.device)

    def _layer(
        self, index: int, preprocessing: Preprocessing, below: list[SparseConvAutoencoder]
    ) -> SparseConvAutoencoder:
        config = self.config.layers[index - 1]
        channels = below[-1].config.maps if below else self.views.shape[3]
        layer = SparseConvAutoencoder(config, channels, seed=self.config.seed + index)
        self.journal.prefix = f"layer{index}/"
        images = self.views
        if config.images is not None:
            images = reorder(images, np.arange(min(config.images, len(images))))
        _, height, width, _ = images.shape
        prepare = BatchExtractor(FeatureExtractor(preprocessing, below), height, width, self.device)
        checkpoint = self.folder / f"layer{index}.npz"
        fit = LayerFit(layer, images, prepare, checkpoint, self.journal, self.config.seed, self.device)
        if not self.folder.have(f"layer{index}.json"):
            fit.run()
            if parallel.is_first():
                self._layer_figures(index, FeatureExtractor(preprocessing, [*below, layer]))
            # written last: that it is there says that the layer is finished
            facts = {name: self.journal.last(f"layer{index}/{name}") for name in EPOCH_FACTS}
            self.folder.write(f"layer{index}.json", facts)
        return layer

    def _layer_figures(self, index: int, extractor: FeatureExtractor) -> None:
        layer, folder = extractor.stack()[-1], self.folder / "figures"
        _, height, width, _ = self.views.shape
        pictures = {"pixels": extractor.pixel_filters(height, width)[-1]}
        if layer.channels in (1, 3):
            pictures |= {"decoder": layer.decoder.detach(), "encoder": layer.encoder.detach()}
        for kind, filters in pictures.items():
            figures.save_filters(folder / f"layer{index}-{kind}.png", filters)
            self.journal.picture(f"layer{index}/{kind}", figures.filter_grid(filters))
        losses = self.journal.series(f"layer{index}/loss/step")
        figures.save_curve(
            folder / f"layer{index}-loss.png", *losses, f"{self.config.name}, layer {index}", "|x^ - x|² / |x|²"
        )

    def _probe(self, extractor: FeatureExtractor) -> Probe:
        path = self.folder / "probe.npz"
        if not self.folder.have(path.name):
            probe = self._on_features(extractor, ProbeFit.run)
            trials = [asdict(trial) for trial in probe.trials]
            self.folder.write("trials.json", {"chosen": asdict(probe.chosen), "trials": trials})
            if parallel.is_first():
                checkpoints.save(path, {"weights": probe.weights, "bias": probe.bias})
            parallel.wait()
        arrays, trials = checkpoints.load(path), self.folder.read("trials.json", None)
        return Probe(
            arrays["weights"], arrays["bias"], Trial(**trials["chosen"]), tuple(Trial(**t) for t in trials["trials"])
        )

    def _on_features(self, extractor: FeatureExtractor, work: Callable[[ProbeFit], Result]) -> Result:
        """Extract this process's share of the features, for the probe to work on all processes' shares."""
        self.journal.prefix = ""
        images, ranges = self._probed()
        rows = np.concatenate([np.arange(*bounds) for bounds in ranges]) % len(self.train.labels)
        spill = self.folder / f"features-{parallel.rank()}.f16"
        try:
            features = extract(extractor, images, ranges, spill, "features", self.device)
            labels = torch.from_numpy(self.train.labels[rows])
            copies = len(ranges) // 2
            fitted, validating = (
                sum(stop - start for start, stop in part) for part in (ranges[:copies], [ranges[copies]])
            )
            classes, maps = len(self.dataset.label_names), extractor.feature_maps(*images.shape[1:3])
            return work(ProbeFit(features, labels, classes, maps, self.config.probe, self.journal, fitted, validating))
        finally:
            spill.unlink(missing_ok=True)

    def _probed(self) -> tuple[ImageSource, list[tuple[int, int]]]:
        """The images that the probe sees, and this process's ranges of them.

        First those to fit to and their copies, then those held out, then the copies of those held out.
        """
        count, augmentation = len(self.train.labels), self.config.probe.augmentation
        images, copies = self.train.images, 1
        if augmentation is not None:
            images, copies = AugmentedSource(images, augmentation, self.config.seed), 1 + augmentation.copies
        middle = count - self.train.held_out
        bounds = [(c * count, c * count + middle) for c in range(copies)]
        bounds += [(c * count + middle, (c + 1) * count) for c in range(copies)]
        return images, [parallel.share(*part) for part in bounds]

    def _export(self, model: TrainedModel) -> Path:
        number = self._number()
        if parallel.is_first():
            version = self.version or number.take()
            self._write_bundle(model, version, number)
            number.keep(version)
        parallel.wait()
        return number.bundles / str(number.kept["version"])

    def _write_bundle(self, model: TrainedModel, version: str, number: VersionNumber) -> None:
        onnx_bytes = build_checked(model, version)
        run = OnnxModel(onnx_bytes, torch.get_num_threads())
        report = reporting.report(model, run, self.command, self.folder, self.device)
        card = write_card(model, report)

        def finish(bundle: Path) -> None:
            if self.fast:
                extend_or_warn(bundle, self.dataset)
            number.announce(version, bundle)

        direct = build_checked(model, version, direct=True)
        write_bundle(model, onnx_bytes, version, self.models_dir, card, report, finish, direct)
