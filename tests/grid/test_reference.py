"""Which CRS is chosen, and what a pixel measures on the ground."""

import math

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info

from earthloom.errors import DataError
from earthloom.grid import (
    base_grid,
    choose_crs,
    coarser,
    grid_gsd,
    gsd_metres,
    nested_factor,
    project_outline,
    read_outline,
)
from earthloom.grid.reference import utm_code


@pytest.mark.parametrize(
    ("bounds", "code", "reason"),
    [
        ((11.19, 48.89, 11.21, 48.91), 32632, "UTM zone 32"),
        ((11.0, 48.0, 12.5, 49.0), 32632, "UTM zone 32"),  # over two zones: that of the middle
        ((11.5, 48.0, 13.0, 49.0), 32633, "UTM zone 33"),
        ((4.0, 60.0, 6.0, 61.0), 32632, "UTM zone 32"),  # Bergen
        ((10.0, 78.0, 12.0, 79.0), 32633, "UTM zone 33"),  # Svalbard
        ((-180, -18, -179, -17), 32701, "UTM zone 1"),
        ((0, 83, 10, 84), 32631, "UTM zone 31"),
        ((0, 85, 10, 86), 32661, "UPS"),
        ((-180, 84, 180, 90), 32661, "UPS"),
        ((-180, -90, 180, -80), 32761, "UPS"),
        ((170, -82, -170, -81), 32761, "UPS"),
        ((3, 0, 14, 1), 32632, "UTM"),
        ((10, 78, 35, 80), 32635, "UTM"),  # 25 degrees, but only 580 km
        ((-10, 35, 30, 60), None, "Lambert azimuthal equal-area: the area, 3648 km wide"),
        ((-180, 60, 180, 90), 6931, "Lambert azimuthal equal-area"),
    ],
)
def test_what_auto_takes(bounds, code, reason):
    chosen = choose_crs(read_outline(bounds))
    assert chosen.reason.startswith(reason)
    assert code is None or chosen.crs.to_epsg() == code
    assert base_grid(read_outline(bounds), "auto", 10_000, 1).crs == chosen.crs


@settings(deadline=None, max_examples=12)
@given(st.integers(-1799, 1799).map(lambda n: n / 10), st.floats(-79, 55))
def test_zones_are_those_of_the_register(longitude, latitude):
    """Away from Norway and Svalbard, and from the edges, where two zones hold a point."""
    found = query_utm_crs_info(
        datum_name="WGS 84",
        area_of_interest=AreaOfInterest(longitude, latitude, longitude, latitude),
    )
    assert utm_code(longitude, latitude) in {int(each.code) for each in found}


@settings(deadline=None, max_examples=60)
@given(st.floats(-179, 178), st.floats(-89, 88))
def test_auto_is_true_to_scale(west, south):
    """Whatever is chosen, a small area measures about what it measures on the ellipsoid."""
    outline = shapely.box(west, south, west + 1, south + 1)
    box = base_grid(outline, "auto", 100, 1)
    here = (west + 0.5, south + 0.5)
    _, _, true = Geod(ellps="WGS84").inv(*here, here[0], here[1] + 0.1)
    assert gsd_metres(box) == 100
    points = shapely.LineString([here, (here[0], here[1] + 0.1)])
    assert project_outline(points, box).length == pytest.approx(true, rel=0.013)


def test_an_area_round_half_the_earth_is_refused():
    with pytest.raises(DataError, match="is 358 degrees wide, too wide for one grid"):
        choose_crs(shapely.box(-179, -18, 179, -16))


@settings(deadline=None, max_examples=60)
@given(st.floats(-170, 170), st.floats(-80, 80))
def test_gsd_of_a_grid_in_degrees_is_that_of_its_ground(longitude, latitude):
    outline = shapely.box(longitude, latitude, longitude + 0.01, latitude + 0.01)
    box = base_grid(outline, "EPSG:4326", 1e-4, 1)
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(outline)
    assert gsd_metres(box) == pytest.approx(math.sqrt(abs(area)) / 100, rel=2e-3)
    assert grid_gsd(outline, "EPSG:4326", 1e-4) == pytest.approx(gsd_metres(box), rel=2e-3)


@pytest.mark.parametrize(
    ("crs", "resolution", "metres"),
    [
        ("auto", 10, 10),
        ("EPSG:3035", 10, 10),
        ("EPSG:2263", 100, 30.48006),  # US survey feet
        ("EPSG:3857", 10, 7.58),  # at New York a metre of Web Mercator is 76 cm
    ],
)
def test_gsd_of_projected_grids(crs, resolution, metres):
    west = (11.19, 48.89) if crs == "EPSG:3035" else (-74.0, 40.7)
    outline = shapely.box(*west, west[0] + 0.02, west[1] + 0.02)
    assert gsd_metres(base_grid(outline, crs, resolution, 2)) == pytest.approx(metres, rel=2e-3)
    assert grid_gsd(outline, crs, resolution) == pytest.approx(metres, rel=2e-3)


@pytest.mark.parametrize(
    ("gsd", "base", "factor"),
    [
        (10, 10, 1),
        (15, 10, 1),
        (20, 10, 2),
        (30, 10, 3),
        (60, 10, 6),
        (100, 10, 6),
        (231.656, 10, 24),
        (463.313, 10, 48),
        (500, 10, 48),
        (926.625, 10, 96),
        (30, 20, 1),
        (60, 20, 3),
        (5, 10, 1),
        (30, 30, 1),
        (29.9, 10, 3),
    ],
)
def test_factors_of_layers(gsd, base, factor):
    assert nested_factor(gsd, base) == factor


@given(st.lists(st.floats(1, 5000), min_size=1, max_size=6), st.sampled_from([1.0, 10.0, 30.0]))
def test_layers_nest_and_lose_nothing(gsds, base):
    factors = [nested_factor(gsd, base) for gsd in gsds]
    assert math.lcm(*factors) == max(factors) or max(factors) == 3
    assert math.lcm(*factors) <= max(6, *factors)
    for gsd, factor in zip(gsds, factors, strict=True):
        assert factor == 1 or factor * base <= gsd * 1.05 + 1e-9
        assert factor * base * 2 > gsd


@settings(deadline=None, max_examples=30)
@given(st.floats(-170, 170), st.floats(-70, 70))
def test_layers_of_mixed_resolution_share_corners(longitude, latitude):
    """10, 15, 20, 30, 60 and 500 m over a base grid of 10 m."""
    factors = [nested_factor(gsd, 10) for gsd in (10, 15, 20, 30, 60, 500)]
    outline = shapely.box(longitude, latitude, longitude + 0.02, latitude + 0.02)
    box = base_grid(outline, "auto", 10, math.lcm(*factors))
    for factor in factors:
        wide = coarser(box, factor)
        assert wide.boundingbox.bbox == pytest.approx(box.boundingbox.bbox, abs=1e-6)
        assert (wide.shape.y * factor, wide.shape.x * factor) == tuple(box.shape)


@pytest.mark.parametrize("latitude", [-20.0, 20.0])
def test_grids_lie_on_the_pixels_of_the_tiles_of_sentinel_2(latitude):
    """Tiles begin at (600000 - 60 k, 10 000 000 - 60 k) south of the equator, all 60 m bands do."""
    box = base_grid(shapely.box(11, latitude, 11.1, latitude + 0.1), "auto", 10, 6)
    left, bottom, right, top = box.boundingbox.bbox
    assert {left % 60, right % 60} == {0}
    assert {bottom % 60, top % 60} == {40 if latitude < 0 else 0}


def test_grids_lie_on_the_pixels_of_landsat():
    """Whose middles lie on multiples of 30 m, so that edges are half a pixel off."""
    box = base_grid(shapely.box(11, 48, 11.1, 48.1), "auto", 30, 2, anchor=(15, 15))
    assert {edge % 60 for edge in box.boundingbox.bbox} == {15}
    assert box.affine.a == 30
