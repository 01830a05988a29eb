"""Estimates against the worked example of Olofsson et al. (2014), section 5."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.assess.estimate import estimate

COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
"""Deforestation, forest gain, stable forest, stable non-forest."""
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = 0.09
"""A pixel of 30 m."""


@pytest.fixture(scope="module")
def found():
    return estimate(COUNTS, PIXELS, HECTARES)


def _half(interval):
    return (interval.high - interval.low) / 2


def test_overall_accuracy(found):
    assert found.overall.value == pytest.approx(0.947, abs=5e-4)
    # They say 0.018; ours adds one observation to each stratum for the variance alone.
    assert _half(found.overall) == pytest.approx(0.018, rel=0.1)


def test_users_accuracies(found):
    values = [each.value for each in found.users]
    assert values == pytest.approx([0.88, 0.73, 0.93, 0.96], abs=5e-3)


def test_producers_accuracies(found):
    values = [each.value for each in found.producers]
    assert values == pytest.approx([0.75, 0.85, 0.93, 0.96], abs=8e-3)


def test_area_of_deforestation(found):
    assert found.area_ha[0].value == pytest.approx(21_158, rel=1e-3)
    assert _half(found.area_ha[0]) == pytest.approx(6_158, rel=0.1)


def test_areas_of_all_classes(found):
    """Their table gives 11,686, 285,770 and 581,386 ha, from rounded proportions."""
    values = [each.value for each in found.area_ha]
    assert values == pytest.approx([21_158, 11_686, 285_770, 581_386], rel=2e-3)
    assert sum(values) == pytest.approx(PIXELS.sum() * HECTARES)
    assert sum(found.mapped_ha) == pytest.approx(sum(values))
    assert found.mapped_ha[0] == pytest.approx(18_000)


tables = st.integers(2, 5).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(0, 60), min_size=n, max_size=n), min_size=n, max_size=n
    ).map(np.array)
)


@settings(deadline=None, max_examples=60)
@given(tables, st.integers(0, 100))
def test_laws(counts, seed):
    pixels = np.random.default_rng(seed).integers(1, 100_000, len(counts)) + counts.sum(axis=1)
    found = estimate(counts, pixels, HECTARES)
    assert found.shares.sum() == pytest.approx(1)
    total = pixels.sum() * HECTARES
    assert sum(each.value for each in found.area_ha) == pytest.approx(total)
    assert 0 <= found.overall.low <= found.overall.value <= found.overall.high <= 1
    for each in found.area_ha:
        assert -1e-6 <= each.low <= each.value * (1 + 1e-9) + 1e-6
        assert each.value <= each.high * (1 + 1e-9) + 1e-6 <= total * (1 + 1e-9) + 1e-5


@settings(deadline=None, max_examples=30)
@given(tables, st.integers(0, 100))
def test_order_of_classes_plays_no_part(counts, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 100_000, len(counts)) + counts.sum(axis=1)
    order = rng.permutation(len(counts))
    found = estimate(counts, pixels, HECTARES)
    turned = estimate(counts[np.ix_(order, order)], pixels[order], HECTARES)
    assert turned.overall.value == pytest.approx(found.overall.value)
    assert [each.high for each in turned.area_ha] == pytest.approx(
        [found.area_ha[k].high for k in order]
    )


def test_more_points_make_narrower_intervals():
    few, many = estimate(COUNTS, PIXELS, HECTARES), estimate(COUNTS * 4, PIXELS, HECTARES)
    assert many.overall.value == pytest.approx(few.overall.value)
    assert _half(many.overall) < 0.6 * _half(few.overall)
    for wide, narrow in zip(few.area_ha, many.area_ha):
        assert _half(narrow) < 0.6 * _half(wide)


def test_a_stratum_whose_points_agree_is_still_not_certain():
    counts = np.array([[20, 0], [0, 20]])
    found = estimate(counts, np.array([500, 500]), HECTARES)
    assert found.overall.value == 1
    assert found.overall.low < 1
