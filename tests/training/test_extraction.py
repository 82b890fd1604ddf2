"""Features of many images, in blocks, as float16."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training import untrained
from tests.training.drawn import config, dataset, layer
from training import extraction, features
from training.extraction import chunk_images, extract
from training.features import FeatureFile, blocks

DATA = dataset(train=70, test=1)


def test_features_are_the_networks_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = untrained.extractor(config("separable"), DATA)
    monkeypatch.setattr(extraction, "CHUNK_BYTES", 4 * 12 * 12 * 12 * 9)  # nine images at a time
    assert chunk_images(network, 12, 12) == 9
    ranges = [(3, 20), (40, 70)]
    got = extract(network, DATA.train.images, ranges, tmp_path / "spill", "features")
    assert isinstance(got, Tensor) and got.dtype == torch.float16
    rows = np.concatenate([np.arange(*bounds) for bounds in ranges])
    expected = network(torch.from_numpy(DATA.train.images[rows]))
    torch.testing.assert_close(got.float(), expected, rtol=1e-3, atol=1e-3)  # float16 keeps 11 bits


def test_features_too_large_for_memory_go_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = untrained.extractor(config("none", layers=(layer(), layer(maps=7, kernel=3))), DATA)
    memory = extract(network, DATA.train.images, [(0, 70)], tmp_path / "unused", "features")
    monkeypatch.setattr(features, "MEMORY_BYTES", 1000)
    file = extract(network, DATA.train.images, [(0, 70)], tmp_path / "spill", "features")
    assert isinstance(memory, Tensor) and isinstance(file, FeatureFile)
    assert torch.equal(torch.cat([block.clone() for _, _, block in blocks(file)]), memory.float())
