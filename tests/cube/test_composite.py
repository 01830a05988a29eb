"""Composites against numpy's own medians and means."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earthloom.cube import composite

ORACLES = {"median": np.nanmedian, "mean": np.nanmean}

values = st.floats(-2, 2, width=32) | st.just(float("nan"))
shapes = st.tuples(st.integers(1, 27), st.integers(1, 2), st.integers(1, 3), st.integers(1, 2))
stacks = shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=values, fill=values))
methods = st.sampled_from(sorted(ORACLES))


def _masked(stack):
    """An observation counts where all its bands are there."""
    return np.where(np.isnan(stack).any(axis=1, keepdims=True), np.float32("nan"), stack)


@settings(deadline=None, max_examples=60)
@given(stacks, methods)
def test_is_numpys_own(stack, method):
    image, count = composite(stack.copy(), method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy on pixels that were never seen
        wanted = ORACLES[method](_masked(stack).astype(np.float64), axis=0)
    np.testing.assert_allclose(image, wanted, atol=1e-6)
    np.testing.assert_array_equal(count, (~np.isnan(stack).any(axis=1)).sum(axis=0))
    np.testing.assert_array_equal(np.isnan(image).any(axis=0), count == 0)


@settings(deadline=None, max_examples=30)
@given(stacks, methods, st.randoms(use_true_random=False))
def test_order_of_dates_plays_no_part(stack, method, random):
    order = list(range(len(stack)))
    random.shuffle(order)
    image, count = composite(stack.copy(), method)
    other, other_count = composite(stack[order], method)
    np.testing.assert_array_equal(count, other_count)
    if method == "median":
        np.testing.assert_array_equal(image, other)
    else:
        np.testing.assert_allclose(image, other, rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(stacks, methods, st.integers(0, 26))
def test_dates_that_show_nothing_play_no_part(stack, method, place):
    blind = np.full_like(stack[:1], np.nan)
    at = min(place, len(stack))
    with_blind = np.concatenate([stack[:at], blind, stack[at:]])
    image, count = composite(stack.copy(), method)
    other, other_count = composite(with_blind, method)
    np.testing.assert_array_equal(count, other_count)
    np.testing.assert_allclose(image, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", sorted(ORACLES))
def test_one_observation_is_itself(method):
    stack = np.random.default_rng(0).random((1, 3, 4, 5)).astype(np.float32)
    image, count = composite(stack.copy(), method)
    np.testing.assert_array_equal(image, stack[0])
    assert (count == 1).all()


@pytest.mark.parametrize("method", sorted(ORACLES))
def test_nothing_seen(method):
    image, count = composite(np.full((3, 2, 4, 5), np.nan, np.float32), method)
    assert np.isnan(image).all()
    assert (count == 0).all()
    assert (image.dtype, count.dtype) == (np.float32, np.uint8)


def test_counts_do_not_overflow():
    _, count = composite(np.zeros((300, 1, 1, 1), np.float32), "mean")
    assert count.item() == 255
