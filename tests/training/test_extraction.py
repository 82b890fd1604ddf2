"""Features of many images, in blocks, as float16."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training import untrained
from tests.training.drawn import config, dataset, layer
from training import extraction, features
from training.extraction import BatchExtractor, chunk_images, extract
from training.features import FeatureFile, blocks
from training.sca import SparseConvAutoencoder
from training.stack import FeatureExtractor
from training.winners import CHUNK_BYTES

DATA = dataset(train=70, test=1)


def test_features_are_the_networks_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = untrained.extractor(config("separable"), DATA)
    monkeypatch.setattr(extraction, "CHUNK_BYTES", 4 * 12 * 12 * 12 * 9)  # nine images at a time
    assert chunk_images(network.stack()[0], (12, 12)) == 9
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


def test_a_layer_with_large_filters_takes_more_images_at_a_time() -> None:
    small, large = (
        SparseConvAutoencoder(layer(maps=maps, kernel=5), channels, 0) for maps, channels in ((8, 3), (512, 512))
    )
    assert chunk_images(small, (8, 8)) == CHUNK_BYTES // (4 * 8 * 64)
    # 512 filters of 5 x 5 x 512 are 26 MB: maps of a quarter of that
    assert chunk_images(large, (8, 8)) == 512 * 512 * 25 // 4 // (512 * 64)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_for_the_next_layer_is_the_networks(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(threads)
    network = untrained.extractor(config("none", layers=(layer(), layer(maps=7, kernel=3))), DATA)
    monkeypatch.setattr(extraction, "CHUNK_BYTES", 4 * 12 * 12 * 12 * 2)  # two images in one layer, more in the other
    pixels = torch.from_numpy(DATA.train.images[:31])
    torch.testing.assert_close(BatchExtractor(network, 12, 12)(pixels), network.maps(pixels), rtol=1e-5, atol=1e-5)
    bare = FeatureExtractor(network.preprocessing, [])
    assert torch.equal(BatchExtractor(bare, 12, 12)(pixels), network.preprocessing(pixels))
