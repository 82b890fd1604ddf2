"""Which images calibrate, and what ranges they give."""

import numpy as np
import onnx
import pytest

from tests.training import untrained
from tests.training.drawn import config, dataset
from training import graph
from training.export import OnnxModel
from training.fast import calibration
from training.fast.calibration import BLOCK, spread


@pytest.mark.parametrize("total", [2, 7, 80, 999, 1000, 1999, 4096, 60_000])
def test_samples_are_spread_and_have_nothing_in_common(total: int) -> None:
    one, other = (spread(total, 500, part, parts=2) for part in (0, 1))
    assert not set(one) & set(other)
    assert len(one) == min(500, -(-total // 2)) and len(other) == min(500, total // 2)
    assert (np.diff(one) > 0).all() and one[-1] < total
    gaps = np.diff(np.concatenate([one, [total]]))
    assert one[0] == 0 and gaps.max() <= 2 * max(1.0, total / 1000) + 1, "a part of the images is left out"


def test_ranges_are_the_mean_extremes_of_blocks() -> None:
    model = untrained.model(config("separable"), dataset(12, 12, 3, train=4 * BLOCK, test=1))
    exact = graph.build(model.extractor, model.probe, *model.size, model.facts())
    images = np.asarray(model.dataset.train.images[:])
    found = calibration.measure(onnx.load_from_string(exact), images, ["layer1.pooled"], threads=1)["layer1.pooled"]
    features, _ = OnnxModel(exact, 1)(images[spread(len(images), calibration.IMAGES, 0, 2)])
    maps = features.reshape(2, BLOCK, 12, -1)
    np.testing.assert_allclose(found.high, maps.max((1, 3)).mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.low, maps.min((1, 3)).mean(0), rtol=1e-6)
