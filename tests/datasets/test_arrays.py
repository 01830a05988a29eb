"""Stored numbers become layers: dates, bands, units and what was not seen."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.datasets import EntryLayer, load_entry
from earthloom.datasets.arrays import label_of, layer_of
from earthloom.errors import DataError, LabelError
from earthloom.sample import Shape2d


def layer(dates: int, bands: int, **more) -> EntryLayer:
    names = tuple(f"b{at}" for at in range(bands))
    return EntryLayer(
        "own", 10.0, names, "1", (-1.0, 1.0), 0.5, dates=tuple(map(str, range(dates))), **more
    )


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(0, 3), st.integers(0, 99)
)
def test_a_layer_pixel_by_pixel(dates, bands, first, missing, seed):
    draw = np.random.default_rng(seed)
    found = max(1, dates - missing)
    numbers = draw.integers(0, 3, (found, first + bands, 2, 3)).astype(float)
    numbers[draw.random(numbers.shape) < 0.1] = np.nan
    each = layer(dates, bands, first=first, nodata=0, scale=2.0, offset=1.0, ragged=True)
    made = layer_of(each, numbers, range(5, 5 + found), "x")
    for t in range(dates):
        assert made.days[t] == 5 + min(t, found - 1)
        for row in range(2):
            for col in range(3):
                if t >= found:
                    seen = False
                else:
                    values = numbers[t, first:, row, col]
                    seen = bool(np.isfinite(values).all() and (values != 0).any())
                assert made.valid[t, row, col] == seen
                pixel = made.pixels[t, :, row, col]
                np.testing.assert_allclose(pixel, values * 2 + 1 if seen else np.nan)


def test_dates_that_lie_in_the_bands():
    numbers = np.arange(6.0).reshape(6, 1, 1)
    made = layer_of(layer(3, 2, dates_in_bands=True), numbers, (1, 2, 3), "x")
    assert made.pixels[..., 0, 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert made.days.tolist() == [1, 2, 3]


def test_one_date_of_several():
    numbers = np.arange(4.0).reshape(2, 2, 1, 1)
    assert layer_of(layer(1, 1, only=1), numbers, (), "x").pixels.ravel().tolist() == [2]


@pytest.mark.parametrize("shape", [(3, 2, 2, 2), (1, 2, 2, 2), (2, 1, 2, 2), (2, 2)])
def test_what_is_of_another_shape(shape):
    with pytest.raises(DataError, match=r"x has .* numbers for layer own_10m, but 2 date\(s\)"):
        layer_of(layer(2, 2), np.ones(shape), (), "x")


def test_days_are_unknown_unless_all_are_told():
    assert layer_of(layer(2, 1), np.ones((2, 1, 1, 1)), (9,), "x").days.tolist() == [0, 0]


def test_a_label_of_another_shape_or_class():
    entry = replace(load_entry("pastis"), classes=("a", "b"), unlabelled=(9,))
    codes = label_of(entry, np.array([[0, 1], [9, 0]]), Shape2d(2, 2), "x")
    assert codes.tolist() == [[1, 2], [0, 1]]
    with pytest.raises(LabelError, match="x has a label of"):
        label_of(entry, np.zeros((3, 2), int), Shape2d(2, 2), "x")
    with pytest.raises(DataError, match="label 5 is of no class"):
        label_of(entry, np.array([[5]]), Shape2d(1, 1), "x")
