"""Fields of a small cube: written, read back, compared, mapped from."""

import json
from dataclasses import replace
from datetime import date

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
import shapely
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rio_cogeo import cog_validate

from earthloom.cube import LayerPlan, Step, open_cube
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.encoders import Statistics
from earthloom.encoders.location import Location
from earthloom.encoders.random_conv import RandomConv
from earthloom.errors import ContractError, DataError, LabelError
from earthloom.fit.plan import Plan
from earthloom.grid import Area, parse_cell
from earthloom.maps.embedding import (
    FieldInputs,
    Projection,
    directions_at,
    fit_linear,
    fit_projection,
    open_field,
    principal_axes,
    read_projection,
    read_vectors,
    write_change,
    write_field,
    write_linear,
    write_similarity,
    write_vectors,
    write_zarr,
)
from earthloom.maps.embedding.compare import angle_between
from earthloom.maps.embedding.field import directions
from earthloom.maps.make import MapSettings
from earthloom.maps.work import MapWork
from earthloom.sample import Chip, LayerSpec, Shape2d, Window
from earthloom.sample.batch import collate
from earthloom.sensors import load_sensor
from earthloom.tasks import PixelClasses
from earthloom.tasks.pixel_values import PixelValueTask

DAY = date(2023, 6, 1)
BANDS = ("B02", "B03", "B04", "B08")
SHAPE = Shape2d(90, 140)
SETTINGS = MapSettings(window=48, overlap=0.25, part=60)
TASK = PixelClasses((1, 2), ("left", "right"), ((9, 8, 7), (1, 1, 1)))


def _quiet(done, total, detail=""):
    assert 0 < done <= total


def _cube(folder, seed):
    """Two landscapes, left and right of column 70, under noise, with holes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    sensor = load_sensor("sentinel-2-l2a")
    waves = tuple(sensor.band(band).wavelength_nm for band in BANDS)
    spec = LayerSpec(sensor.name, 10, BANDS, "1", ("2023-06",), waves)
    box = GeoBox(SHAPE, rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")
    plan = LayerPlan(spec, sensor, box, "median", (Step("2023-06", DAY, DAY, ()),))
    writer = CubeWriter(folder / "cube.zarr", [plan], 512)
    image = rng.normal(0.3, 0.05, (4, *SHAPE)).astype(np.float32)
    image[2:, :, 70:] += 0.4
    count = (rng.random(SHAPE) > 0.05).astype(np.uint8)
    image[:, count == 0] = np.nan
    write_tile(folder / "cube.zarr", spec.key, 0, Window(0, 0, SHAPE), image, count)
    writer.finish()
    return box, open_cube(folder / "cube.zarr", SHAPE)


def _inputs(folder, seed=0, item_id="here", outline=None):
    box, cube = _cube(folder, seed)
    (spec,) = cube.specs.values()
    encoder = RandomConv(
        (spec,), {spec.key: Statistics((0.4,) * 4, (0.2,) * 4)}, filters=48, window=5
    ).eval()
    area = Area("here", box, outline)
    return FieldInputs(item_id, area, cube, encoder, (DAY, DAY), ["s"], {})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A field of 64 of 97 features, with what it was made of."""
    folder = tmp_path_factory.mktemp("made")
    inputs = _inputs(folder / "cube")
    return inputs, write_field(inputs, SETTINGS, folder / "field", _quiet)


def _whole(field):
    return field.read(Window(0, 0, field.shape))


def _expected(inputs, projection):
    """(64, H, W) unit vectors of the encoder over all at once, and where anything was seen."""
    chip = Chip("all", SHAPE, inputs.cube.window(Window(0, 0, SHAPE)))
    with torch.inference_mode():
        features = inputs.encoder(collate([chip]))
    pixels = np.moveaxis(features.pixels[0].double().numpy(), 0, -1)
    turned = np.moveaxis((pixels - projection.mean) @ projection.axes, -1, 0)
    return turned / np.linalg.norm(turned, axis=0), features.seen[0].numpy()


def test_a_field_is_the_encoders_features_turned_and_rounded(tmp_path):
    inputs = _inputs(tmp_path / "cube")
    exact = MapSettings(window=48, overlap=0.0, exact=True, part=60)
    field = write_field(inputs, exact, tmp_path / "field", _quiet)
    wanted, seen = _expected(inputs, read_projection(tmp_path / "field" / "projection.safetensors"))
    stored = _whole(field)
    assert stored.shape == (64, *SHAPE)
    assert 0.9 < seen.mean() < 1
    assert (stored[:, ~seen] == -128).all()
    assert np.abs(stored[:, seen] - 127 * wanted[:, seen]).max() < 0.51
    assert np.abs(stored[:, seen].astype(int)).max() <= 127


def test_windows_of_a_field_say_where_they_are(tmp_path):
    inputs = _inputs(tmp_path / "cube")
    (spec,) = inputs.encoder.layers
    torch.manual_seed(0)
    location = Location((spec,), {spec.key: Statistics((0.4,) * 4, (0.2,) * 4)}, width=8).eval()
    settings = replace(SETTINGS, plan=Plan(batch=2))
    field = write_field(replace(inputs, encoder=location), settings, tmp_path / "field", _quiet)
    assert (_whole(field)[0] != -128).mean() > 0.9


def test_files_say_what_they_hold(made):
    _, field = made
    assert cog_validate(field.path, quiet=True)[0]
    with rasterio.open(field.path) as source:
        assert (source.count, source.dtypes[0], source.nodata) == (64, "int8", -128)
        assert source.scales == (1 / 127,) * 64
    item = pystac.Item.from_file(str(field.path.with_name("item.json")))
    (asset,) = item.to_dict()["assets"].values()
    assert (asset["data_type"], asset["nodata"], len(asset["bands"])) == ("int8", -128, 64)
    assert item.properties["proj:code"] == "EPSG:32633"
    assert open_field(field.path.parent) == field
    assert not list(field.path.parent.glob("work*"))


def test_the_space_is_that_of_scikit_learn_with_no_strong_axis():
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(1).normal(size=(500, 20)) @ np.diag(1.5 ** np.arange(20))
    found = principal_axes(rows.astype(np.float32), 5)
    pca = PCA(5, svd_solver="full").fit(rows)
    wanted = pca.components_.T @ pca.components_
    np.testing.assert_allclose(found.axes @ found.axes.T, wanted, atol=1e-4)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(5), atol=1e-6)
    turned = ((rows - found.mean) @ found.axes).var(axis=0)
    assert turned.max() < 2.001 * turned.mean() < 0.9 * pca.explained_variance_[0]
    same = principal_axes(rows[:, :5].astype(np.float32), 5)
    np.testing.assert_array_equal(same.axes, np.eye(5))
    with pytest.raises(DataError, match="5 pixels"):
        principal_axes(rows[:5].astype(np.float32), 5)


def test_a_seed_gives_one_projection(made):
    inputs, field = made
    known = read_projection(field.path.with_name("projection.safetensors"))
    assert fit_projection(inputs, SETTINGS, 0).digest == known.digest
    few, again, other = (fit_projection(inputs, SETTINGS, seed, most=300) for seed in (0, 0, 1))
    assert few.digest == again.digest != other.digest
    assert (few.features, few.dimensions) == (97, 64)
    assert fit_projection(inputs, SETTINGS, dimensions=97).axes.shape == (97, 97)


def test_a_projection_of_another_encoder_is_refused(made, tmp_path):
    inputs, _ = made
    with pytest.raises(ContractError, match="takes 8 features; the encoder random-conv gives 97"):
        write_field(inputs, SETTINGS, tmp_path, _quiet, Projection.none(8))


def test_an_interrupted_field_is_the_same(made, tmp_path, monkeypatch):
    inputs, field = made
    make, done = MapWork.make, []

    def fails(self, part, path):
        if done:
            raise KeyboardInterrupt
        done.append(part)
        return make(self, part, path)

    monkeypatch.setattr(MapWork, "make", fails)
    with pytest.raises(KeyboardInterrupt):
        write_field(inputs, SETTINGS, tmp_path, _quiet)
    assert len(list(tmp_path.rglob("0*.npz"))) == 1
    before = len(done)
    monkeypatch.setattr(MapWork, "make", lambda s, p, f: done.append(p) or make(s, p, f))
    again = write_field(inputs, SETTINGS, tmp_path, _quiet)
    assert len(set(done)) == len(done) > before
    assert again.path.read_bytes() == field.path.read_bytes()


def test_outside_the_outline_nothing_is_said(tmp_path):
    west = GeoBox((90, 70), rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")
    outline = west.extent.to_crs("EPSG:4326").geom
    field = write_field(
        _inputs(tmp_path / "cube", outline=outline), SETTINGS, tmp_path / "field", _quiet
    )
    stored = _whole(field)
    assert (stored[:, :, 71:] == -128).all()
    assert (stored[0, :, :69] != -128).mean() > 0.9


@given(st.integers(0, 2**32), st.floats(0, 180))
def test_the_angle_is_exact_also_when_small(seed, degrees):
    one, other = np.linalg.qr(np.random.default_rng(seed).normal(size=(64, 2)))[0].T
    turned = np.cos(np.radians(degrees)) * one + np.sin(np.radians(degrees)) * other
    found = angle_between(one[:, None], turned[:, None])
    np.testing.assert_allclose(found, degrees, atol=1e-5, rtol=1e-6)


def test_directions_have_length_one_and_no_data_has_none():
    stored = np.array([[3, 0, -128], [4, 0, -128]], np.int8)
    found = directions(stored)
    np.testing.assert_allclose(found[:, 0], [0.6, 0.8], rtol=1e-6)
    assert np.isnan(found[:, 1:]).all()


def test_similarity_is_the_cosine_to_the_nearest_example(made, tmp_path):
    _, field = made
    left = shapely.box(5e5 + 100, 5e6 - 600, 5e5 + 500, 5e6 - 200)
    point = shapely.Point(5e5 + 1005, 5e6 - 305)
    examples = gpd.GeoDataFrame(geometry=[left, point], crs="EPSG:32633").to_crs("EPSG:4326")
    vectors = directions_at(field, examples)
    whole = directions(_whole(field))
    block = whole[:, 20:60, 10:50]
    mean = np.nanmean(block.reshape(64, -1), axis=1)
    np.testing.assert_allclose(vectors[0] @ mean / np.linalg.norm(mean), 1, atol=1e-4)
    np.testing.assert_allclose(vectors[1], whole[:, 30, 100], atol=1e-6)
    path = write_similarity(field, vectors, tmp_path)
    found = rasterio.open(path).read(1)
    wanted = np.einsum("nd,dhw->nhw", vectors, whole).max(axis=0)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.isnan(found[_whole(field)[0] == -128]).all()
    alone = rasterio.open(write_similarity(field, vectors[:1], tmp_path)).read(1)
    assert np.nanmean(alone[:, :65]) > np.nanmean(alone[:, 75:]) + 0.5
    assert pystac.Item.from_file(str(tmp_path / "item.json")).assets.keys() == {"similarity"}


def test_examples_that_say_nothing_are_refused(made, tmp_path):
    _, field = made
    far = gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:4326")
    with pytest.raises(DataError, match="none of the 1 examples"):
        directions_at(field, far)
    with pytest.raises(ContractError, match=r"\(N, 64\)"):
        write_similarity(field, np.ones((1, 3), np.float32), tmp_path)
    with pytest.raises(ContractError, match="no direction"):
        write_similarity(field, np.zeros((1, 64), np.float32), tmp_path)
    with pytest.raises(DataError, match="folder of its own"):
        write_similarity(field, np.ones((1, 64), np.float32), field.path.parent)


def test_change_is_the_angle_between_dates(made, tmp_path):
    _, field = made
    projection = read_projection(field.path.with_name("projection.safetensors"))
    later = _inputs(tmp_path / "cube", seed=5, item_id="later")
    after = write_field(later, SETTINGS, tmp_path / "after", _quiet, projection)
    found = rasterio.open(write_change(field, after, tmp_path / "change")).read(1)
    one, other = (directions(_whole(each)) for each in (field, after))
    cosine = np.einsum("dhw,dhw->hw", one, other).clip(-1, 1)
    np.testing.assert_allclose(found, np.degrees(np.arccos(cosine)), atol=0.05)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(one[0]) | np.isnan(other[0]))
    same = rasterio.open(write_change(field, field, tmp_path / "same")).read(1)
    assert np.nanmax(same) == 0
    own = write_field(later, SETTINGS, tmp_path / "own", _quiet)
    with pytest.raises(ContractError, match="one projection"):
        write_change(field, own, tmp_path / "no")


def _labels(count, column):
    rng = np.random.default_rng(3)
    xy = rng.uniform((0, 0), (140, 90), (count, 2))
    points = gpd.points_from_xy(5e5 + 10 * xy[:, 0], 5e6 - 10 * xy[:, 1])
    right = (xy[:, 0] >= 70).astype(int)
    return gpd.GeoDataFrame({column: right + 1}, geometry=points, crs="EPSG:32633")


def test_a_linear_map_from_few_labels(made, tmp_path):
    _, field = made
    model = fit_linear(field, _labels(20, "code").to_crs("EPSG:4326"), TASK)
    write_linear(field, model, tmp_path / "classes", _quiet)
    codes = rasterio.open(tmp_path / "classes" / "map.tif").read(1)
    np.testing.assert_array_equal(codes == 0, _whole(field)[0] == -128)
    truth = np.broadcast_to(np.where(np.arange(140) < 70, 1, 2), SHAPE)
    far = (codes > 0) & (np.abs(np.arange(140) - 69.5) > 8)
    assert (codes == truth)[far].mean() > 0.97
    with pytest.raises(ContractError, match="field here is of another"):
        write_linear(replace(field, made_of="another"), model, tmp_path / "no", _quiet)
    values = PixelValueTask("m")
    write_linear(field, fit_linear(field, _labels(40, "value"), values), tmp_path / "v", _quiet)
    found = rasterio.open(tmp_path / "v" / "value.tif").read(1)
    assert abs(np.nanmean(found[:, :60]) - 1) < 0.2
    assert abs(np.nanmean(found[:, 80:]) - 2) < 0.2
    assert json.loads((tmp_path / "v" / "item.json").read_text())["assets"]["value"]


def test_labels_that_do_not_fit_are_refused(made):
    _, field = made
    with pytest.raises(LabelError, match="no column 'code'; theirs are: value"):
        fit_linear(field, _labels(5, "value"), TASK)
    far = gpd.GeoDataFrame({"code": [1]}, geometry=[shapely.Point(0, 0)], crs="EPSG:4326")
    with pytest.raises(LabelError, match="none of the 1 labels"):
        fit_linear(field, far, TASK)


def test_vectors_have_the_columns_of_major_tom(made, tmp_path):
    _, field = made
    count = write_vectors(field, tmp_path / "v.parquet", size=45)
    table, vectors = read_vectors(tmp_path / "v.parquet")
    assert count == len(table) == len(vectors) == 2 * 4
    wanted = (
        "unique_id timestamp product_id grid_cell grid_row_u grid_col_r geometry centre_lat "
        "centre_lon utm_footprint utm_crs pixel_bbox seen"
    )
    assert list(table.columns) == wanted.split()
    assert table.crs.equals("OGC:CRS84")
    assert table.unique_id.is_unique
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    for row, vector in zip(table.itertuples(), vectors):
        cell = parse_cell(row.grid_cell)
        assert (cell.row, cell.col) == (row.grid_row_u, row.grid_col_r)
        assert cell.outline.covers(shapely.Point(row.centre_lon, row.centre_lat))
        left, top, right, bottom = row.pixel_bbox
        window = Window(top, left, Shape2d(bottom - top, right - left))
        mean = np.nanmean(directions(field.read(window)).reshape(64, -1), axis=1)
        assert vector @ mean / np.linalg.norm(mean) > 0.999
        bounds = np.array(shapely.from_wkt(row.utm_footprint).bounds)
        np.testing.assert_allclose(
            bounds, [5e5 + 10 * left, 5e6 - 10 * bottom, 5e5 + 10 * right, 5e6 - 10 * top]
        )


def test_zarr_holds_the_same_numbers(made, tmp_path):
    _, field = made
    write_zarr(field, tmp_path / "embedding.zarr")
    opened = xr.open_zarr(tmp_path / "embedding.zarr", mask_and_scale=False, consolidated=False)
    np.testing.assert_array_equal(opened["embedding"].values, _whole(field))
    assert opened["embedding"].dims == ("dimension", "y", "x")
    assert opened["x"].values[0] == 5e5 + 5
    unit = xr.open_zarr(tmp_path / "embedding.zarr", consolidated=False)["embedding"]
    length = np.linalg.norm(unit.values, axis=0)
    np.testing.assert_allclose(length[_whole(field)[0] != -128], 1, atol=0.02)
    assert np.isnan(length[_whole(field)[0] == -128]).all()
