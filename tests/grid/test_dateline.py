"""Outlines over the date line and the poles."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.warp import Resampling, reproject

from earthloom.errors import DataError
from earthloom.grid import (
    base_grid,
    bounds_of,
    crs_wkt,
    mask_of,
    meets,
    middle_of,
    on_earth,
    outline_of,
    outline_of_bounds,
    project_outline,
    read_outline,
    unrolled,
)

FIJI = (176.8, -18.4, -178.2, -16.0)

lons = st.integers(-180, 179).map(float)
lats = st.integers(-80, 75).map(float)


@st.composite
def boxes(draw):
    """Bounds up to 40 degrees wide anywhere, west > east where they cross the date line."""
    west, south = draw(lons), draw(lats)
    east = west + draw(st.integers(1, 40))
    return west, south, east - 360 if east > 180 else east, south + draw(st.integers(1, 5))


@settings(deadline=None, max_examples=100)
@given(boxes())
def test_bounds_there_and_back(bounds):
    outline = outline_of_bounds(bounds)
    west, south, east, north = bounds
    assert bounds_of(outline) == bounds
    width = east - west + (360 if east < west else 0)
    assert outline.area == pytest.approx(width * (north - south))
    assert outline.bounds[0] >= -180
    assert outline.bounds[2] <= 180


@settings(deadline=None, max_examples=100)
@given(boxes(), boxes(), st.integers(-180, 180))
def test_bounds_meet_wherever_the_earth_is_cut(one, other, turn):
    """Turning the whole Earth brings no two scenes together and takes none apart."""

    def turned(bounds):
        west, south, east, north = bounds
        west, east = ((lon + turn + 180) % 360 - 180 for lon in (west, east))
        return west, south, east + 360 if east == -180 else east, north

    def shared(a, b):
        return outline_of_bounds(a).intersection(outline_of_bounds(b)).area

    assert shared(turned(one), turned(other)) == pytest.approx(shared(one, other), abs=1e-6)
    if shared(one, other) > 1e-6:
        assert meets(one, outline_of_bounds(other))
        assert meets(turned(one), outline_of_bounds(turned(other)))


@pytest.mark.parametrize(
    ("bounds", "met"),
    [
        ((177, -19, 178, -17), True),
        ((-179.5, -19, -178.5, -17), True),
        ((179.5, -19, -179.5, -17), True),
        ((179.5, -19, 180.5, -17), True),
        ((-177, -19, -176, -17), False),
        ((0, -19, 1, -17), False),
        ((-180, 60, 180, 90), False),
    ],
)
def test_scenes_on_both_sides_of_the_date_line_are_met(bounds, met):
    assert meets(bounds, read_outline(FIJI)) is met


@settings(deadline=None, max_examples=60)
@given(boxes(), st.sampled_from([-360, 0, 360]))
def test_whole_turns_change_nothing(bounds, degrees):
    west, south, east, north = bounds
    whole = shapely.box(west, south, east + 360 if east < west else east, north)
    moved = shapely.affinity.translate(whole, degrees)
    assert on_earth(moved).symmetric_difference(outline_of_bounds(bounds)).area < 1e-9


@pytest.mark.parametrize("bounds", [FIJI, (176.8, -18.4, 181.8, -16.0)])
def test_the_grid_of_an_area_over_the_date_line_is_as_wide_as_the_area(bounds):
    outline = read_outline(bounds)
    box = base_grid(outline, "auto", 1000, 2)
    assert box.crs.epsg == 32760
    assert 520 < box.shape.x < 560
    inside = shapely.box(*box.boundingbox.bbox).buffer(1)
    assert inside.contains(project_outline(outline, box))
    assert bounds_of(outline_of(box))[0] > 176
    assert bounds_of(outline_of(box))[2] < -178
    assert outline_of(box).intersection(outline).area > 0.9999 * outline.area


def test_an_area_over_the_date_line_has_its_middle_there():
    assert middle_of(read_outline((170, 10, -170, 20))) == pytest.approx((-180, 15))
    assert middle_of(read_outline((172, 10, -170, 20))) == pytest.approx((-179, 15))
    assert middle_of(read_outline((-180, 70, 180, 90))) == (0, 90)


def test_a_grid_in_degrees_does_not_cross_the_date_line():
    with pytest.raises(DataError, match=r"a grid in degrees \(EPSG:4326\) cannot cross"):
        base_grid(read_outline(FIJI), "EPSG:4326", 0.01, 1)


@pytest.mark.parametrize("split", [True, False])
def test_files_over_the_date_line(tmp_path, split):
    """Cut at 180, as GeoJSON asks for, or with longitudes beyond it."""
    whole = shapely.box(176.8, -18.4, 181.8, -16.0)
    gpd.GeoDataFrame(geometry=[on_earth(whole) if split else whole], crs=4326).to_file(
        tmp_path / "area.gpkg"
    )
    found = read_outline(tmp_path / "area.gpkg")
    assert found.symmetric_difference(read_outline(FIJI)).area < 1e-9


def test_a_projected_file_over_the_date_line_is_not_the_rest_of_the_earth(tmp_path):
    square = shapely.box(780_000, 7_980_000, 830_000, 8_030_000)
    gpd.GeoDataFrame(geometry=[square], crs=32760).to_file(tmp_path / "area.gpkg")
    outline = read_outline(tmp_path / "area.gpkg")
    west, _, east, _ = bounds_of(outline)
    assert 179 < west < 180
    assert -180 < east < -179.8
    box = base_grid(outline, "EPSG:32760", 100, 1)
    assert project_outline(outline, box).symmetric_difference(square).area < 1e-4 * square.area


@pytest.mark.parametrize(("code", "south", "north"), [(3031, -90, -85), (3413, 85, 90)])
def test_a_projected_file_over_a_pole_holds_it(tmp_path, code, south, north):
    disc = shapely.Point(0, 0).buffer(300_000)
    hole = shapely.Point(100_000, 0).buffer(20_000)
    gpd.GeoDataFrame(geometry=[disc - hole], crs=code).to_file(tmp_path / "area.gpkg")
    outline = read_outline(tmp_path / "area.gpkg")
    assert south - 1 < outline.bounds[1]
    assert outline.bounds[3] < north + 1
    assert outline.covers(shapely.Point(12, 89.99 if north == 90 else -89.99))
    box = base_grid(outline, f"EPSG:{code}", 1000, 1)
    found = project_outline(outline, box)
    assert found.area == pytest.approx((disc - hole).area, rel=1e-3)
    assert not found.contains(hole.centroid)
    assert outline_of(box).covers(shapely.Point(77, 89.99 if north == 90 else -89.99))


def test_rings_go_the_short_way_round():
    ring = shapely.Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)])
    assert unrolled(ring).symmetric_difference(outline_of_bounds((179, 0, -179, 1))).area < 1e-9
    plain = shapely.box(10, 0, 12, 1)
    assert unrolled(plain).equals(plain)


def test_bounds_whose_sides_were_swapped_are_not_taken_for_the_date_line():
    with pytest.raises(DataError, match="it would go 359 degrees over the date line"):
        read_outline((12, 48, 11, 49))


def test_files_of_both_zones_are_read_onto_the_grid_over_the_date_line():
    """A surface of 1000 times the distance in degrees from the line, on its two sides."""
    outline = read_outline((179.7, -17.2, -179.7, -17.0))
    box = base_grid(outline, "auto", 200, 1)
    read = np.full(tuple(box.shape), np.nan, np.float32)
    for code, corner in ((32760, (179.4, -16.8)), (32701, (-179.95, -16.8))):
        x, y = Transformer.from_crs(4326, code, always_xy=True).transform(*corner)
        file = GeoBox((400, 400), Affine(200, 0, x, 0, -200, y), f"EPSG:{code}")
        columns, rows = np.meshgrid(np.arange(400) + 0.5, np.arange(400) + 0.5)
        to_degrees = Transformer.from_crs(code, 4326, always_xy=True)
        longitudes, _ = to_degrees.transform(*(file.affine * (columns, rows)))
        part = np.full_like(read, np.nan)
        reproject(
            ((longitudes % 360 - 180) * 1000).astype(np.float32),
            part,
            src_transform=file.affine,
            src_crs=crs_wkt(file),
            dst_transform=box.affine,
            dst_crs=crs_wkt(box),
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )
        read = np.where(np.isnan(read), part, read)
    columns, rows = np.meshgrid(np.arange(box.shape.x) + 0.5, np.arange(box.shape.y) + 0.5)
    to_degrees = Transformer.from_crs(crs_wkt(box), 4326, always_xy=True)
    longitudes, _ = to_degrees.transform(*(box.affine * (columns, rows)))
    wanted = (longitudes % 360 - 180) * 1000
    inside = mask_of(gpd.GeoSeries([outline], crs=4326), box)
    assert inside.mean() > 0.8
    assert wanted[inside].min() < -250
    assert wanted[inside].max() > 250
    np.testing.assert_allclose(read[inside], wanted[inside], atol=1)  # half a pixel
