"""A split: what belongs together, what is held out, and what makes it another one."""

import numpy as np
import pytest

from tests.training.drawn import photos
from training import splits
from training.splits import DataError, Split


def test_a_split_refuses_halves_that_do_not_belong_together() -> None:
    images, labels = photos(4, 5, 5, 1)
    with pytest.raises(DataError, match="do not go with"):
        Split(images, labels[:3])
    with pytest.raises(DataError, match="do not go with"):
        Split(images[..., 0], labels)
    with pytest.raises(DataError, match="groups"):
        Split(images, labels, labels[:3])


def test_whole_groups_come_last_when_a_split_is_shuffled() -> None:
    images, labels = photos(50, 4, 4, 1)
    groups = np.arange(50, dtype=np.int64) % 5
    held_out = set()
    for seed in range(6):
        mixed = Split(images, labels, groups).shuffled(seed, held_out=0.2)
        assert mixed.groups is not None
        last = set(mixed.groups[40:].tolist())
        assert len(last) == 1 and last.isdisjoint(mixed.groups[:40].tolist())
        assert (np.diff(mixed.groups[:40]) != 0).sum() > 20, "the others are mixed"
        held_out |= last
        known = {image.tobytes(): (label, group) for image, label, group in zip(images, labels, groups, strict=True)}
        rows = zip(mixed.images[:], mixed.labels, mixed.groups, strict=True)
        assert all(known[image.tobytes()] == (label, group) for image, label, group in rows)
    assert len(held_out) > 1, "the seed chooses the group"


@pytest.mark.parametrize("sizes", [[10] * 5, [17] * 3, [7] * 7, [6, 4, 10, 8, 2], [49, 1]])
def test_groups_of_any_size_are_on_one_side_only(sizes: list[int]) -> None:
    images, labels = photos(sum(sizes), 4, 4, 1)
    groups = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    for seed in range(5):
        mixed = Split(images, labels, groups).shuffled(seed, held_out=0.2)
        assert mixed.groups is not None and 0 < mixed.held_out < len(labels)
        fitting, held_out = np.split(mixed.groups, [len(labels) - mixed.held_out])
        assert set(fitting.tolist()).isdisjoint(held_out.tolist())


def test_one_group_cannot_be_split() -> None:
    images, labels = photos(9, 4, 4, 1)
    with pytest.raises(DataError, match="1 groups cannot be split"):
        Split(images, labels, np.zeros(9, np.int64)).shuffled(0, held_out=0.2)


@pytest.mark.parametrize(("samples", "held_out"), [(1, 0), (2, 1), (3, 1), (10, 2), (50_000, 10_000)])
def test_some_samples_are_held_out_and_some_are_not(samples: int, held_out: int) -> None:
    images = np.zeros((samples, 1, 1, 1), np.uint8)
    assert Split(images, np.zeros(samples, np.int64)).shuffled(0, held_out=0.2).held_out == held_out
    assert Split(images, np.zeros(samples, np.int64)).shuffled(0).held_out == 0


def test_other_groups_are_other_data() -> None:
    images, labels = photos(6, 4, 4, 1)
    zeros = np.zeros(6, np.int64)
    digests = {Split(images, labels, groups).digest() for groups in (None, zeros, zeros + 1)}
    assert len(digests) == 3


def test_a_digest_is_of_the_pixels_however_they_lie_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = photos(11, 4, 6, 3)
    whole = Split(images, labels).digest()
    turned = np.ascontiguousarray(images.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0)
    monkeypatch.setattr(splits, "DIGEST_IMAGES", 4)
    assert Split(turned, labels).digest() == whole == Split(images, labels).digest()
    assert Split(images[::-1], labels).digest() != whole
