"""Labels that are numbers, on a grid."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from shapely.geometry import Point, Polygon, box

from earthloom.chips.labels import read_values
from earthloom.errors import LabelError
from earthloom.project import Labels

GRID = GeoBox((6, 8), from_origin(500_000, 5_500_060, 10, 10), "EPSG:32632")


def _file(folder: Path, shapes, values, name="labels.gpkg", column="value") -> Path:
    table = gpd.GeoDataFrame({column: values}, geometry=shapes, crs="EPSG:32632")
    table.to_file(folder / name)
    return folder / name


def _centre(row: int, col: int) -> Point:
    return Point(500_005 + 10 * col, 5_500_055 - 10 * row)


def _read(path: Path, **settings) -> np.ndarray:
    return read_values(path, Labels(**settings), "m", GRID).onto(GRID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("values")


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 7), st.floats(-1e4, 1e4, width=32)),
        min_size=1,
        max_size=12,
    )
)
def test_a_pixel_has_the_mean_of_its_points(folder, points):
    path = folder / "points.csv"
    rows = [f"{_centre(r, c).x},{_centre(r, c).y},{v!r}" for r, c, v in points]
    path.write_text("\n".join(["x,y,value", *rows]))
    expected = np.full(GRID.shape, np.nan)
    for row, col in {(r, c) for r, c, _ in points}:
        expected[row, col] = np.mean([v for r, c, v in points if (r, c) == (row, col)])
    found = _read(path, crs="EPSG:32632", x="x", y="y")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_polygons_and_points_share_pixels_by_weight(tmp_path):
    field = box(500_000, 5_500_040, 500_020, 5_500_060)
    path = tmp_path / "both.gpkg"
    table = gpd.GeoDataFrame(
        {"height": [4.0, 10.0, 7.0], "sure": [1.0, 3.0, 0.0]},
        geometry=[field, _centre(0, 0), _centre(5, 7)],
        crs="EPSG:32632",
    )
    table.to_file(path)
    found = _read(path, column="height", weight_column="sure")
    expected = np.full((6, 8), np.nan, np.float32)
    expected[:2, :2] = 4
    expected[0, 0] = (4 + 3 * 10) / 4
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(("nodata", "ignore"), [(-9999.0, None), (None, -9999)])
def test_a_finer_raster_is_averaged_and_its_nodata_left_out(tmp_path, nodata, ignore):
    random = np.random.default_rng(0)
    fine = random.uniform(1, 30, (30, 40)).astype(np.float32)
    fine[:5, :5] = -9999
    fine[7, 7] = -9999
    path = tmp_path / "fine.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=30, width=40, count=1, dtype="float32",
        crs="EPSG:32632", transform=from_origin(500_000, 5_500_060, 2, 2), nodata=nodata,
    ) as sink:  # fmt: skip
        sink.write(fine, 1)
    known = np.where(fine == -9999, np.nan, fine)
    with np.errstate(invalid="ignore"):
        blocks = known.reshape(6, 5, 8, 5)
        counts = (~np.isnan(blocks)).sum(axis=(1, 3))
        expected = np.nansum(blocks, axis=(1, 3)) / np.where(counts, counts, np.nan)
    settings = {} if ignore is None else {"ignore": (ignore,)}
    np.testing.assert_allclose(_read(path, **settings), expected, rtol=1e-5)


def test_a_raster_of_scaled_integers_is_read_in_its_unit(tmp_path):
    stored = np.arange(48, dtype=np.int16).reshape(6, 8)
    path = tmp_path / "scaled.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=6, width=8, count=1, dtype="int16",
        crs="EPSG:32632", transform=GRID.affine, nodata=0,
    ) as sink:  # fmt: skip
        sink.write(stored, 1)
        sink.scales, sink.offsets = (0.1,), (5.0,)
    expected = np.where(stored == 0, np.nan, stored * 0.1 + 5)
    np.testing.assert_allclose(_read(path), expected, rtol=1e-6)


def test_255_is_a_number_like_any_other(tmp_path):
    path = _file(tmp_path, [_centre(1, 1)], [255.0])
    assert _read(path)[1, 1] == 255


@pytest.mark.parametrize(
    ("values", "column", "settings", "message"),
    [
        ([1.0], "biomass", {}, "have no column 'value'; they have: biomass"),
        (["tall"], "value", {}, "feature 1 .* has 'tall' in column 'value', which is no number"),
        ([np.nan], "value", {}, "feature 1 .* has no number in column 'value'"),
        ([np.inf], "value", {}, "feature 1 .* has 'inf' in column 'value'"),
        ([1.0], "value", {"ignore": ("none",)}, r"labels.ignore: .*'none'"),
    ],
)
def test_what_is_no_number_is_named(tmp_path, values, column, settings, message):
    path = _file(tmp_path, [_centre(0, 0)], values, column=column)
    with pytest.raises(LabelError, match=message):
        _read(path, **settings)


def test_broken_and_ignored_features_are_counted(tmp_path):
    shapes = [_centre(0, 0), _centre(0, 1), _centre(0, 2)]
    path = _file(tmp_path, shapes, [np.nan, -1.0, 3.0])
    labels = read_values(path, Labels(broken="skip", ignore=(-1,)), "m", GRID)
    assert labels.report.skipped == {"value": 2}
    assert np.isfinite(labels.onto(GRID)).sum() == 1


def test_an_empty_polygon_gives_nothing(tmp_path):
    far = Polygon([(0, 0), (1, 0), (1, 1)])
    path = _file(tmp_path, [far, _centre(2, 2)], [1.0, 2.0])
    labels = read_values(path, Labels(), "m", GRID)
    assert labels.report.skipped == {"outside": 1}
    assert np.nansum(labels.onto(GRID)) == 2
