"""Unfolded columns and filters: the convolution that they stand for, for any sizes."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.fast import unfolding

SIZES = st.tuples(
    st.sampled_from([1, 2, 3, 5]), st.integers(3, 9), st.integers(4, 12), st.sampled_from([1, 3, 5]), st.integers(0, 2)
)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 9))
def test_it_is_the_same_convolution(sizes: tuple[int, int, int, int, int], seed: int) -> None:
    channels, height, width, kernel, cut = sizes
    rng = np.random.default_rng(seed)
    begin, end = kernel // 2, max(0, kernel // 2 - cut)
    x, filters = rng.normal(size=(2, channels, height, width)), rng.normal(size=(6, channels, kernel, kernel))
    scales = rng.uniform(0.5, 2, channels)
    padded = torch.nn.functional.pad(torch.from_numpy(x), (begin, end, begin, begin))
    wanted = torch.nn.functional.conv2d(padded, torch.from_numpy(filters)).numpy()
    rows = x.transpose(0, 2, 3, 1).reshape(2, height, width * channels)
    depth = unfolding.depth(channels, kernel)
    columns = (rows @ unfolding.matrix(width, kernel, begin, end, scales)).reshape(2, height, -1, depth)
    tall = unfolding.filters(filters * scales[:, None, None])
    planes = torch.nn.functional.pad(torch.from_numpy(columns.transpose(0, 3, 1, 2)), (0, 0, begin, begin))
    got = torch.nn.functional.conv2d(planes, torch.from_numpy(tall)).numpy()
    assert depth % unfolding.PACK == 0
    np.testing.assert_allclose(got, wanted, atol=1e-10)


def test_what_pays() -> None:
    assert unfolding.pays(3, 32) and unfolding.pays(1, 28)
    assert not unfolding.pays(512, 8), "its channels are a multiple of four already"
    assert not unfolding.pays(3, 96), "the product would cost more than it saves"
