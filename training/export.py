"""A trained network in, a bundle out: parity-checked before anything is written, and written whole or not at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import torch

from training import checkpoints, graph
from training.bundlefolder import replacing, write_manifest
from training.config import RunConfig
from training.datasets import Dataset
from training.probe import Probe
from training.stack import FeatureExtractor

SCHEMA_VERSION = 1
GOLDEN_IMAGES = 16
DIRECT = "model.direct.onnx"
PARITY = 1e-4
"""Largest difference between torch and ONNX, relative to the largest value."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class ParityError(RuntimeError):
    """The exported graph computes something else than the trained network."""


@dataclass(frozen=True)
class TrainedModel:
    """All that an export needs.

    Attributes:
        config: the run that made it.
        dataset: whose training images make the golden set.
        extractor: the frozen network.
        probe: the linear classifier.
    """

    config: RunConfig
    dataset: Dataset
    extractor: FeatureExtractor
    probe: Probe

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        _, height, width, _ = self.dataset.train.images.shape
        return height, width

    def _input(self) -> dict[str, Any]:
        """What a client has to send."""
        height, width = self.size
        facts = {
            "height": height,
            "width": width,
            "channels": self.dataset.train.images.shape[3],
            "color_mode": self.dataset.color_mode,
            "views": self.dataset.views,
            "alpha_background": self.dataset.alpha_background,
            "resize": {"mode": self.dataset.resize_mode, "filter": "bicubic", "background": 0},
        }
        if self.config.mirrored:
            facts["mirrored"] = True
        window = self.config.window
        return facts if window is None else facts | {"window": {"crop": window.crop, "reduce": window.reduce}}

    def _embedding_dim(self) -> int:
        shape = self.extractor.output_shape(*self.size)
        return self.extractor.embedding(torch.zeros(1, *shape)).shape[1]

    def facts(self) -> dict[str, Any]:
        """What both the manifest and the graph's metadata say."""
        height, width = self.size
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.config.name,
            "dataset": self.dataset.name,
            "input": self._input(),
            "labels": list(self.dataset.label_names),
            "feature_dim": self.probe.weights.shape[0],
            "embedding_dim": self._embedding_dim(),
            **({"all_layers": True} if self.config.all_layers else {}),
            "layers": [
                {
                    "layer": index,
                    "maps": layer.config.maps,
                    "channels": layer.channels,
                    "kernel": layer.config.kernel,
                    "pool_width": layer.config.pool_width,
                    "pool_stride": layer.config.pool_stride,
                    "output_shape": list(shape),
                }
                for index, (layer, shape) in enumerate(
                    zip(self.extractor.stack(), self.extractor.shapes(height, width), strict=True), 1
                )
            ],
        }


class OnnxModel:
    """The graph as a user of the bundle runs it.

    Args:
        data: bytes of `model.onnx`.
        threads: as many as the runtime may use; 0 leaves the choice to it.
    """

    def __init__(self, data: bytes, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Pixels) -> tuple[Floats, Floats]:
        """Features (N, D) and logits (N, K) of uint8 (N, H, W, V * C)."""
        features, logits = self._session.run(["features", "logits"], {"images": images})
        return np.asarray(features), np.asarray(logits)

    def embedding(self, images: Pixels) -> Floats:
        """Embedding (N, E) of uint8 (N, H, W, C)."""
        return np.asarray(self._session.run(["embedding"], {"images": images})[0])

    def outputs(self, images: Pixels) -> dict[str, Floats]:
        """Every output, by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, {"images": images}), strict=True))


def torch_outputs(model: TrainedModel, images: Pixels) -> tuple[Floats, Floats]:
    """What training computes for uint8 (N, H, W, V * C): features (N, D) and logits (N, K)."""
    with torch.no_grad():
        features = model.extractor(torch.from_numpy(images))
        logits = features @ model.probe.weights + model.probe.bias
    return features.numpy(), logits.numpy()


def torch_embedding(model: TrainedModel, images: Pixels) -> Floats:
    """What training computes for uint8 (N, H, W, C): embedding (N, E)."""
    return model.extractor.embedding(model.extractor.maps(torch.from_numpy(images))).numpy()


def build_checked(model: TrainedModel, version: str, direct: bool = False) -> bytes:
    """Bytes of `model.onnx`, or of the same with every layer written as a convolution: see `training.graph.build`.

    Raises:
        ParityError: an output differs from torch's by more than `PARITY` of the largest value.
    """
    data = graph.build(model.extractor, model.probe, *model.size, {**model.facts(), "version": version}, direct)
    run = OnnxModel(data, torch.get_num_threads())
    images = np.array(model.dataset.train.images[: 4 * GOLDEN_IMAGES])
    expected = (*torch_outputs(model, images), torch_embedding(model, images))
    for part in (images, images[:1]):
        got_all = (*run(part), run.embedding(part))
        for name, got, wanted in zip(("features", "logits", "embedding"), got_all, expected, strict=True):
            # of the largest value of all images: a single one may have nothing but zeros
            largest = float(np.abs(wanted).max()) or 1.0
            error = float(np.abs(got - wanted[: len(part)]).max()) / largest
            if not error <= PARITY:
                raise ParityError(f"{name} of {len(part)} images differ by {error:.1e}, more than {PARITY:.0e}")
    return data


def _filters(model: TrainedModel) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for index, (layer, pixels) in enumerate(
        zip(model.extractor.stack(), model.extractor.pixel_filters(*model.size), strict=True), 1
    ):
        arrays[f"layer{index}_decoder"] = layer.decoder
        arrays[f"layer{index}_encoder"] = layer.encoder
        arrays[f"layer{index}_pixels"] = pixels
    return arrays


def next_version(models_dir: Path, name: str) -> str:
    """The version after the highest one there is."""
    taken = [int(p.name) for p in (models_dir / name).glob("*") if p.name.isdecimal()]
    return str(max(taken, default=0) + 1)


def nothing(folder: Path) -> None:
    """Adds nothing to a bundle's folder."""


def write_bundle(
    model: TrainedModel,
    onnx_bytes: bytes,
    version: str,
    models_dir: Path,
    card: str,
    report: Mapping[str, Any],
    extend: Callable[[Path], object] = nothing,
    direct: bytes | None = None,
) -> Path:
    """Write `models_dir/<name>/<version>/`, all files or none.

    Args:
        model: what is exported.
        onnx_bytes: from `build_checked`.
        version: a number; a version that exists is replaced.
        models_dir: the folder of all bundles.
        card: text of the model card.
        report: the rest of the manifest: `accuracy`, `data_license`, `training`.
        extend: adds to the bundle's folder before anybody sees it.
        direct: the same from `build_checked`, its layers plain convolutions; kept if it is another graph.

    Returns:
        The bundle's folder.
    """
    target = models_dir / model.config.name / version
    with replacing(target) as folder:
        if direct not in (None, onnx_bytes):
            (folder / DIRECT).write_bytes(direct)
            report = {**report, "direct": {"file": DIRECT}}
        _write_files(folder, model, onnx_bytes, version, card, report)
        extend(folder)
    return target


def _write_files(
    folder: Path, model: TrainedModel, onnx_bytes: bytes, version: str, card: str, report: Mapping[str, Any]
) -> None:
    images = np.array(model.dataset.train.images[:GOLDEN_IMAGES])
    features, logits = torch_outputs(model, images)
    (folder / "model.onnx").write_bytes(onnx_bytes)
    checkpoints.save(folder / "filters.npz", _filters(model))
    outputs = {"features": features, "logits": logits, "embedding": torch_embedding(model, images)}
    checkpoints.save(folder / "golden.npz", {"images": images, **outputs})
    (folder / "README.md").write_text(card, encoding="utf-8")
    write_manifest(folder, {**model.facts(), "version": version, **report})
