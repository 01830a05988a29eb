"""The fast median against numpy's own."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earthloom.cube.kernels import (
    _batcher,
    _needed,
    median_f32,
    median_u16,
    seen_in,
)

shapes = st.tuples(st.integers(1, 20), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
numbers = st.integers(0, 65535) | st.just(65535) | st.just(0)


@st.composite
def stored(draw):
    """Stored numbers, which were seen, and their scales and offsets."""
    shape = draw(shapes)
    stack = draw(arrays(np.uint16, shape, elements=numbers, fill=numbers))
    seen = draw(arrays(np.bool_, (shape[0], *shape[2:])))
    offset = draw(arrays(np.float32, shape[:2], elements=st.sampled_from([-0.1, 0.0]).map(float)))
    return stack, seen, np.full(shape[:2], 1e-4, np.float32), offset.astype(np.float32)


def _slow(physical, seen):
    shown = np.where(seen[:, None], physical.astype(np.float64), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that were never seen
        return np.nanmedian(shown, axis=0)


@settings(deadline=None, max_examples=100)
@given(stored())
def test_stored_numbers_give_the_median_of_the_physical_ones(drawn):
    stack, seen, scale, offset = drawn
    image, count = median_u16(stack, seen, scale, offset)
    physical = stack.astype(np.float64) * scale[..., None, None] + offset[..., None, None]
    np.testing.assert_allclose(image, _slow(physical, seen), atol=2e-6)
    np.testing.assert_array_equal(count, seen.sum(axis=0))
    assert (image.dtype, count.dtype) == (np.float32, np.uint8)


@settings(deadline=None, max_examples=60)
@given(stored())
def test_physical_numbers_give_the_same(drawn):
    stack, seen, _, _ = drawn
    physical = stack.astype(np.float32)
    # What was not seen plays no part, whatever it is.
    nothing = np.where(seen[:, None], physical, np.float32(-1e30))
    image, count = median_f32(nothing, seen)
    np.testing.assert_allclose(image, _slow(physical, seen), rtol=1e-7)
    marked = np.where(seen[:, None], physical, np.float32("nan"))
    again, count_again = median_f32(marked)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(count, count_again)


@pytest.mark.parametrize("number", [1, 2, 5, 6, 12, 31])
def test_blocks_with_and_without_gaps(number):
    """More pixels than a block: some blocks whole, some in part, some without an observation."""
    random = np.random.default_rng(number)
    stack = random.random((number, 2, 40, 200), np.float32)
    seen = random.random((number, 40, 200)) > 0.4
    seen[:, :12] = True
    seen[0, 12:30] = False
    seen[:, 30:] = False
    image, count = median_f32(stack, seen)
    np.testing.assert_allclose(image, _slow(stack, seen), atol=1e-7)
    for threads in (2, 3, 50):
        other, other_count = median_f32(stack, seen, threads)
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(count, other_count)


def test_an_observation_is_seen_where_all_its_bands_are():
    stack = np.random.default_rng(0).random((4, 3, 5, 6)).astype(np.float32)
    stack[1, 2, 3, 4] = stack[2, 0, 1, :] = np.nan
    np.testing.assert_array_equal(seen_in(stack), ~np.isnan(stack).any(axis=1))
    turned = stack.transpose(0, 1, 3, 2)  # not contiguous
    np.testing.assert_array_equal(seen_in(turned), ~np.isnan(turned).any(axis=1))
    np.testing.assert_array_equal(median_f32(turned)[0], median_f32(stack)[0].transpose(0, 2, 1))


def test_counts_do_not_overflow():
    _, count = median_f32(np.zeros((300, 1, 1, 1), np.float32))
    assert count.item() == 255


@pytest.mark.parametrize("number", range(1, 12))
def test_networks_sort(number):
    """A network that sorts all zeros and ones sorts everything (Knuth 1973)."""
    steps = _batcher(number)
    middle = {(number - 1) // 2, number // 2}
    for values in itertools.product([0, 1], repeat=number):
        assert _apply(steps, values) == sorted(values)
        only = _apply(_needed(steps, middle), values)
        assert all(only[rank] == sorted(values)[rank] for rank in middle)


def _apply(steps, values):
    values = list(values)
    for low, high in steps:
        if values[low] > values[high]:
            values[low], values[high] = values[high], values[low]
    return values
