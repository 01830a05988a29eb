"""The leak report finds what is put in: distances, shared ground, the range of the label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from scipy.ndimage import gaussian_filter, uniform_filter

from earthloom.chips.footprints import Footprints, gap_m
from earthloom.chips.leaks import leak_report, words
from earthloom.chips.splits import (
    NONE,
    TEST,
    TRAIN,
    VAL,
    BlockSplit,
    ChipTable,
    RandomSplit,
    Shares,
    assign,
)
from earthloom.chips.variogram import label_variogram
from earthloom.errors import ContractError

STEP = 1000.0


def squares(x, y, size=STEP):
    to_degrees = Transformer.from_crs("EPSG:32633", 4326, always_xy=True)
    steps = ((0, 0), (size, 0), (size, size), (0, size))
    corners = [np.stack(to_degrees.transform(x + dx, y + dy), axis=-1) for dx, dy in steps]
    return np.stack(corners, axis=1)


def world(side, patch, seed=0):
    """A grid of touching chips whose label is alike over `patch` chips: (table, histograms)."""
    rng = np.random.default_rng(seed)
    col, row = np.meshgrid(np.arange(side), np.arange(side))
    corners = squares(400_000 + STEP * col.ravel(), 5_500_000 + STEP * row.ravel())
    noise = rng.normal(size=(side, side))
    field = uniform_filter(noise, patch, mode="wrap") if patch > 1 else noise
    part = np.clip(50 + 30 * field.ravel() / field.std(), 0, 100).astype(np.int64)
    histograms = np.stack([part, 100 - part], axis=1)
    return table(corners, histograms=histograms)


def table(corners, **more):
    return ChipTable(np.array([f"c{n}" for n in range(len(corners))]), corners, **more)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.sampled_from([2_000.0, 30_000.0, 400_000.0]), st.integers(0, 2**31))
def test_nearest_distances_are_those_of_all_pairs(count, spread, seed):
    rng = np.random.default_rng(seed)
    corners = squares(rng.uniform(3e5, 3e5 + spread, count), rng.uniform(0, spread, count), 700.0)
    days = np.repeat(rng.integers(0, 4, (count, 1)), 2, axis=1).astype(np.int32)
    splits = rng.choice([TRAIN, TEST, NONE], count)
    report = leak_report(table(corners, days=days), splits)
    vertices = Footprints(corners).vertices
    train, test = np.flatnonzero(splits == TRAIN), np.flatnonzero(splits == TEST)
    if not len(train) or not len(test):
        assert report.nearest_m is None
        return
    a, b = np.meshgrid(test, train, indexing="ij")
    gaps = gap_m(vertices[a.ravel()], vertices[b.ravel()]).reshape(a.shape)
    np.testing.assert_allclose(report.nearest_m, np.maximum(gaps.min(axis=1), 0), atol=1e-6)
    over, same = gaps < -0.5, days[a, 0] == days[b, 0]
    assert report.shared_ground == (over & same).any(axis=1).sum()
    assert report.shared_place == (over.any(axis=1) & ~(over & same).any(axis=1)).sum()


@pytest.mark.parametrize("patch", [5, 11, 21])
def test_the_range_is_that_of_the_field(patch):
    """A mean over squares of a side is alike up to that side, and a bit more along diagonals."""
    found = []
    for seed in range(3):
        chips = world(120, patch, seed)
        variogram = label_variogram(
            Footprints(chips.corners), chips.histograms, np.random.default_rng(seed)
        )
        assert variogram.reached
        found.append(variogram.range_m / STEP)
    assert 0.75 * patch <= np.median(found) <= 1.4 * patch


def test_labels_without_structure_have_no_range():
    chips = world(80, 1)
    variogram = label_variogram(
        Footprints(chips.corners), chips.histograms, np.random.default_rng(0)
    )
    assert variogram.range_m is None or variogram.range_m <= 1.5 * STEP


def test_a_trend_over_all_has_a_range_that_is_not_reached():
    chips = world(60, 1)
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(60, 60)), 3)
    trend = np.arange(3600) // 60 + smooth.ravel()
    part = np.clip(trend / 60 * 100, 0, 100).astype(np.int64)
    variogram = label_variogram(
        Footprints(chips.corners),
        np.stack([part, 100 - part], axis=1),
        np.random.default_rng(0),
    )
    assert not variogram.reached


def test_a_random_split_is_called_dishonest_and_one_by_blocks_is_not():
    chips = world(100, 9)
    leaky = leak_report(chips, assign(chips, RandomSplit(), 0), ["water", "land"])
    said = " ".join(words(leaky))
    assert "the label is alike up to" in said
    assert "test chips lie 0 m from training chips" in said
    assert "the score will be too good" in said
    assert leaky.nearer_than_range == 1.0
    rule = BlockSplit(30_000, 15_000, Shares(0.0, 0.2))
    honest = leak_report(chips, assign(chips, rule, 1), ["water", "land"])
    assert honest.nearest_m.min() >= 15_000
    assert honest.nearer_than_range == 0
    assert not [word for word in words(honest) if "too good" in word]


def test_the_same_place_at_another_date_is_told_from_the_same_pixels():
    corners = squares(np.array([5e5, 5e5, 5e5, 6e5, 7e5]), np.full(5, 1e6))
    days = np.array([[0, 5], [10, 15], [3, 12], [0, 5], [0, 5]], np.int32)
    splits = np.array([TRAIN, TEST, NONE, TEST, TRAIN])
    report = leak_report(table(corners, days=days), splits)
    assert (report.shared_ground, report.shared_place) == (0, 1)
    assert "1 of 2 test chips show the same place as training chips" in words(report)[0]
    splits[2] = TEST
    report = leak_report(table(corners, days=days), splits)
    assert (report.shared_ground, report.shared_place) == (1, 1)
    assert "1 of 3 test chips share ground with training chips of the same days" in words(report)[0]
    np.testing.assert_allclose(report.nearest_m[[0, 1]], 0)


def test_classes_are_compared():
    ids = np.array(list("abcdef"))
    histograms = np.array(
        [[90, 10, 0, 0], [50, 0, 0, 5], [0, 9, 0, 0], [0, 0, 9, 0], [1, 9, 0, 0], [0, 0, 0, 0]]
    )
    splits = np.array([TRAIN, TRAIN, TEST, TEST, VAL, TEST])
    chips = ChipTable(ids, histograms=histograms)
    report = leak_report(chips, splits, ["water", "forest", "crop", "town"])
    assert report.counts == {TRAIN: 2, VAL: 1, TEST: 3, NONE: 0}
    np.testing.assert_allclose(report.balance[TEST], [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(report.balance[TRAIN], np.array([140, 10, 0, 5]) / 155)
    said = words(report)
    assert "not all chips have a place, so how near test and training lie cannot be told" in said
    assert "the class crop is tested, but not trained on: it cannot be found" in said
    assert any(word.startswith("the class water is trained on, but not tested") for word in said)
    assert any(word.startswith("94% of the test's labels") for word in said)


def test_what_is_lacking_or_parted_is_said():
    ids = np.array(list("abcd"))
    groups = np.array(["x", "x", "y", ""])
    report = leak_report(ChipTable(ids, groups=groups), np.array([TRAIN, TEST, NONE, NONE]))
    said = " ".join(words(report))
    assert "1 groups have chips in both training and test" in said
    assert "2 of 4 chips are in no split" in said
    empty = leak_report(ChipTable(ids), np.array([TRAIN] * 4))
    assert words(empty) == ["no chip is in the split 'test'"]
    with pytest.raises(ContractError, match="one of them 'exam'; valid: train, val, test, none"):
        leak_report(ChipTable(ids), np.array(["exam", TRAIN, TRAIN, TEST]))


def test_few_or_no_labels_tell_no_range():
    chips = world(4, 1)
    for histograms in (chips.histograms * 0, chips.histograms[:1].repeat(16, axis=0)):
        variogram = label_variogram(Footprints(chips.corners), histograms, np.random.default_rng(0))
        assert variogram.range_m is None
