"""Framing: the views apart, their centre, made smaller; against plain numpy."""

import numpy as np
import pytest
import torch

from tests.training.drawn import Images, photos
from tests.training.stereo import pairs
from training.config import Window
from training.framing import WHOLE, FramedSource, Framing, framed

CASES = [
    (1, Window(8)),
    (1, Window(12, 2)),
    (2, None),
    (2, Window(9, 3)),
    (2, Window(12, 4)),
    (2, Window(12, 6)),
    (3, Window(16, 2)),
]


def by_hand(samples: Images, views: int, window: Window | None) -> Images:
    """What framing gives, image by image."""
    out = []
    for sample in samples:
        for view in np.split(sample, views, axis=2):
            image = view
            if window is not None:
                top, left = (image.shape[0] - window.crop) // 2, (image.shape[1] - window.crop) // 2
                inner = image[top : top + window.crop, left : left + window.crop].astype(np.float64)
                tiles = inner.reshape(window.size, window.reduce, window.size, window.reduce, -1)
                image = np.rint(tiles.mean((1, 3))).astype(np.uint8)
            out.append(image)
    return np.stack(out)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("views", "window"), CASES)
def test_views_are_taken_apart_and_cut_and_averaged(views: int, window: Window | None, channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (5, 17, 20, views * channels)).astype(np.uint8)
    framing = Framing(views, window)
    got = framing(torch.from_numpy(samples)).numpy()
    assert got.dtype == np.uint8 and got.shape[1:3] == framing.size(17, 20)
    np.testing.assert_array_equal(got, by_hand(samples, views, window))


def test_a_source_gives_the_views_one_after_the_other() -> None:
    samples, window = pairs(12, 20, 18), Window(12, 2)
    source = FramedSource(samples, Framing(2, window))
    expected = by_hand(samples, 2, window)
    assert source.shape == expected.shape == (24, 6, 6, 1) and len(source) == 24
    np.testing.assert_array_equal(source[:], expected)
    np.testing.assert_array_equal(source[3:10], expected[3:10])
    for picks in ([23, 0, 7, 7], [4], []):
        np.testing.assert_array_equal(source[np.array(picks, np.int64)], expected[picks])


def test_images_that_need_no_framing_are_not_wrapped() -> None:
    images = photos(4, 6, 6, 3).images
    assert framed(images, WHOLE) is images
    samples = torch.from_numpy(images)
    assert WHOLE(samples) is samples


def test_a_window_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="17×20 pixels have no inner 18×18"):
        Framing(1, Window(18, 2))(torch.zeros(1, 17, 20, 1, dtype=torch.uint8))


@pytest.mark.parametrize(("crop", "reduce"), [(64, 3), (0, 1), (8, 0), (-4, 2)])
def test_a_window_of_broken_squares_is_refused(crop: int, reduce: int) -> None:
    with pytest.raises(ValueError, match="whole squares"):
        Window(crop, reduce)
