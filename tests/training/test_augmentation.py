"""Changed copies of images: what each change does, and that a copy depends on its seed and number alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.drawn import Images, photos
from training.augmentation import AugmentedSource, warp
from training.config import AugmentationConfig

IMAGES = photos(20, 12, 16, 3).images
ALL = AugmentationConfig(3, mirror=True, shift=1.5, rotation=10, zoom=0.1)


def moved(dx: float, dy: float) -> torch.Tensor:
    """The affine map that takes its pixels from dx columns further right and dy rows further down."""
    return torch.tensor([[1.0, 0.0, 2 * dx / 16], [0.0, 1.0, 2 * dy / 12]]).expand(len(IMAGES), 2, 3)


def difference(one: Images, other: Images) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_the_first_n_are_the_images_themselves() -> None:
    source = AugmentedSource(IMAGES, ALL, seed=0)
    assert source.shape == (80, 12, 16, 3) and len(source) == 80
    assert np.array_equal(source[:20], IMAGES)
    assert source[:].dtype == np.uint8


def test_a_mirrored_copy_is_mirrored_to_the_bit() -> None:
    source = AugmentedSource(IMAGES, AugmentationConfig(1, mirror=True), seed=0)
    assert np.array_equal(source[20:], IMAGES[:, :, ::-1])


def test_every_other_copy_is_mirrored() -> None:
    source = AugmentedSource(IMAGES, replace(ALL, shift=0.3, rotation=0, zoom=0), seed=0)
    for copy, kept in enumerate((IMAGES[:, :, ::-1], IMAGES, IMAGES[:, :, ::-1]), 1):
        part = source[20 * copy : 20 * copy + 20]
        assert difference(part, kept) < 0.5 * difference(part, kept[:, :, ::-1])


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-2, 0), (0, 3), (2, -1)])
def test_a_move_by_whole_pixels_moves_whole_pixels_and_repeats_the_edge(dx: int, dy: int) -> None:
    wide = np.pad(IMAGES, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    expected = wide[:, 3 + dy : 15 + dy, 3 + dx : 19 + dx]
    assert np.abs(warp(IMAGES, moved(dx, dy)).astype(int) - expected).max() <= 1  # rounding


def test_a_shift_keeps_within_its_range_and_uses_it() -> None:
    column = np.zeros((400, 9, 9, 1), np.uint8)
    column[:, 4, 4] = 255
    copies = AugmentedSource(column, AugmentationConfig(1, shift=2), seed=0)[400:].astype(float)[..., 0]
    weight = copies.sum((1, 2))
    for axis in (1, 2):
        place = (copies.sum(3 - axis) * np.arange(9)).sum(1) / weight - 4
        assert np.abs(place).max() <= 2.01 and place.max() > 1.8 and place.min() < -1.8
        assert abs(place.mean()) < 0.2


@pytest.mark.parametrize(("change", "least"), [({"rotation": 20.0}, 0.3), ({"zoom": 0.2}, 0.05)])
def test_turning_and_zooming_leave_the_middle_where_it_is(change: dict[str, Any], least: float) -> None:
    rows, columns = np.mgrid[-10:11, -10:11]
    disc = (255 * np.exp(-((rows**2 + columns**2 / 4) / 10)))[None, :, :, None].repeat(50, 0).astype(np.uint8)
    copies = AugmentedSource(disc, AugmentationConfig(1, **change), seed=0)[50:].astype(float)[..., 0]
    weight = copies.sum((1, 2))
    centre = [(copies * axis).sum((1, 2)) / weight for axis in (rows, columns)]
    assert np.abs(centre).max() < 0.1
    assert np.abs(copies - disc[..., 0]).mean((1, 2)).std() > least, "every copy is the same"


BENT = AugmentationConfig(1, elastic=2.0)


def test_bending_moves_each_place_within_the_range_and_neighbours_alike() -> None:
    ramp = np.arange(0, 250, 10, dtype=np.uint8)
    across = np.broadcast_to(ramp[:, None], (25, 25, 1))[None].repeat(200, 0).transpose(0, 2, 1, 3)
    bent = AugmentedSource(np.ascontiguousarray(across), BENT, seed=0)[200:].astype(float)[..., 0]
    moves = ((bent - across[..., 0]) / 10)[:, 4:-4, 4:-4]  # in columns; near the edge there is nothing to move
    assert np.abs(moves).max() < 3, "between knots a bicubic curve may go a little past them"
    assert moves.max() > 1.5 and moves.min() < -1.5 and abs(moves.mean()) < 0.1
    assert moves.std((1, 2)).mean() > 0.5, "whole images are moved, not bent"
    assert np.abs(np.diff(moves, axis=1)).max() < 1.2 and np.abs(np.diff(moves, axis=2)).max() < 1.2


def test_without_bending_the_copies_are_those_of_before() -> None:
    bends = torch.zeros(len(IMAGES), 2, 5, 5)
    assert np.array_equal(warp(IMAGES, moved(1, 0), bends), warp(IMAGES, moved(1, 0)))
    faint = AugmentedSource(IMAGES, replace(ALL, elastic=1e-6), seed=0)[:]
    assert np.abs(faint.astype(int) - AugmentedSource(IMAGES, ALL, seed=0)[:]).max() <= 1  # rounding


def test_a_knot_moves_what_is_near_it_and_nothing_at_the_next_knots() -> None:
    bends = torch.zeros(len(IMAGES), 2, 5, 5)
    bends[:, 0, 0, 0] = 2 * 1 / 16  # the upper left corner looks one column further right
    seen = warp(IMAGES, moved(0, 0), bends)
    assert np.abs(seen[:, 0, 0].astype(int) - IMAGES[:, 0, 1]).max() <= 1
    assert np.array_equal(seen[:, 6:, 8:], IMAGES[:, 6:, 8:])


@pytest.mark.parametrize("config", [ALL, replace(ALL, elastic=1.5)], ids=["affine", "bent"])
def test_copies_depend_on_seed_and_number_not_on_the_asking(config: AugmentationConfig) -> None:
    source = AugmentedSource(IMAGES, config, seed=0)
    everything = source[:]
    some = np.array([79, 3, 25, 41, 25])
    assert np.array_equal(source[some], everything[some])
    assert np.array_equal(AugmentedSource(IMAGES, config, seed=0)[:], everything)
    assert not np.array_equal(AugmentedSource(IMAGES, config, seed=1)[20:], everything[20:])


@pytest.mark.parametrize(
    "change",
    [{"copies": 0}, {"shift": -1.0}, {"elastic": -1.0}, {"mirror": False, "shift": 0, "rotation": 0, "zoom": 0}]
    + [{"copies": 2, "shift": 0, "rotation": 0, "zoom": 0}],
)
def test_copies_that_cannot_be_or_are_all_alike_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="copies|must not be negative"):
        replace(ALL, **change)
