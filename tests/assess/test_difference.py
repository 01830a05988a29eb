"""The mean of a map of numbers from a sample: intervals must hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.assess.difference import (
    coverage_of,
    difference_estimate,
    total_unit,
)
from earthloom.errors import LabelError


def _world(seed, pixels=5000, bias=3.0):
    random = np.random.default_rng(seed)
    truth = random.gamma(2, 30, pixels)
    return random, truth, 0.7 * truth + bias + random.normal(0, 10, pixels)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    """95 % of 1000 samples; the map is biased on purpose."""
    random, truth, mapped = _world(0)
    held = 0
    for _ in range(1000):
        drawn = random.choice(len(truth), 100, replace=False)
        found = difference_estimate(mapped[drawn], truth[drawn], mapped.mean(), len(truth)).mean
        held += found.low <= truth.mean() <= found.high
    assert 0.93 <= held / 1000 <= 0.97


def test_a_good_map_makes_the_estimate_more_precise():
    random, truth, mapped = _world(1)
    drawn = random.choice(len(truth), 200, replace=False)
    found = difference_estimate(mapped[drawn], truth[drawn], mapped.mean(), len(truth))
    assert found.mean.high - found.mean.low < found.reference_only.high - found.reference_only.low


@given(st.integers(0, 1000), st.floats(-100, 100))
def test_a_shift_of_the_map_changes_bias_alone(seed, shift):
    random, truth, mapped = _world(seed, pixels=200)
    drawn = random.choice(len(truth), 30, replace=False)
    plain = difference_estimate(mapped[drawn], truth[drawn], mapped.mean(), len(truth))
    moved = difference_estimate(
        mapped[drawn] + shift, truth[drawn], mapped.mean() + shift, len(truth)
    )
    assert moved.mean.value == pytest.approx(plain.mean.value, abs=1e-9)
    assert moved.bias.value == pytest.approx(plain.bias.value + shift, abs=1e-9)


def test_a_census_has_no_interval():
    _, truth, mapped = _world(2, pixels=300)
    found = difference_estimate(mapped, truth, mapped.mean(), 300)
    assert found.mean.low == pytest.approx(truth.mean())
    assert found.mean.high == pytest.approx(truth.mean())


def test_one_point_is_too_few():
    with pytest.raises(LabelError, match="takes two sample points, not 1"):
        difference_estimate(np.ones(1), np.ones(1), 1.0, 10)


def test_coverage_counts_what_is_inside():
    low, high = np.zeros(10), np.full(10, 5.0)
    found = coverage_of(low, high, np.arange(10.0))
    assert found.value == 0.6
    assert found.low < 0.6 < found.high


@pytest.mark.parametrize(
    ("unit", "total"),
    [("t/ha", "t"), ("Mg ha-1", "Mg"), ("m", None), ("/ha", None), ("t/km2", None)],
)
def test_units_of_totals(unit, total):
    assert total_unit(unit) == total
