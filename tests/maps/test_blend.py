"""Weights sum to one everywhere, and what was not seen does not count."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.maps.blend import Sums, mean_of, weights_along
from earthloom.maps.tiling import Tiling


@st.composite
def tilings(draw):
    step = draw(st.integers(1, 6))
    size = step * draw(st.integers(1, 9))
    stride = step * draw(st.integers(1, size // step))
    return Tiling(size, stride, draw(st.integers(0, (size - stride) // 2)), 1, step)


def _each(axis):
    return zip(axis.starts, axis.ends, weights_along(axis), strict=True)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 150), tilings())
def test_weights_sum_to_one_at_every_pixel(length, tiling):
    axis = tiling.axis(length)
    total = np.zeros(axis.extent)
    for start, end, weight in _each(axis):
        assert weight.dtype == np.float32
        assert (weight >= 0).all()
        total[start:end] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 150), tilings())
def test_nothing_counts_within_the_margin_of_an_inner_border(length, tiling):
    axis = tiling.axis(length)
    for start, end, weight in _each(axis):
        if start > 0:
            assert (weight[: tiling.margin] == 0).all()
        if end < axis.extent:
            assert (weight[len(weight) - tiling.margin :] == 0).all()


def test_weights_rise_evenly_and_are_level_at_the_borders_of_the_map():
    first, last = weights_along(Tiling(8, 5).axis(13))
    np.testing.assert_allclose(first, [1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(last, first[::-1])
    first, last = weights_along(Tiling(8, 4, margin=1).axis(12))
    np.testing.assert_allclose(first, [1, 1, 1, 1, 1, 2 / 3, 1 / 3, 0], atol=1e-7)
    step, _ = weights_along(Tiling(8, 4, margin=2).axis(12))
    np.testing.assert_array_equal(step, [1, 1, 1, 1, 1, 1, 0, 0])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_a_mean_is_of_those_that_saw(seed, planes):
    """Against numpy's average, pixel by pixel."""
    rng = np.random.default_rng(seed)
    shares = rng.random((3, planes, 5, 6)).astype(np.float32)
    shares[:, :, rng.random((5, 6)) < 0.2] = np.nan
    shares[(rng.random((3, 5, 6)) < 0.3)[:, None].repeat(planes, 1)] = np.nan
    weights = rng.random((3, 5, 6)).astype(np.float32) + 0.01
    sums = Sums(planes, 6)
    sums.reach(5)
    for each, weight in zip(shares, weights, strict=True):
        sums.add(0, torch.from_numpy(each.copy()), torch.from_numpy(weight))
    found = mean_of(np.concatenate([sums.leave(2), sums.leave(3)], axis=1))
    seen = ~np.isnan(shares[:, :1])
    total = (seen * weights[:, None]).sum(axis=0)
    wanted = (np.nan_to_num(shares) * weights[:, None]).sum(axis=0) / np.where(total, total, np.nan)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_rows_that_leave_make_room_for_the_next():
    sums = Sums(1, 3)
    one = torch.ones(1, 3, 3)
    sums.reach(3)
    sums.add(0, one.clone(), torch.ones(3, 3))
    np.testing.assert_array_equal(sums.leave(2)[0], np.ones((2, 3)))
    sums.reach(3)
    sums.add(0, one.clone(), torch.ones(3, 3))
    np.testing.assert_array_equal(sums.leave(3)[0], [[2, 2, 2], [1, 1, 1], [1, 1, 1]])
