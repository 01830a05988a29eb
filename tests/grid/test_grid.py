"""Grids and the windows that cover them."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import DataError
from earthloom.grid import (
    base_grid,
    coarser,
    cover,
    place_of,
    project_outline,
    read_outline,
    window_box,
)
from earthloom.sample import Shape2d, Window

OUTLINE = shapely.box(11.19, 48.89, 11.21, 48.91)

shapes = st.builds(Shape2d, st.integers(1, 60), st.integers(1, 60))


@settings(deadline=None, max_examples=100)
@given(shapes, st.integers(1, 25), st.integers(1, 25))
def test_windows_cover_every_pixel(shape, size, stride):
    stride = min(stride, size)
    seen = np.zeros(shape, int)
    for window in cover(shape, size, stride):
        assert window.shape == Shape2d(size, size)
        assert 0 <= window.row < shape.rows
        assert 0 <= window.col < shape.cols
        seen[window.row : window.row + size, window.col : window.col + size] += 1
    assert seen.min() >= 1
    if stride == size:
        assert seen.max() == 1


@settings(deadline=None, max_examples=40)
@given(
    st.floats(-179, 178),
    st.floats(-79, 83),
    st.floats(0.001, 0.05),
    st.sampled_from([1, 2, 3, 6]),
    st.sampled_from([5.0, 10.0, 30.0]),
)
def test_base_grid_holds_the_area_on_whole_coarse_pixels(west, south, size, multiple, resolution):
    outline = shapely.box(west, south, west + size, south + size)
    box = base_grid(outline, "auto", resolution, multiple)
    assert box.crs.epsg in range(32601, 32761)
    assert abs(box.affine.a) == resolution
    assert all(side % multiple == 0 for side in box.shape)
    left, bottom, right, top = box.boundingbox.bbox
    equator = 10_000_000 if box.crs.epsg > 32700 else 0
    for edge in (left, right, bottom - equator, top - equator):
        assert edge / (resolution * multiple) == pytest.approx(
            round(edge / (resolution * multiple)), abs=1e-6
        )
    assert shapely.box(*box.boundingbox.bbox).buffer(0.01).contains(project_outline(outline, box))


def test_base_grid_does_not_hang_on_how_it_is_cut():
    """Two areas beside each other lie on one grid."""
    left = base_grid(shapely.box(11.19, 48.89, 11.20, 48.91), "auto", 10, 2)
    right = base_grid(shapely.box(11.20, 48.89, 11.21, 48.91), "auto", 10, 2)
    for a, b in zip(left.boundingbox.bbox, right.boundingbox.bbox):
        assert (a - b) % 20 == 0


def test_crs_of_ones_own():
    assert base_grid(OUTLINE, "EPSG:3035", 10, 2).crs.epsg == 3035
    with pytest.raises(DataError, match="unknown CRS 'EPSG:999999'; valid: auto, native"):
        base_grid(OUTLINE, "EPSG:999999", 10, 1)


@pytest.mark.parametrize("factor", [1, 2, 3, 6])
def test_coarser_grid_covers_the_finer_from_the_same_corner(factor):
    box = base_grid(OUTLINE, "auto", 10, 1)
    wide = coarser(box, factor)
    assert wide.affine * (0, 0) == box.affine * (0, 0)
    assert wide.affine.a == box.affine.a * factor
    assert 0 <= wide.shape.x * factor - box.shape.x < factor
    assert 0 <= wide.shape.y * factor - box.shape.y < factor


def test_window_of_a_grid_is_the_window_of_its_place():
    box = base_grid(OUTLINE, "auto", 10, 2)
    window = Window(-4, 6, Shape2d(8, 10))
    assert place_of(window_box(box, window)) == place_of(box).window(window)
    assert place_of(box).crs == "EPSG:32632"


@pytest.mark.parametrize(
    "bounds",
    [(12, 48, 11, 49), (11, 49, 12, 48), (11, 48, 381, 49), (-361, 0, 0, 1), (0, 0, 1, 91)],
)
def test_bounds_that_are_none(bounds):
    with pytest.raises(DataError, match="is not west, south, east, north in degrees"):
        read_outline(bounds)


def test_outline_of_bounds():
    assert read_outline(OUTLINE.bounds).equals(OUTLINE)


def test_outline_of_a_file_in_another_crs(tmp_path):
    parts = [shapely.box(11.19, 48.89, 11.20, 48.91), shapely.box(11.20, 48.89, 11.21, 48.91)]
    gpd.GeoDataFrame(geometry=parts, crs=4326).to_crs(32632).to_file(tmp_path / "area.gpkg")
    found = read_outline(tmp_path / "area.gpkg")
    assert found.symmetric_difference(OUTLINE).area < 1e-6 * OUTLINE.area


def test_outline_that_crosses_itself_is_mended(tmp_path):
    bow = shapely.Polygon([(11, 48), (11.1, 48.1), (11.1, 48), (11, 48.1)])
    assert not bow.is_valid
    gpd.GeoDataFrame(geometry=[bow], crs=4326).to_file(tmp_path / "area.gpkg")
    assert read_outline(tmp_path / "area.gpkg").is_valid


def test_outline_without_crs_or_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_outline(tmp_path / "area.shp")
    with pytest.warns(UserWarning, match="crs"):
        gpd.GeoDataFrame(geometry=[OUTLINE]).to_file(tmp_path / "area.shp")
    with pytest.raises(DataError, match="has no CRS"):
        read_outline(tmp_path / "area.shp")


def test_outline_without_surface(tmp_path):
    (tmp_path / "area.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": []})
    )
    with pytest.raises(DataError, match="0 features without any surface"):
        read_outline(tmp_path / "area.geojson")
