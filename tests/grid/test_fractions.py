"""Polygons to pixels."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from earthloom.errors import DataError
from earthloom.grid import fraction_of, mask_of

AFFINE = Affine(10, 0, 600_000, 0, -10, 5_400_000)
BOX = GeoBox((30, 45), AFFINE, "EPSG:32632")
TURNED = GeoBox((30, 45), AFFINE * Affine.rotation(20), "EPSG:32632")

pixels = st.tuples(st.floats(-8, 53), st.floats(-8, 38))


@st.composite
def parcels(draw, box=BOX):
    """The hull of some points about the grid, in its CRS."""
    spots = draw(st.lists(pixels, min_size=3, max_size=8, unique=True))
    hull = shapely.MultiPoint([box.affine * spot for spot in spots]).convex_hull
    return hull if hull.geom_type == "Polygon" else hull.buffer(7)


def _series(*polygons):
    return gpd.GeoSeries(list(polygons), crs=32632)


def _one_by_one(polygon, box):
    """The slow oracle: every pixel is cut."""
    shares = np.zeros(tuple(box.shape))
    for row, col in np.ndindex(*shares.shape):
        corners = [(col, row), (col + 1, row), (col + 1, row + 1), (col, row + 1)]
        pixel = shapely.Polygon([box.affine * corner for corner in corners])
        shares[row, col] = polygon.intersection(pixel).area / pixel.area
    return shares


@settings(deadline=None, max_examples=60)
@given(parcels(), st.sampled_from([BOX, TURNED]))
def test_fractions_sum_to_the_area_on_the_grid(polygon, box):
    shares = fraction_of(_series(polygon), box)
    assert shares.dtype == np.float32
    assert shares.shape == tuple(box.shape)
    assert shares.min() >= 0
    assert shares.max() <= 1
    inside = polygon.intersection(box.extent.geom).area
    assert shares.sum(dtype=np.float64) * 100 == pytest.approx(inside, rel=1e-5, abs=0.01)


@settings(deadline=None, max_examples=8)
@given(parcels(), st.sampled_from([BOX, TURNED]))
def test_fractions_are_those_of_pixels_cut_one_by_one(polygon, box):
    np.testing.assert_allclose(
        fraction_of(_series(polygon), box), _one_by_one(polygon, box), atol=1e-6
    )


@settings(deadline=None, max_examples=40)
@given(parcels(), parcels())
def test_ground_that_two_polygons_share_counts_once(one, other):
    both = fraction_of(_series(one, other), BOX)
    np.testing.assert_allclose(both, fraction_of(_series(one.union(other)), BOX), atol=1e-5)
    assert (both >= fraction_of(_series(one), BOX) - 1e-5).all()


@settings(deadline=None, max_examples=40)
@given(parcels())
def test_masks_lie_between_what_is_whole_and_what_is_touched(polygon):
    shares = fraction_of(_series(polygon), BOX)
    centres, touched = mask_of(_series(polygon), BOX), mask_of(_series(polygon), BOX, True)
    assert centres.dtype == np.bool_
    assert (centres <= touched).all()
    assert centres[shares > 0.9999].all()
    assert not centres[shares == 0].any()
    assert touched[shares > 0.01].all()


def test_holes_are_not_covered():
    ring = shapely.box(600_050, 5_399_750, 600_250, 5_399_950) - shapely.box(
        600_100, 5_399_800, 600_205, 5_399_900
    )
    shares = fraction_of(_series(ring), BOX)
    assert shares[12, 12] == 0
    assert shares[12, 20] == pytest.approx(0.5)
    assert shares[12, 7] == 1


def test_polygons_of_another_crs_and_none_at_all():
    square = shapely.box(600_100, 5_399_800, 600_200, 5_399_900)
    shares = fraction_of(_series(square).to_crs(4326), BOX)
    assert shares.sum() == pytest.approx(100, rel=1e-4)
    nothing = gpd.GeoSeries([None, shapely.Polygon()], crs=4326)
    assert not fraction_of(nothing, BOX).any()
    assert not mask_of(nothing, BOX).any()
    with pytest.raises(DataError, match="have no CRS"):
        fraction_of(gpd.GeoSeries([square]), BOX)


def test_a_polygon_that_crosses_itself_is_mended():
    bow = shapely.Polygon(
        [(600_100, 5_399_800), (600_200, 5_399_900), (600_200, 5_399_800), (600_100, 5_399_900)]
    )
    assert fraction_of(_series(bow), BOX).sum() == pytest.approx(50, rel=1e-5)
