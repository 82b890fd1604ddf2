"""A config and a data set in, a bundle out: the stages in order, each kept on disk so that a run can be resumed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import checkpoints, figures, parallel, reporting, whitening
from training.card import write_card
from training.config import RunConfig
from training.datasets import Dataset
from training.export import OnnxModel, TrainedModel, build_checked, next_version, write_bundle
from training.extraction import extract
from training.features import CPU
from training.fit import LayerFit
from training.framing import Framing, framed
from training.journal import Journal
from training.probe import Probe, ProbeFit, Trial, validation_start
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor
from training.whitening import Preprocessing


class ConfigError(RuntimeError):
    """The run folder belongs to a run with other settings."""


@dataclass(frozen=True)
class Summary:
    """What a run ends with.

    Attributes:
        bundle: the bundle's folder.
        manifest: what its `manifest.json` says.
        stages: seconds each stage took, over all attempts.
    """

    bundle: Path
    manifest: dict[str, Any]
    stages: dict[str, float]


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

    Raises:
        ConfigError: `folder` holds a run with another config.
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
    ) -> None:
        self.config, self.dataset, self.folder = config, dataset, folder
        self.models_dir, self.command, self.version, self.device = models_dir, command, version, device
        self._claim()
        # the probe validates on the last rows; shuffled once, here, they are a random sample
        self.train = dataset.train.shuffled(config.seed, config.probe.validation_fraction)
        self.framing = Framing(dataset.views, config.window)
        # what the layers learn from: the views of all samples, apart (paper, section 3.3)
        self.views = framed(self.train.images, self.framing)
        self.stages: dict[str, float] = self._read("stages.json", {})

    def run(self) -> Summary:
        """Run every stage that has not been run yet."""
        with Journal(self.folder) as journal:
            self.journal = journal
            with self._timed("whitening"):
                preprocessing = self._preprocessing()
            layers: list[SparseConvAutoencoder] = []
            for index in range(1, len(self.config.layers) + 1):
                with self._timed(f"layer{index}"):
                    layers.append(self._layer(index, preprocessing, layers))
            extractor = FeatureExtractor(preprocessing, layers, self.framing)
            with self._timed("probe"):
                probe = self._probe(extractor)
            model = TrainedModel(self.config, self.dataset, extractor.cpu(), probe)
            with self._timed("export"):
                bundle = self._export(model)
            parallel.wait()
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        self._write("summary.json", {"bundle": str(bundle), "manifest": manifest})
        return Summary(bundle, manifest, dict(self.stages))

    def _claim(self) -> None:
        path = self.folder / "config.json"
        config = json.loads(json.dumps({**self.config.to_json(), "images_sha256": self.dataset.train.digest()}))
        if self._read("config.json", config) != config:
            raise ConfigError(
                f"{path} is of a run with other settings or images: give --fresh to drop it, or another --runs-dir"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write("config.json", config)

    def _write(self, name: str, content: Any) -> None:
        if parallel.is_first():
            checkpoints.write_json(self.folder / name, content)

    def _read(self, name: str, default: Any) -> Any:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add the seconds that a stage takes, also when it is interrupted, to those of earlier attempts."""
        before, started = self.stages.get(stage, 0.0), time.monotonic()
        try:
            yield
        finally:
            self.stages[stage] = before + time.monotonic() - started
            self._write("stages.json", self.stages)

    def _preprocessing(self) -> Preprocessing:
        path = self.folder / "whitening.npz"
        if not self._have(path):
            fitted = whitening.fit(self.views, self.config, self.device)
            if parallel.is_first():
                checkpoints.save(path, fitted.state_dict())
            parallel.wait()
        # also the first time: what is read back is what a resumed run will use
        return whitening.restore(checkpoints.load(path), self.config).to(self.device)

    def _have(self, path: Path) -> bool:
        """Whether a stage's result is there; asked by all processes before any of them writes it."""
        there = path.exists()
        parallel.wait()
        return there

    def _layer(
        self, index: int, preprocessing: Preprocessing, below: list[SparseConvAutoencoder]
    ) -> SparseConvAutoencoder:
        config = self.config.layers[index - 1]
        channels = below[-1].config.maps if below else self.views.shape[3]
        layer = SparseConvAutoencoder(config, channels, seed=self.config.seed + index)
        self.journal.prefix = f"layer{index}/"
        prepare = FeatureExtractor(preprocessing, below).maps
        fit = LayerFit(
            layer,
            self.views,
            prepare,
            self.folder / f"layer{index}.npz",
            self.journal,
            self.config.seed,
            self.device,
        )
        fit.run()
        if parallel.is_first():
            self._layer_figures(index, FeatureExtractor(preprocessing, [*below, layer]))
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
        if not self._have(path):
            self.journal.prefix = ""
            probe = self._fit_probe(extractor)
            trials = [asdict(trial) for trial in probe.trials]
            self._write("trials.json", {"chosen": asdict(probe.chosen), "trials": trials})
            if parallel.is_first():
                checkpoints.save(path, {"weights": probe.weights, "bias": probe.bias})
            parallel.wait()
        arrays, trials = checkpoints.load(path), self._read("trials.json", None)
        return Probe(
            arrays["weights"], arrays["bias"], Trial(**trials["chosen"]), tuple(Trial(**t) for t in trials["trials"])
        )

    def _fit_probe(self, extractor: FeatureExtractor) -> Probe:
        """Extract this process's share of the features and fit on all processes' shares."""
        count = len(self.train.labels)
        middle = validation_start(count, self.config.probe)
        ranges = [parallel.share(0, middle), parallel.share(middle, count)]
        rows = np.concatenate([np.arange(*bounds) for bounds in ranges])
        spill = self.folder / f"features-{parallel.rank()}.f16"
        try:
            features = extract(extractor, self.train.images, ranges, spill, "features", self.device)
            labels = torch.from_numpy(self.train.labels[rows])
            fitted = ranges[0][1] - ranges[0][0]
            classes, maps = len(self.dataset.label_names), self.config.layers[-1].maps * self.framing.views
            return ProbeFit(features, labels, classes, maps, self.config.probe, self.journal, fitted).run()
        finally:
            spill.unlink(missing_ok=True)

    def _export(self, model: TrainedModel) -> Path:
        version = self.version or self._read("version.json", None) or next_version(self.models_dir, self.config.name)
        if not parallel.is_first():
            return self.models_dir / self.config.name / version
        self._write("version.json", version)
        onnx_bytes = build_checked(model, version)
        report = reporting.report(
            model, OnnxModel(onnx_bytes, torch.get_num_threads()), self.command, self.stages, self._dead_maps()
        )
        return write_bundle(model, onnx_bytes, version, self.models_dir, write_card(model, report), report)

    def _dead_maps(self) -> int:
        """Maps of all layers that won nothing in their last epoch."""
        series = [self.journal.series(f"layer{i}/maps/dead")[1] for i in range(1, len(self.config.layers) + 1)]
        return int(sum(values[-1] for values in series if values))
