"""A config and a data set in, a bundle out: the stages in order, each kept on disk so that a run can be resumed."""

import json
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import checkpoints, figures, whitening
from training.card import write_card
from training.config import RunConfig
from training.datasets import Dataset, Split
from training.export import OnnxModel, TrainedModel, build_checked, next_version, write_bundle
from training.extraction import extract
from training.fit import LayerFit
from training.journal import Journal
from training.probe import Probe, ProbeFit, Trial
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor
from training.whitening import Preprocessing

TEST_BATCH = 100


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
    ) -> None:
        self.config, self.dataset, self.folder = config, dataset, folder
        self.models_dir, self.command, self.version = models_dir, command, version
        self._claim()
        order = np.random.default_rng(config.seed).permutation(len(dataset.train.images))
        # the probe validates on the last rows; shuffled once, here, they are a random sample
        self.train = Split(dataset.train.images[order], dataset.train.labels[order])
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
            extractor = FeatureExtractor(preprocessing, layers)
            with self._timed("probe"):
                probe = self._probe(extractor)
            model = TrainedModel(self.config, self.dataset, extractor, probe)
            with self._timed("export"):
                bundle = self._export(model)
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        checkpoints.write_json(self.folder / "summary.json", {"bundle": str(bundle), "manifest": manifest})
        return Summary(bundle, manifest, dict(self.stages))

    def _claim(self) -> None:
        path = self.folder / "config.json"
        config = json.loads(json.dumps(self.config.to_json()))
        if self._read("config.json", config) != config:
            raise ConfigError(f"{path} is of a run with other settings: give --fresh to drop it, or another --runs-dir")
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoints.write_json(path, config)

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
            checkpoints.write_json(self.folder / "stages.json", self.stages)

    def _preprocessing(self) -> Preprocessing:
        path = self.folder / "whitening.npz"
        if not path.exists():
            checkpoints.save(path, whitening.fit(self.train.images, self.config).state_dict())
        # also the first time: what is read back is what a resumed run will use
        return whitening.restore(checkpoints.load(path), self.config)

    def _layer(
        self, index: int, preprocessing: Preprocessing, below: list[SparseConvAutoencoder]
    ) -> SparseConvAutoencoder:
        config = self.config.layers[index - 1]
        channels = below[-1].config.maps if below else self.train.images.shape[3]
        layer = SparseConvAutoencoder(config, channels, seed=self.config.seed + index)
        self.journal.prefix = f"layer{index}/"
        prepare = FeatureExtractor(preprocessing, below).maps
        fit = LayerFit(
            layer, self.train.images, prepare, self.folder / f"layer{index}.npz", self.journal, self.config.seed
        )
        fit.run()
        self._layer_figures(index, FeatureExtractor(preprocessing, [*below, layer]))
        return layer

    def _layer_figures(self, index: int, extractor: FeatureExtractor) -> None:
        layer, folder = extractor.stack()[-1], self.folder / "figures"
        _, height, width, _ = self.train.images.shape
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
        if not path.exists():
            self.journal.prefix = ""
            features = extract(extractor, self.train.images, self.folder / "features.f16", "features")
            labels = torch.from_numpy(self.train.labels)
            classes, maps = len(self.dataset.label_names), self.config.layers[-1].maps
            probe = ProbeFit(features, labels, classes, maps, self.config.probe, self.journal).run()
            trials = [asdict(trial) for trial in probe.trials]
            checkpoints.write_json(self.folder / "trials.json", {"chosen": asdict(probe.chosen), "trials": trials})
            checkpoints.save(path, {"weights": probe.weights, "bias": probe.bias})
            (self.folder / "features.f16").unlink(missing_ok=True)
        arrays, trials = checkpoints.load(path), self._read("trials.json", None)
        return Probe(
            arrays["weights"], arrays["bias"], Trial(**trials["chosen"]), tuple(Trial(**t) for t in trials["trials"])
        )

    def _export(self, model: TrainedModel) -> Path:
        version = self.version or self._read("version.json", None) or next_version(self.models_dir, self.config.name)
        checkpoints.write_json(self.folder / "version.json", version)
        onnx_bytes = build_checked(model, version)
        report = self._report(OnnxModel(onnx_bytes, torch.get_num_threads()))
        return write_bundle(model, onnx_bytes, version, self.models_dir, write_card(model, report), report)

    def _report(self, run: OnnxModel) -> dict[str, Any]:
        """Read the test set, once, through the graph that is served."""
        test = self.dataset.test
        predicted = [run(test.images[i : i + TEST_BATCH])[1].argmax(1) for i in range(0, len(test.images), TEST_BATCH)]
        right = int((np.concatenate(predicted) == test.labels).sum())
        accuracy = 100 * right / len(test.labels)
        metric = self.config.metric
        conditions = (
            f"Measured once, on all {len(test.labels):,} test images, with the exported graph; one run, "
            f"seed {self.config.seed}; the test set chose nothing."
        )
        return {
            "accuracy": {
                "metric": metric,
                "value": round(accuracy if metric == "accuracy" else 100 - accuracy, 4),
                "unit": "%",
                "paper": self.config.paper_value,
                "split": "test",
                "images": len(test.labels),
                "conditions": conditions,
            },
            "data_license": self.dataset.license,
            "training": self._training_facts(),
        }

    def _training_facts(self) -> dict[str, Any]:
        dead = self.journal.series(f"layer{len(self.config.layers)}/maps/dead")[1]
        return {
            "seed": self.config.seed,
            "command": self.command,
            "config": self.config.to_json(),
            "seconds": round(sum(self.stages.values()), 1),
            "stages_seconds": {stage: round(seconds, 1) for stage, seconds in self.stages.items()},
            "hardware": f"{torch.get_num_threads()} threads of {_processor()}",
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "dead_maps": int(dead[-1]) if dead else 0,
        }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
