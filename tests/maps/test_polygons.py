"""Polygons say what the raster says, however it is cut into strips."""

import hashlib
import json

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from earthloom.errors import DataError
from earthloom.maps.features import FeatureStream
from earthloom.maps.patches import Strip
from earthloom.maps.polygons import SUMMARY, PolygonSettings, make_polygons
from earthloom.tasks import PixelClasses

TASK = PixelClasses((1, 2, 5), ("water", "wood", "town"), ((0, 0, 255), (0, 128, 0), (255, 0, 0)))
UTM = (Affine(10, 0, 600_000, 0, -10, 5_400_000), "EPSG:32632")
DEGREES = (Affine(1e-4, 0, 11, 0, -1e-4, 60), "EPSG:4326")

images = arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.integers(0, 3),
)
heights = st.integers(1, 14)


def strips_of(codes, height):
    outside = np.full(codes.shape[1], -1, np.int16)
    for row in range(0, len(codes), height):
        end = min(row + height, len(codes))
        above = codes[row - 1].astype(np.int16) if row else outside
        below = codes[end].astype(np.int16) if end < len(codes) else outside
        yield Strip(row, codes[row:end], above, below)


def features_of(codes, height, diagonal=False, tolerance=0.0):
    """Geometries, codes and first pixels, in the order of the last."""
    stream = FeatureStream(diagonal, tolerance)
    found = [stream.push(strip, None) for strip in strips_of(codes, height)]
    first = np.concatenate([each.first for each in found])
    order = np.argsort(first)
    geometry = np.concatenate([each.geometry for each in found])[order]
    return geometry, np.concatenate([each.codes for each in found])[order], first[order]


def natural(shape, seed=0, classes=3, roughness=0.02):
    """A map of smooth patches with some noise, and probabilities (K, H, W) that fit it."""
    rng = np.random.default_rng(seed)
    fields = np.stack(
        [
            gaussian_filter(rng.normal(size=shape), 4) + roughness * rng.normal(size=shape)
            for _ in range(classes)
        ]
    )
    shares = np.exp(fields * 40)
    return fields.argmax(axis=0), shares / shares.sum(axis=0)


def write_map(folder, codes, grid=UTM, shares=None):
    transform, crs = grid
    rows, cols = codes.shape
    profile = {
        "driver": "GTiff", "width": cols, "height": rows, "dtype": "uint8", "crs": crs,
        "transform": transform, "tiled": True,
    }  # fmt: skip
    with rasterio.open(folder / "map.tif", "w", count=1, nodata=0, **profile) as file:
        file.write(codes, 1)
    if shares is not None:
        path = folder / "probability.tif"
        with rasterio.open(path, "w", count=len(shares), nodata=255, **profile) as file:
            file.write(shares)
    return folder / "map.tif"


def silent(*_):
    """Progress that nobody watches."""


@settings(deadline=None, max_examples=150)
@given(images, heights, st.booleans())
def test_polygons_burned_again_are_the_raster(codes, height, diagonal):
    geometry, found, _ = features_of(codes, height, diagonal)
    assert shapely.is_valid(geometry).all()
    back = np.zeros_like(codes)
    if len(geometry):
        pairs = zip(geometry, found.tolist())
        back = rasterize(pairs, codes.shape, fill=0, dtype="uint8", transform=Affine.identity())
    np.testing.assert_array_equal(back, codes)
    assert shapely.area(geometry).sum() == (codes > 0).sum()


@settings(deadline=None, max_examples=150)
@given(images, heights, st.booleans())
def test_where_strips_were_cut_does_not_show(codes, height, diagonal):
    whole, in_strips = (features_of(codes, rows, diagonal) for rows in (len(codes), height))
    np.testing.assert_array_equal(whole[1], in_strips[1])
    np.testing.assert_array_equal(whole[2], in_strips[2])
    one, other = shapely.normalize(whole[0]), shapely.normalize(in_strips[0])
    assert all(shapely.equals_exact(a, b, 0) for a, b in zip(one, other))


@settings(deadline=None, max_examples=150)
@given(images, heights, st.booleans(), st.sampled_from([0.0, 0.8, 1.5, 4.0]))
def test_polygons_share_their_borders(codes, height, diagonal, tolerance):
    """Simplified or not: no gap and no overlap, so areas sum up to the same."""
    codes = np.where(codes == 0, np.uint8(1), codes)
    geometry, _, _ = features_of(codes, height, diagonal, tolerance)
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    assert shapely.area(geometry).sum() == pytest.approx(codes.size)
    assert shapely.union_all(geometry).equals(shapely.box(0, 0, *codes.shape[::-1]))


@settings(deadline=None, max_examples=80)
@given(images)
def test_patches_are_what_touches(codes):
    """By sides each feature is one polygon; by corners there are no more features than that."""
    by_sides, _, _ = features_of(codes, 3)
    by_corners, _, _ = features_of(codes, 3, diagonal=True)
    assert all(each.geom_type == "Polygon" for each in by_sides)
    assert all(each.geom_type == "MultiPolygon" for each in by_corners)
    assert len(by_corners) <= len(by_sides)
    assert shapely.get_num_geometries(by_corners).sum() == len(by_sides)


def test_corners_join_or_part():
    codes = np.array([[1, 2], [2, 1]], np.uint8)
    assert len(features_of(codes, 1)[0]) == 4
    assert len(features_of(codes, 1, diagonal=True)[0]) == 2


def test_simplified_borders_have_fewer_vertices_and_stay_near():
    index, _ = natural((120, 90))
    codes = (index + 1).astype(np.uint8)
    exact, found, first = features_of(codes, 50)
    simple, found_too, first_too = features_of(codes, 50, tolerance=1.5)
    np.testing.assert_array_equal(found, found_too)
    np.testing.assert_array_equal(first, first_too)
    count = [shapely.get_num_coordinates(each).sum() for each in (exact, simple)]
    assert count[1] < 0.7 * count[0]
    pairs = zip(simple, found.tolist())
    back = rasterize(pairs, codes.shape, dtype="uint8", transform=Affine.identity())
    assert (back != codes).mean() < 0.12


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A map in UTM with probabilities, and a part without data."""
    folder = tmp_path_factory.mktemp("mapped")
    index, shares = natural((130, 90))
    codes = np.array(TASK.codes, np.uint8)[index]
    stored = np.rint(shares * 250).astype(np.uint8)
    codes[:20, :30], stored[:, :20, :30] = 0, 255
    return write_map(folder, codes, shares=stored), codes, stored


def polygons_of(mapped, folder, height=40, **chosen):
    path = mapped[0]
    formats = ("parquet", "gpkg", "fgb")
    settings = PolygonSettings(formats, **chosen)
    share = path.with_name("probability.tif")
    return make_polygons(path, share, TASK, settings, folder, silent, height)


def test_files_say_the_same_in_the_maps_crs(mapped, tmp_path):
    made = polygons_of(mapped, tmp_path)
    table = gpd.read_parquet(tmp_path / "polygons.parquet")
    assert table.crs.to_epsg() == 32632
    assert made.polygons == len(table)
    for name in ("polygons.gpkg", "polygons.fgb"):
        other = gpd.read_file(tmp_path / name).sort_values("id", ignore_index=True)
        assert other.crs.to_epsg() == 32632
        ordered = table.sort_values("id", ignore_index=True)
        for column in ("id", "code", "name", "area_m2", "probability"):
            np.testing.assert_array_equal(other[column], ordered[column])
        assert shapely.equals(other.geometry.values, ordered.geometry.values).all()
    assert json.loads((tmp_path / SUMMARY).read_text())["polygons"] == len(table)


def test_columns_are_those_of_the_raster(mapped, tmp_path):
    _, codes, stored = mapped
    polygons_of(mapped, tmp_path)
    table = gpd.read_parquet(tmp_path / "polygons.parquet")
    transform, _ = UTM
    names = dict(zip(TASK.codes, TASK.names))
    assert [names[code] for code in table.code] == list(table.name)
    np.testing.assert_array_equal(codes.ravel()[table.id], table.code)
    for row in table.sample(12, random_state=0).itertuples():
        inside = rasterize([row.geometry], codes.shape, transform=transform) == 1
        assert (codes[inside] == row.code).all()
        mean = stored[TASK.codes.index(row.code)][inside].mean() / 250
        assert row.probability == pytest.approx(mean, abs=1e-4)
        assert row.geometry.area == inside.sum() * 100


@pytest.mark.parametrize("grid", [UTM, DEGREES])
def test_areas_are_those_on_the_ellipsoid(grid, tmp_path):
    index, _ = natural((60, 70))
    path = write_map(tmp_path, np.array(TASK.codes, np.uint8)[index], grid)
    settings = PolygonSettings(("parquet",), simplify_m=12)
    made = make_polygons(path, None, TASK, settings, tmp_path, silent, 25)
    table = gpd.read_parquet(tmp_path / "polygons.parquet")
    degrees = table.to_crs(4326)
    geod = degrees.crs.get_geod()
    true = [abs(geod.geometry_area_perimeter(each)[0]) for each in degrees.geometry]
    np.testing.assert_allclose(table.area_m2, true, rtol=1e-5, atol=0.05)
    assert sum(made.area_m2.values()) == pytest.approx(sum(true), rel=1e-6)
    assert table.probability.isna().all()


def test_simplified_files_are_a_coverage(mapped, tmp_path):
    made = polygons_of(mapped, tmp_path, minimum_m2=1000, simplify_m=15)
    table = gpd.read_parquet(tmp_path / "polygons.parquet")
    assert shapely.coverage_is_valid(table.geometry.values)
    assert table.geometry.area.sum() == pytest.approx((mapped[1] > 0).sum() * 100)
    assert made.sieved.joined > 0
    assert not (tmp_path / "sieved.tif").exists()


def test_minimum_area_holds(mapped, tmp_path):
    polygons_of(mapped, tmp_path, minimum_m2=2500)
    table = gpd.read_parquet(tmp_path / "polygons.parquet")
    # The grid's scale is 0.9997 there, so that a pixel has 100.06 square metres.
    assert table.area_m2.min() >= 2500
    assert table.geometry.area.sum() == (mapped[1] > 0).sum() * 100


def test_same_bytes_twice(mapped, tmp_path):
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        polygons_of(mapped, tmp_path / name, simplify_m=15)
        files = sorted((tmp_path / name).iterdir())
        digests.append([(each.name, hashlib.sha256(each.read_bytes()).digest()) for each in files])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 5


def test_geoparquet_says_what_its_specification_asks_for(mapped, tmp_path):
    polygons_of(mapped, tmp_path)
    file = pq.ParquetFile(tmp_path / "polygons.parquet")
    said = json.loads(file.metadata.metadata[b"geo"])
    column = said["columns"]["geometry"]
    assert said["version"] == "1.1.0"
    assert column["geometry_types"] == ["Polygon"]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    table = gpd.read_parquet(tmp_path / "polygons.parquet")
    assert column["bbox"] == list(table.total_bounds)
    assert shapely.is_ccw(shapely.get_exterior_ring(table.geometry.values)).all()
    west, south, east, north = table.geometry.iloc[3].bounds
    few = gpd.read_parquet(tmp_path / "polygons.parquet", bbox=(west, south, east, north))
    assert len(few) < len(table)
    assert table.id.iloc[3] in set(few.id)


def test_a_map_that_says_nothing_has_no_polygons(tmp_path):
    path = write_map(tmp_path, np.zeros((5, 7), np.uint8))
    settings = PolygonSettings(("parquet", "gpkg", "fgb"), minimum_m2=500, simplify_m=10)
    made = make_polygons(path, None, TASK, settings, tmp_path, silent)
    assert made.polygons == 0
    assert len(gpd.read_file(tmp_path / "polygons.gpkg")) == 0
    assert len(gpd.read_file(tmp_path / "polygons.fgb")) == 0


def test_unknown_format_is_told():
    with pytest.raises(DataError, match="no format of polygons 'shp'; valid: parquet, gpkg, fgb"):
        PolygonSettings(("shp",))


def test_probabilities_of_another_grid_are_refused(mapped, tmp_path):
    index, shares = natural((10, 10))
    write_map(tmp_path, index.astype(np.uint8), shares=np.rint(shares * 250).astype(np.uint8))
    share = tmp_path / "probability.tif"
    with pytest.raises(DataError, match="does not fit"):
        make_polygons(mapped[0], share, TASK, PolygonSettings(), tmp_path, silent)
