"""Winners found through bfloat16 scores are float32's winners."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.training.test_winners import random_images, whole_numbers
from training import rounded, shortlist
from training.compiled import AVAILABLE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="numba is not installed")

CHANNELS, MAPS, KERNEL = 64, 40, 5


def find(images: Tensor, encoder: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Values and positions (N, M) of images (N, C, H, W) and filters (M, C, k, k)."""
    values = torch.full((len(images), len(encoder)), -1e9)
    positions = torch.full(values.shape, -1, dtype=torch.int32)
    shortlist.encode(
        images.permute(0, 2, 3, 1).contiguous(), encoder.permute(0, 2, 3, 1).contiguous(), bias, values, positions
    )
    return values, positions


def dense(images: Tensor, encoder: Tensor, bias: Tensor) -> Tensor:
    """All activations, (N, M, H * W) float64."""
    pad = encoder.shape[-1] // 2
    return functional.conv2d(images.double(), encoder.double(), bias.double(), padding=pad).flatten(2)


def check(images: Tensor, encoder: Tensor, bias: Tensor) -> None:
    values, positions = find(images, encoder, bias)
    maps = dense(images, encoder, bias)
    scale = float(maps.abs().max())
    best = maps.amax(2)
    chosen = maps.gather(2, positions.long()[:, :, None])[:, :, 0]
    torch.testing.assert_close(values.double(), best, rtol=0, atol=2e-6 * scale)
    # the chosen place is the largest, but for places that float32 cannot tell apart
    torch.testing.assert_close(chosen, best, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (3, 9), (1, 1), (12, 5)])
@pytest.mark.parametrize("rectified", [True, False])
def test_the_largest_places_are_found(height: int, width: int, rectified: bool) -> None:
    images = random_images(6, CHANNELS, height, width)
    check(images.relu() if rectified else images, random_images(MAPS, CHANNELS, KERNEL, KERNEL), random_images(MAPS))


def test_what_bfloat16_cannot_tell_apart_float32_does() -> None:
    # every patch is nearly the same: scores differ by less than one of bfloat16's steps
    images = 1 + 1e-3 * random_images(4, CHANNELS, 8, 8)
    encoder = random_images(MAPS, CHANNELS, 1, 1).abs()
    values, positions = find(images, encoder, torch.zeros(MAPS))
    maps = dense(images, encoder, torch.zeros(MAPS))
    scores = functional.conv2d(images.bfloat16(), encoder.bfloat16()).flatten(2).argmax(2)
    assert (scores != maps.argmax(2)).float().mean() > 0.3, "bfloat16 alone would do"
    assert torch.equal(positions.long(), maps.argmax(2))
    torch.testing.assert_close(values.double(), maps.amax(2), rtol=1e-6, atol=0)


def test_errors_that_do_not_cancel_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # All weights lose as much as can be lost, in the same direction where an image is positive: the errors add up to
    # their bound, many times what independent errors would come to, and hide the largest place.
    encoder = torch.full((MAPS, CHANNELS, KERNEL, KERNEL), 1 + 2.0**-8 - 2.0**-16)
    encoder[:, ::2] = -(1 + 2.0**-8 + 2.0**-16)
    images = torch.rand(3, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    check(images, encoder, torch.zeros(MAPS))
    searches = []
    search = shortlist._search

    def counted(*arguments: object) -> object:
        searches.append(arguments)
        return search(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shortlist, "_search", counted)
    find(images, encoder, torch.zeros(MAPS))
    assert len(searches) > shortlist.LEAST_BLOCKS, "no map was searched again"


def test_the_first_of_equals_wins() -> None:
    images, encoder = whole_numbers(4, CHANNELS, 8, 8, seed=2), whole_numbers(MAPS, CHANNELS, 1, 1, seed=3)
    _, positions = find(images, encoder, torch.zeros(MAPS))
    maps = dense(images, encoder, torch.zeros(MAPS))
    ties = maps == maps.amax(2, keepdim=True)
    assert (ties.sum(2) > 1).any(), "the example has no ties"
    assert torch.equal(positions.long(), ties.int().argmax(2))


def test_blank_images_and_blank_filters_have_their_winner_first() -> None:
    images, encoder = torch.zeros(2, CHANNELS, 8, 8), random_images(MAPS, CHANNELS, KERNEL, KERNEL)
    bias = random_images(MAPS)
    values, positions = find(images, encoder, bias)
    assert torch.equal(values, bias.expand(2, MAPS)) and not positions.any()
    values, positions = find(random_images(2, CHANNELS, 8, 8), torch.zeros_like(encoder), bias)
    assert torch.equal(values, bias.expand(2, MAPS)) and not positions.any()


def test_images_are_taken_in_parts_when_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    images, encoder, bias = (
        random_images(7, CHANNELS, 8, 8),
        random_images(MAPS, CHANNELS, KERNEL, KERNEL),
        random_images(MAPS),
    )
    whole = find(images, encoder, bias)
    monkeypatch.setattr(shortlist, "COLUMN_BYTES", 3 * 2 * KERNEL * images[0].numel())
    monkeypatch.setattr(shortlist, "SCORE_BYTES", 7 * 2 * 64 * 3)
    parts = find(images, encoder, bias)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_rounding_is_torchs_and_norms_are_those_of_the_filters() -> None:
    filters = random_images(9, 300)
    words, norms = rounded.round_filters(filters)
    assert torch.equal(words, filters.bfloat16())
    lost = (filters - filters.bfloat16().float()).norm(dim=1) + rounded.ADDITION * filters.norm(dim=1)
    torch.testing.assert_close(norms, torch.stack([filters.norm(dim=1), lost]), rtol=1e-5, atol=0)


def test_it_pays_for_large_filters_on_processors_that_have_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = torch.zeros(2, 512, 5, 5), torch.zeros(2, 3, 9, 9)
    monkeypatch.setattr(rounded, "fast", lambda: True)
    assert shortlist.pays(large) and not shortlist.pays(small)
    monkeypatch.setattr(rounded, "fast", lambda: False)
    assert not shortlist.pays(large)
