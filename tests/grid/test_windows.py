"""Windows round points."""

import geopandas as gpd
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from earthloom.errors import DataError
from earthloom.grid import window_around, window_box, windows_of_points
from earthloom.sample import Shape2d

BOX = GeoBox((50, 80), Affine(10, 0, 600_000, 0, -10, 5_400_000), "EPSG:32632")

places = st.tuples(st.floats(-10, 90), st.floats(-10, 60))


def _at(col, row):
    return BOX.affine * (col, row)


@given(places, st.integers(1, 20), st.sampled_from([1, 2, 3, 6]))
def test_a_window_lies_on_common_pixels_with_the_point_about_its_middle(place, groups, multiple):
    size = groups * multiple
    window = window_around(BOX, *_at(*place), size, multiple)
    assert window.shape == Shape2d(size, size)
    assert window.row % multiple == window.col % multiple == 0
    for start, at in ((window.col, place[0]), (window.row, place[1])):
        assert abs(start + size / 2 - at) <= multiple / 2 + 1e-6
    grown = shapely.box(*window_box(BOX, window).boundingbox.bbox).buffer(1e-3)
    assert grown.contains(shapely.Point(_at(*place)))


@pytest.mark.parametrize(
    ("place", "size", "start"),
    [((20.5, 10.5), 1, (10, 20)), ((20.9, 10.1), 3, (9, 19)), ((20.2, 10.9), 4, (9, 18))],
)
def test_the_point_lies_in_the_middle_pixel(place, size, start):
    window = window_around(BOX, *_at(*place), size)
    assert (window.row, window.col) == start


def test_points_off_the_grid_are_counted():
    spots = [_at(5, 5), _at(-1, 5), _at(79.9, 49.9), _at(80.1, 5)]
    points = gpd.GeoDataFrame(geometry=[shapely.Point(spot) for spot in spots], crs=32632)
    found = windows_of_points(BOX, points.to_crs(4326), 8, 2)
    assert found.rows == (0, 2)
    assert found.outside == 2
    assert found.windows == tuple(window_around(BOX, *spots[row], 8, 2) for row in found.rows)


def test_a_missing_point_lies_nowhere():
    points = gpd.GeoDataFrame(geometry=[None, shapely.Point(_at(5, 5))], crs=32632)
    found = windows_of_points(BOX, points, 3)
    assert (found.rows, found.outside) == ((1,), 1)


def test_windows_that_cannot_be_made():
    with pytest.raises(DataError, match=r"a window of 7 pixels .* must be a multiple of 2"):
        window_around(BOX, *_at(5, 5), 7, 2)
    with pytest.raises(DataError, match="have no CRS"):
        windows_of_points(BOX, gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)]), 4)
    with pytest.raises(DataError, match="the table has Polygon too"):
        windows_of_points(BOX, gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=4326), 4)
