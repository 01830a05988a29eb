"""Answers move with their pixels: drawn and cut is the same as cut and drawn."""

import numpy as np
import pytest
import shapely
from answers import (
    assert_same,
    boxes_within,
    image_of_boxes,
    image_of_polygons,
    rings,
    star,
    targets,
)
from hypothesis import given
from hypothesis import strategies as st

from earthloom.sample import Shape2d, Window
from earthloom.sample.fitted import Cut
from earthloom.sample.moving import area, clipped, move_target
from earthloom.sample.target import (
    Boxes,
    Counts,
    Instances,
    PixelValues,
    SceneClasses,
    SceneValue,
)

ROWS, COLS = 12, 16
WHOLE = Shape2d(ROWS, COLS)


@st.composite
def cuts(draw):
    shape = Shape2d(draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    return Cut(Window(draw(st.integers(-6, 14)), draw(st.integers(-6, 14)), shape), WHOLE)


@given(boxes_within(ROWS, COLS), cuts())
def test_an_image_of_boxes_cut_is_the_image_of_the_cut_boxes(found, cut):
    moved = move_target(found, cut, least_seen=0.0)
    wanted = cut.nearest(image_of_boxes(found, ROWS, COLS).astype(np.int32))
    np.testing.assert_array_equal(image_of_boxes(moved, *cut.shape), wanted)
    assert moved.are_upright.all()
    assert (moved.bounds >= 0).all() or not cut.cuts


@given(targets(ROWS, COLS))
def test_a_window_of_all_changes_nothing(target):
    assert_same(move_target(target, Cut(Window(0, 0, WHOLE), WHOLE)), target)


@given(targets(ROWS, COLS), st.integers(-5, 0), st.integers(-5, 0))
def test_padding_and_cutting_it_off_again_changes_nothing(target, row, col):
    larger = Shape2d(ROWS + 7, COLS + 9)
    padded = move_target(target, Cut(Window(row, col, larger), WHOLE))
    if isinstance(target, Counts):
        assert padded is target
        return
    if isinstance(target, Boxes | Instances):
        return  # they may reach over the edges, where the way back clips them
    assert_same(move_target(padded, Cut(Window(-row, -col, WHOLE), larger)), target)


@given(rings(st.integers(3, 3)), st.integers(1, 20), st.integers(1, 20))
def test_triangles_are_clipped_as_shapely_does(ring, rows, cols):
    part = clipped(ring.astype(np.float64), Shape2d(rows, cols))
    wanted = shapely.Polygon(ring).intersection(shapely.box(0, 0, cols, rows))
    assert area(part) == pytest.approx(wanted.area, abs=1e-9)
    if len(part):
        assert shapely.Polygon(part).symmetric_difference(wanted).area < 1e-9


@given(st.integers(0, 10_000))
def test_outlines_that_are_not_convex_are_clipped_as_shapely_does(seed):
    random = np.random.default_rng(seed)
    ring = star(random, random.random(2) * 16, 9).astype(np.float64)
    polygon = shapely.Polygon(ring)
    part = clipped(ring, WHOLE)
    assert area(ring) == pytest.approx(polygon.area)
    wanted = polygon.intersection(shapely.box(0, 0, COLS, ROWS)).area
    assert area(part) == pytest.approx(wanted, abs=1e-9)


@given(st.integers(0, 10_000), cuts())
def test_numbers_and_outlines_of_things_agree_after_a_cut(seed, cut):
    random = np.random.default_rng(seed)
    outlines = tuple((star(random, random.random(2) * [16, 12], 5),) for _ in range(4))
    things = Instances(np.array([3, 1, 2, 1], np.uint8), outlines)
    ids = image_of_polygons(things, ROWS, COLS)
    moved = move_target(Instances(things.codes, outlines, ids), cut, least_seen=0.0)
    # Beyond the chip's old edges an outline may go on, where no pixel was.
    known = cut.nearest(np.ones((ROWS, COLS), np.int32)) > 0
    drawn = np.where(known, image_of_polygons(moved, *cut.shape), 0)
    np.testing.assert_array_equal(moved.ids, drawn)
    numbers = np.unique(moved.ids[moved.ids > 0])
    assert set(numbers) <= set(range(1, len(moved.codes) + 1))


def test_what_is_left_decides_what_is_kept():
    found = Boxes.upright(
        np.array([[0, 0, 4, 4], [3, 0, 7, 4], [2, 0, 6, 4], [9, 9, 9, 9]], np.float32),
        np.array([1, 2, 3, 4], np.uint8),
    )
    half = Cut(Window(0, 0, Shape2d(4, 4)), WHOLE)
    assert move_target(found, half).codes.tolist() == [1, 2, 3]
    assert move_target(found, half, 0.26).codes.tolist() == [1, 3]
    assert move_target(found, half, 0.51).codes.tolist() == [1]
    kept = move_target(found, half, 0.5)
    np.testing.assert_array_equal(kept.bounds, [[0, 0, 4, 4], [2, 0, 4, 4]])


def test_turned_boxes_are_kept_whole():
    diamond = np.array([[[4, 0], [8, 4], [4, 8], [0, 4]]], np.float32)
    found = Boxes(diamond, np.ones(1, np.uint8))
    right = Cut(Window(0, 4, Shape2d(12, 8)), WHOLE)
    np.testing.assert_array_equal(move_target(found, right, 0.5).corners, diamond - [4, 0])
    assert len(move_target(found, right, 0.51).codes) == 0


def test_things_without_outlines_are_kept_by_their_pixels():
    ids = np.zeros((ROWS, COLS), np.int32)
    ids[:4, :4], ids[:4, 4:8], ids[8, 8] = 1, 2, 3
    things = Instances(np.array([7, 8, 9], np.uint8), ids=ids)
    moved = move_target(things, Cut(Window(0, 3, WHOLE), WHOLE), 0.3)
    assert moved.codes.tolist() == [8, 9]
    assert (moved.ids == 1).sum() == 16
    assert moved.ids[8, 5] == 2
    assert moved.ids[0, 0] == 0


def test_counts_of_a_part_are_not_known():
    counts = Counts(np.array([1], np.uint8), np.array([4], np.float32))
    assert move_target(counts, Cut(Window(0, 0, Shape2d(12, 15)), WHOLE)) is None
    assert move_target(counts, Cut(Window(0, 0, Shape2d(14, 16)), WHOLE)) is counts


def test_what_is_said_of_the_whole_stays():
    part = Cut(Window(2, 2, Shape2d(4, 4)), WHOLE)
    for target in (SceneClasses((1, 4)), SceneValue(2.5, "t/ha"), None):
        assert move_target(target, part) is target


def test_values_beyond_the_edge_are_not_known():
    values = np.arange(ROWS * COLS, dtype=np.float32).reshape(ROWS, COLS)
    moved = move_target(PixelValues(values, "m"), Cut(Window(-1, 2, WHOLE), WHOLE))
    assert moved.unit == "m"
    assert np.isnan(moved.values[0]).all()
    assert np.isnan(moved.values[:, -2:]).all()
    np.testing.assert_array_equal(moved.values[1:, :-2], values[:-1, 2:])
