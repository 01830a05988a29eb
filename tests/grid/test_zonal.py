"""Statistics of parcels."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox

from earthloom.errors import DataError
from earthloom.grid import fraction_of, parcel_statistics, weighted_statistics
from earthloom.grid.zonal import drawn_in

BOX = GeoBox((20, 30), Affine(10, 0, 600_000, 0, -10, 5_400_000), "EPSG:32632")
FIELD = shapely.box(600_043, 5_399_855, 600_171, 5_399_948)
BEYOND = shapely.box(600_250, 5_399_900, 600_400, 5_399_990)
FAR = shapely.box(700_000, 5_399_900, 700_100, 5_399_990)

values = hnp.arrays(np.float64, 12, elements=st.floats(-5, 5))


def _parcels(*polygons, **index):
    return gpd.GeoDataFrame(geometry=list(polygons), crs=32632, **index)


def _layer(rng, steps=3, bands=2):
    pixels = rng.normal(size=(steps, bands, *BOX.shape)).astype(np.float32)
    return pixels, np.ones((steps, *BOX.shape), np.bool_)


@given(values)
def test_equal_weights_give_the_ordinary_statistics(known):
    found = weighted_statistics(known, np.full(12, 0.3))
    np.testing.assert_allclose(found.mean, known.mean(), atol=1e-9)
    np.testing.assert_allclose(found.median, np.median(known), atol=1e-9)
    np.testing.assert_allclose(found.std, known.std(), atol=1e-7)


@given(values, hnp.arrays(np.int64, 12, elements=st.integers(0, 4)))
def test_whole_weights_are_copies(known, copies):
    """The slow oracle: a value of weight 3 stands there three times."""
    found = weighted_statistics(known, copies.astype(np.float64))
    repeated = np.repeat(known, copies)
    if len(repeated) == 0:
        assert np.isnan([found.mean, found.median, found.std]).all()
        return
    np.testing.assert_allclose(found.mean, repeated.mean(), atol=1e-9)
    np.testing.assert_allclose(found.median, np.median(repeated), atol=1e-9)
    np.testing.assert_allclose(found.std, repeated.std(), atol=1e-7)


@given(values, st.integers(0, 11), st.permutations(range(12)))
def test_what_has_no_weight_and_the_order_do_not_count(known, hidden, order):
    weights = np.linspace(0.1, 1, 12)
    weights[hidden] = 0
    spoilt = known.copy()
    spoilt[hidden] = np.nan
    whole = weighted_statistics(known, weights)
    for other in (
        weighted_statistics(spoilt, weights),
        weighted_statistics(known[list(order)], weights[list(order)]),
    ):
        for name in ("mean", "median", "std"):
            np.testing.assert_allclose(getattr(other, name), getattr(whole, name), atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.floats(-3, 3), st.floats(0, 40), st.integers(0, 2**31))
def test_a_constant_has_the_mean_of_the_constant_whatever_is_hidden(constant, inset, seed):
    rng = np.random.default_rng(seed)
    valid = rng.random((2, *BOX.shape)) < 0.6
    pixels = np.where(valid[:, None], np.float32(constant), np.float32(99))
    pixels[:, :, 5] = np.nan
    table = parcel_statistics(_parcels(FIELD, BEYOND), pixels, valid, BOX, ["B04"], inset)
    seen = table["count"] > 0
    assert seen.any()
    np.testing.assert_allclose(table["mean"][seen], constant, atol=1e-5)
    np.testing.assert_allclose(table["median"][seen], constant, atol=1e-5)
    np.testing.assert_allclose(table["std"][seen], 0, atol=1e-5)
    assert table[~seen][["mean", "median", "std"]].isna().all(axis=None)


def test_statistics_are_weighted_by_the_share_of_each_pixel():
    rng = np.random.default_rng(1)
    pixels, valid = _layer(rng)
    valid[1] = rng.random(BOX.shape) < 0.5
    pixels[2, 1, 8:] = np.nan
    table = parcel_statistics(
        _parcels(FIELD, BEYOND, index=["field", "beyond"]), pixels, valid, BOX, ["red", "nir"]
    )
    assert len(table) == 2 * 3 * 2
    keyed = table.set_index(["parcel", "step", "band"])
    for name, polygon in (("field", FIELD), ("beyond", BEYOND)):
        shares = fraction_of(gpd.GeoSeries([polygon], crs=32632), BOX).astype(np.float64)
        for step in range(3):
            for band, title in enumerate(["red", "nir"]):
                image = pixels[step, band].astype(np.float64)
                weights = shares * (valid[step] & ~np.isnan(image))
                row = keyed.loc[(name, step, title)]
                mean = (np.nan_to_num(image) * weights).sum() / weights.sum()
                assert row["mean"] == pytest.approx(mean, abs=1e-6)
                assert row["count"] == (weights > 0).sum()
                assert row["seen"] == pytest.approx(weights.sum() * 100 / polygon.area, abs=1e-5)
    assert table.query("parcel == 'beyond' and step == 0").seen.to_numpy() == pytest.approx(1 / 3)


def test_whole_pixels_have_the_ordinary_median():
    rng = np.random.default_rng(2)
    pixels, valid = _layer(rng)
    square = shapely.box(600_050, 5_399_850, 600_150, 5_399_950)
    table = parcel_statistics(_parcels(square), pixels, valid, BOX, ["red", "nir"])
    inside = pixels[:, :, 5:15, 5:15].reshape(3, 2, -1)
    np.testing.assert_allclose(table["median"], np.median(inside, axis=-1).ravel(), atol=1e-6)
    np.testing.assert_allclose(table["std"], inside.std(axis=-1).ravel(), atol=1e-5)
    assert (table["count"] == 100).all()


def test_drawing_the_edge_in_keeps_the_neighbours_out():
    pixels = np.full((1, 1, *BOX.shape), 7, np.float32)
    inside = fraction_of(gpd.GeoSeries([FIELD], crs=32632), BOX) >= 1
    pixels[0, 0, inside] = 1
    valid = np.ones((1, *BOX.shape), np.bool_)
    mixed = parcel_statistics(_parcels(FIELD), pixels, valid, BOX, ["B04"])
    clean = parcel_statistics(_parcels(FIELD), pixels, valid, BOX, ["B04"], inset_m=10)
    assert mixed["mean"].item() > 1.2
    assert clean["mean"].item() == 1
    assert clean["std"].item() == 0
    assert clean["count"].item() < mixed["count"].item()


def test_parcels_with_nothing_left_or_off_the_grid_are_rows_without_values():
    rng = np.random.default_rng(3)
    pixels, valid = _layer(rng)
    parcels = _parcels(FIELD, FAR, shapely.Polygon(), None)
    table = parcel_statistics(parcels, pixels, valid, BOX, ["red", "nir"], inset_m=60)
    assert sorted(set(table.parcel)) == [0, 1, 2, 3]
    assert (table["count"] == 0).all()
    assert (table["seen"] == 0).all()
    assert table[["mean", "median", "std"]].isna().all(axis=None)
    empty = parcel_statistics(parcels.iloc[:0], pixels, valid, BOX, ["red", "nir"])
    assert list(empty.columns) == list(table.columns)


def test_insets_are_metres_on_the_ground():
    in_degrees = GeoBox.from_bbox((10.0, 48.0, 10.1, 48.1), "EPSG:4326", resolution=1e-4)
    square = gpd.GeoDataFrame(geometry=[shapely.box(10.02, 48.02, 10.03, 48.03)], crs=4326)
    wanted = square.to_crs(32632).buffer(-25).area.item()
    drawn = drawn_in(square, in_degrees, 25).to_crs(32632)
    assert drawn.area.item() == pytest.approx(wanted, rel=1e-4)
    assert drawn_in(square, BOX, 25).area.item() == pytest.approx(wanted, rel=1e-4)


def test_layers_that_do_not_fit():
    pixels, valid = _layer(np.random.default_rng(4))
    with pytest.raises(DataError, match="do not fit a grid of 20 x 30"):
        parcel_statistics(_parcels(FIELD), pixels[..., 1:], valid, BOX, ["red", "nir"])
    with pytest.raises(DataError, match="1 band names for 2 bands"):
        parcel_statistics(_parcels(FIELD), pixels, valid, BOX, ["red"])
    with pytest.raises(DataError, match="by 0 metres or more, not by -5"):
        parcel_statistics(_parcels(FIELD), pixels, valid, BOX, ["red", "nir"], -5)
    with pytest.raises(DataError, match="have no CRS"):
        parcel_statistics(gpd.GeoDataFrame(geometry=[FIELD]), pixels, valid, BOX, ["red", "nir"])
