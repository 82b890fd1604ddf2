"""The step's gradients against the paper's equations in dense float64."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.training.dense import Dense, differentiate, magnitudes
from training.winners import Backend, Code, Filters, step

BACKENDS: tuple[Backend, ...] = ("numba", "torch", "dense")

RELATIVE = 1e-5
"""Of a gradient's norm: how far it may be from float64's."""
ROUNDING = 2e-7
"""Of the norm of the terms' absolute values, three roundings of float32: allowed where terms cancel."""
TIE = 1e-6
"""Activations closer than this share of their terms are equal to float32: either may win."""


@dataclass(frozen=True)
class Case:
    """Images and filters to differentiate.

    Attributes:
        images: (N, C, H, W).
        filters: the layer.
    """

    images: Tensor
    filters: Filters


def make(
    shape: tuple[int, int, int, int],
    maps: int,
    kernel: int,
    picture: str,
    bias: str,
    seed: int,
    last: bool = True,
    scale: float = 0.3,
) -> Case:
    """Draw a case.

    Args:
        shape: (N, C, H, W).
        maps: M.
        kernel: k.
        picture: `noise`, `flat` (ties everywhere but at the border), `zero`, or `dots` (mostly zero).
        bias: `mixed`, `dead` (every other map is never on), or `negative` (none is).
        seed: of all that is random.
        last: whether tensors lie in memory channels last.
        scale: deviation of the filters.
    """
    draw = torch.Generator().manual_seed(seed)
    count, channels, _, _ = shape
    images = torch.randn(shape, generator=draw)
    if picture == "flat":
        images = images[:, :, :1, :1].expand(shape).contiguous()
    elif picture == "zero":
        images = torch.zeros(shape)
    elif picture == "dots":
        images = images * (torch.rand(shape, generator=draw) < 0.1)
    encoder, decoder = (torch.randn(maps, channels, kernel, kernel, generator=draw) * scale for _ in range(2))
    if last:
        images, encoder, decoder = (t.contiguous(memory_format=torch.channels_last) for t in (images, encoder, decoder))
    encoder_bias = torch.randn(maps, generator=draw)
    if bias == "negative":
        encoder_bias -= 1e4
    elif bias == "dead":
        encoder_bias[::2] -= 1e4
    return Case(images, Filters(encoder, encoder_bias, decoder, torch.randn(channels, generator=draw)))


cases = st.builds(
    make,
    st.tuples(st.integers(1, 5), st.sampled_from((1, 2, 3, 6, 64)), st.integers(1, 14), st.integers(1, 14)),
    st.sampled_from((1, 2, 5, 33, 64)),
    st.sampled_from((1, 3, 5, 7, 9)),
    st.sampled_from(("noise", "noise", "flat", "zero", "dots")),
    st.sampled_from(("mixed", "mixed", "dead", "negative")),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)


def check_winners(code: Code, reference: Dense, sizes: Tensor) -> None:
    """Each winner is the float64 maximum, or as good as equal to it; it is on where float64's is."""
    rows, slack = reference.activations.flatten(2), TIE * sizes.flatten(2).amax(2)
    won = rows.gather(2, code.positions.long()[:, :, None]).squeeze(2)
    assert (won >= rows.amax(2) - slack).all()
    assert ((code.values.double() - won.clamp(min=0)).abs() <= slack).all()


def check_gradients(case: Case, backend: Backend) -> Filters:
    """Loss and gradients are float64's."""
    gradients = case.filters.empty_like()
    loss, code = step(case.images, case.filters, gradients, backend)
    reference = differentiate(case.images, case.filters, code)
    terms = magnitudes(case.images, case.filters, code)
    check_winners(code, reference, terms.activations)
    rounding = 2 * ROUNDING * (reference.loss * terms.loss) ** 0.5  # of the square of an error that is nearly zero
    assert float(loss) == pytest.approx(reference.loss, rel=RELATIVE, abs=rounding)
    names = ("P", "b", "W", "b'")
    for name, got, wanted, size in zip(names, gradients.tensors(), reference.gradients, terms.gradients, strict=True):
        allowed = max(RELATIVE * float(wanted.norm()), ROUNDING * float(size.norm()))
        error = float((got.double() - wanted).norm())
        assert error <= allowed, f"{backend}: d{name} is {error:.1e} off, {allowed:.1e} is allowed"
    return gradients


@settings(max_examples=250, deadline=None)
@given(cases, st.integers(1, 3))
def test_gradients_are_dense_autograds_in_every_shape(case: Case, threads: int) -> None:
    torch.set_num_threads(threads)
    first, *others = (check_gradients(case, backend).tensors() for backend in BACKENDS)
    for gradients in others:
        for one, other in zip(first, gradients, strict=True):
            scale = max(float(other.abs().max()), 1.0)
            torch.testing.assert_close(one, other, rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "maps", "kernel"),
    [
        ((3, 1, 28, 28), 128, 7),
        ((2, 3, 32, 32), 512, 9),
        ((4, 512, 8, 8), 96, 5),
        ((2, 6, 32, 32), 64, 9),
    ],
    ids=["mnist-layer1", "cifar10-layer1", "cifar10-layer2", "two-views"],
)
def test_gradients_are_dense_autograds_at_the_papers_sizes(
    backend: Backend, shape: tuple[int, int, int, int], maps: int, kernel: int
) -> None:
    torch.set_num_threads(2)
    check_gradients(make(shape, maps, kernel, "noise", "mixed", seed=7, scale=0.05), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_maps_without_a_winner_get_no_gradient(backend: Backend) -> None:
    case = make((4, 3, 9, 6), 8, 5, "noise", "dead", seed=3)
    gradients = check_gradients(case, backend)
    for gradient in gradients.tensors()[:3]:
        assert not gradient[::2].any()
        assert gradient[1::2].flatten(1).any(1).all() if gradient.ndim > 1 else gradient[1::2].all()
