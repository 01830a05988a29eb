"""Masks against brute force, and the laws that any mask must keep."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earthloom.cube.mask import (
    MaskRule,
    dilated,
    inner,
    margin_pixels,
    out_of_range,
    reach_of,
    rule_of,
    unseen,
)
from earthloom.errors import ProjectError
from earthloom.sensors import Band, Quality, State, load_sensor

QUALITY = Quality(
    "QA",
    20,
    (
        State("fill", (0,)),
        State("cloud", (1,), bit=1, length=2),
        State("shadow", (1,), bit=3),
        State("snow", (1,), bit=4),
        State("water", (7,)),
    ),
)
MEANINGS = ("fill", "cloud", "shadow", "snow", "water")

shapes = st.tuples(st.integers(1, 14), st.integers(1, 14))
masks = shapes.flatmap(lambda shape: arrays(np.bool_, shape))
metres = st.sampled_from([0.0, 10.0, 14.2, 20.0, 28.3, 60.0, 95.0])
pixel_sizes = st.sampled_from([10.0, 20.0, 30.0, 0.7])
hidden_sets = st.frozensets(st.sampled_from(MEANINGS))


@st.composite
def rules(draw):
    hide = draw(hidden_sets)
    return MaskRule(hide, {meaning: draw(metres) for meaning in sorted(hide)})


def windows(dtype=np.uint8):
    return shapes.flatmap(
        lambda shape: st.tuples(
            arrays(dtype, shape, elements=st.integers(0, 31)), arrays(np.bool_, shape)
        )
    )


def _slowly(mask, distance, pixel_m):
    """Every pixel against every True pixel."""
    out = np.zeros_like(mask)
    found = np.argwhere(mask)
    for place in np.ndindex(mask.shape):
        away = ((found - place) ** 2).sum(axis=1)
        out[place] = (np.sqrt(away) * pixel_m <= distance * (1 + 1e-9)).any()
    return out


@settings(deadline=None, max_examples=150)
@given(masks, metres, pixel_sizes)
def test_dilation_is_a_disc(mask, distance, pixel_m):
    np.testing.assert_array_equal(
        dilated(mask, distance, pixel_m), _slowly(mask, distance, pixel_m)
    )


def test_far_dilation_is_the_same_disc():
    """Above a radius another way is taken."""
    mask = np.zeros((40, 420), np.bool_)
    mask[3, 5] = mask[30, 400] = True
    for distance in (1490.0, 1520.0):
        np.testing.assert_array_equal(dilated(mask, distance, 10), _slowly(mask, distance, 10))


def test_dilation_leaves_its_input_alone():
    mask = np.eye(5, dtype=np.bool_)
    before = mask.copy()
    for distance in (0.0, 30.0):
        dilated(mask, distance, 10)[:] = True
        np.testing.assert_array_equal(mask, before)


@settings(deadline=None, max_examples=100)
@given(windows(), rules(), pixel_sizes)
def test_is_what_each_meaning_hides(window, rule, pixel_m):
    stored, there = window
    wanted = ~there
    for meaning in rule.hide:
        said = QUALITY.where(stored, [meaning]) & there
        if meaning == "fill" and rule.dilate_m["fill"] > 0:
            said |= ~there
        wanted |= _slowly(said, rule.dilate_m[meaning], pixel_m)
    np.testing.assert_array_equal(unseen(stored, there, QUALITY, rule, pixel_m), wanted)


@settings(deadline=None, max_examples=100)
@given(windows(), rules(), hidden_sets, pixel_sizes)
def test_to_hide_more_uncovers_nothing(window, rule, more, pixel_m):
    stored, there = window
    larger = MaskRule(rule.hide | more, rule.dilate_m)
    before = unseen(stored, there, QUALITY, rule, pixel_m)
    after = unseen(stored, there, QUALITY, larger, pixel_m)
    assert not (before & ~after).any()


@settings(deadline=None, max_examples=100)
@given(windows(), rules(), metres, pixel_sizes)
def test_to_dilate_further_uncovers_nothing(window, rule, further, pixel_m):
    stored, there = window
    larger = MaskRule(rule.hide, {m: metres + further for m, metres in rule.dilate_m.items()})
    before = unseen(stored, there, QUALITY, rule, pixel_m)
    after = unseen(stored, there, QUALITY, larger, pixel_m)
    assert not (before & ~after).any()


@settings(deadline=None, max_examples=100)
@given(windows(), rules(), pixel_sizes, st.integers(1, 6), st.integers(1, 6))
def test_tiles_with_a_margin_are_the_whole(window, rule, pixel_m, high, wide):
    stored, there = window
    margin = margin_pixels(rule, pixel_m)
    assume(margin < 100)
    # Beside the band nothing is known, as a reader says of what lies outside of a file.
    padded = np.pad(stored, margin), np.pad(there, margin)
    whole = inner(unseen(*padded, QUALITY, rule, pixel_m), margin)
    tiled = np.empty_like(whole)
    for row in range(0, stored.shape[0], high):
        for col in range(0, stored.shape[1], wide):
            part = tuple(
                each[row : row + high + 2 * margin, col : col + wide + 2 * margin]
                for each in padded
            )
            tile = inner(unseen(*part, QUALITY, rule, pixel_m), margin)
            tiled[row : row + high, col : col + wide] = tile
    np.testing.assert_array_equal(tiled, whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.uint32])
def test_dtype_plays_no_part(dtype):
    stored = np.random.default_rng(0).integers(0, 32, (30, 30))
    there = np.ones(stored.shape, np.bool_)
    rule = MaskRule(frozenset({"cloud", "shadow"}), {"cloud": 45.0})
    np.testing.assert_array_equal(
        unseen(stored.astype(dtype), there, QUALITY, rule, 20),
        unseen(stored, there, QUALITY, rule, 20),
    )


def test_the_tables_own_rule_hides_what_the_table_says():
    quality = load_sensor("sentinel-2-l2a").quality
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    hidden = unseen(stored, np.ones((3, 4), np.bool_), quality, rule_of(quality), 20)
    np.testing.assert_array_equal(hidden, quality.where(stored, quality.hides))


def test_three_pixels_of_20_m_are_60_m():
    assert reach_of(60, 20) == 3
    assert reach_of(0.3, 0.1) == 3
    assert reach_of(59.9, 20) == 2
    rule = MaskRule(frozenset({"cloud", "shadow"}), {"cloud": 60, "shadow": 200})
    assert margin_pixels(rule, 20) == 10
    assert margin_pixels(MaskRule(), 20) == 0


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"dilate_m": {"cloud": -1}}, "0 metres or more, not cloud -1"),
        ({"dilate_m": {"cloud": float("inf")}}, "not cloud inf"),
        ({"hide": frozenset({"cloud"}), "dilate_m": {"snow": 20}}, "snow, which the rule does not"),
        ({"least_probability": 0.0}, "least_probability 0 is not above 0"),
    ],
)
def test_rules_that_cannot_be_meant(rule, words):
    with pytest.raises(ProjectError, match=words):
        MaskRule(**rule)


def test_values_out_of_range_are_counted_and_left():
    band = Band("B02", "reflectance", "1", 10, valid_range=(0.0, 1.0))
    pixels = np.array([[-0.01, 0.0, 0.5], [1.0, 1.2, np.nan]], np.float32)
    before = pixels.copy()
    assert out_of_range(pixels, band) == 2
    np.testing.assert_array_equal(pixels, before)
    assert out_of_range(pixels, Band("B02", "reflectance", "1", 10)) == 0
