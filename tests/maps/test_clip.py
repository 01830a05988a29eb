"""What lies inside an outline, pixel by pixel."""

import numpy as np
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from earthloom.maps.clip import Clip, clip_of
from earthloom.sample import Shape2d, Window

corner = st.tuples(st.floats(-5, 30), st.floats(-5, 30))
windows = st.builds(
    lambda row, col, rows, cols: Window(row, col, Shape2d(rows, cols)),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 12),
    st.integers(1, 12),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(corner, min_size=3, max_size=6), windows)
def test_pixels_whose_centre_is_inside_are_inside(corners, window):
    outline = shapely.MultiPoint(corners).convex_hull
    if outline.area < 0.1:
        outline = shapely.box(2, 2, 9, 7)
    clip = Clip(shapely.to_wkb(outline))
    outside = clip.outside(window)
    y, x = np.mgrid[: window.shape.rows, : window.shape.cols] + 0.5
    x, y = x + window.col, y + window.row
    # GDAL may see a centre within a hair of the outline on either side.
    sure = shapely.distance(outline.boundary, shapely.points(x, y)) > 1e-6
    np.testing.assert_array_equal(outside[sure], ~shapely.contains_xy(outline, x, y)[sure])
    assert clip.meets([window])[0] or outside.all()


def test_an_outline_on_the_earth_is_laid_over_the_grid():
    box = GeoBox((100, 120), rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")
    assert clip_of(None, box) is None
    whole = clip_of(box.geographic_extent.geom.buffer(1e-4), box)
    assert not whole.outside(Window(0, 0, Shape2d(100, 120))).any()
    inner = clip_of(box[20:60, 30:90].geographic_extent.geom, box)
    inside = ~inner.outside(Window(0, 0, Shape2d(100, 120)))
    rows, cols = np.nonzero(inside)
    assert abs(rows.min() - 20) <= 1
    assert abs(rows.max() - 59) <= 1
    assert abs(cols.min() - 30) <= 1
    assert abs(cols.max() - 89) <= 1
    far = Window(0, 0, Shape2d(10, 10))
    assert inner.meets([far, Window(30, 40, Shape2d(5, 5))]) == [False, True]
