"""Packing and compression give back what they were given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earthloom.errors import ContractError, DataError
from earthloom.sample.packing import DTYPES, Packing, compress, decompress

shapes = hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=9)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_compression_loses_nothing(data):
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES))).newbyteorder("<")
    array = data.draw(hnp.arrays(dtype, shapes))
    block = np.frombuffer(compress(array), np.uint8)
    found = decompress(block, array.shape, dtype)
    assert found.dtype == dtype
    assert found.tobytes() == array.tobytes()


def test_smooth_pixels_become_small():
    rows, cols = np.mgrid[:64, :64]
    image = (1000 + 5 * rows + 3 * cols).astype("<u2")
    assert len(compress(image)) < image.nbytes / 20


@pytest.mark.parametrize("rare", [0, 3, 70, 300])
def test_wide_gaps_between_rare_steps(rare):
    """Between 3 and 300 jumps among 300,000 pixels: gaps beyond what 2 bytes hold."""
    random = np.random.default_rng(rare)
    image = np.full(300_000, 7, "<u2")
    image[random.choice(image.size, rare, replace=False)] = 60_000
    for shape in ((300, 1000), (1, 300_000)):
        block = np.frombuffer(compress(image.reshape(shape)), np.uint8)
        assert block.size < 20_000
        np.testing.assert_array_equal(decompress(block, shape, image.dtype), image.reshape(shape))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.integers(1, 8))
def test_damaged_blocks_are_errors_or_arrays_of_the_shape(block, cols):
    """Noise may happen to be a valid block; anything else is a DataError."""
    try:
        found = decompress(np.frombuffer(block, np.uint8), (2, cols), np.dtype("<u2"))
    except DataError:
        return
    assert found.shape == (2, cols)


@pytest.mark.parametrize("cut", [0, 4, 8, 40, -1])
def test_cut_blocks_are_errors(cut):
    image = np.arange(4096, dtype="<u2").reshape(64, 64) * 7
    block = np.frombuffer(compress(image)[:cut], np.uint8)
    with pytest.raises(DataError):
        decompress(block, image.shape, image.dtype)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(["uint8", "uint16", "int16"]),
    st.sampled_from([0.0001, 0.0000275, 0.01, 1.0]),
    st.sampled_from([0.0, -0.1, -0.2, 149.0]),
    st.data(),
)
def test_every_step_of_a_packing_comes_back(dtype, scale, offset, data):
    packing = Packing(dtype, scale, offset)
    stored = data.draw(hnp.arrays(np.dtype(dtype), (1, 2, 3, 4)))
    pixels = np.empty(stored.shape, np.float32)
    packing.decode(stored, pixels)
    # Steps finer than float32 can tell apart are no fault of the packing.
    fine = np.spacing(np.float32(np.abs(pixels).max() + abs(offset))) < 0.002 * scale
    if not fine:
        return
    np.testing.assert_array_equal(packing.encode(pixels, np.ones((1, 3, 4), bool)), stored)


def test_what_cannot_be_packed():
    seen = np.ones((1, 1, 2), bool)
    pixels = np.array([0.0, 7.0], np.float32).reshape(1, 1, 1, 2)
    with pytest.raises(DataError, match="need the stored numbers 0 to 70000; uint16 holds"):
        Packing("uint16", 0.0001).encode(pixels, seen)
    with pytest.raises(DataError, match="overflows float16"):
        Packing("float16").encode(pixels * 1e5, seen)
    with pytest.raises(DataError, match="not finite"):
        Packing("int16").encode(pixels * np.nan, seen)
    with pytest.raises(ContractError, match="stored as float64; valid are: float32"):
        Packing("float64")
    with pytest.raises(ContractError, match="above 0"):
        Packing("int16", 0.0)
