"""The cube on disk, as other software reads it; the cube before it is made; and elsewhere."""

import multiprocessing
import os
import signal

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rasterio
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from earthloom.cube.build import CubeWork, build_cube
from earthloom.cube.export import export_cogs, export_netcdf
from earthloom.cube.lazy import lazy_cube
from earthloom.cube.store import chunk_of, open_cube
from earthloom.errors import StageError
from earthloom.sample import Shape2d, Window
from earthloom.workers import Cluster, Threads

KEY = "sentinel-2-l2a_20m"


@given(st.integers(1, 4000))
def test_chunks_divide_their_tile(tile):
    chunk = chunk_of(tile)
    assert tile % chunk == 0
    assert 32 <= chunk <= 256 or chunk == tile


def test_each_tile_of_a_time_step_is_one_file(cube):
    array = zarr.open_group(cube.path, mode="r")[f"{KEY}/pixels"]
    assert array.metadata.zarr_format == 3
    assert array.shards[0] == 1
    assert array.shards[1] == len(cube.specs[KEY].bands)
    files = [f for f in (cube.path / KEY / "pixels" / "c").rglob("*") if f.is_file()]
    seen = [count.any() for count in cube.counts(KEY)]
    assert len(files) == sum(seen) > 0


def test_other_software_finds_grid_units_and_time(cube, planned):
    _, plans = planned
    plan = next(plan for plan in plans if plan.spec.key == KEY)
    opened = xr.open_zarr(cube.path, group=KEY, consolidated=False, decode_coords="all")
    assert opened.pixels.attrs["units"] == "1"
    assert opened.pixels.dims == ("time", "band", "y", "x")
    assert opened.spatial_ref.attrs["grid_mapping_name"] == "transverse_mercator"
    assert opened.x.attrs["standard_name"] == "projection_x_coordinate"
    assert opened.odc.geobox == plan.box
    bounds = opened.time_bounds.values.astype("datetime64[D]")
    assert str(bounds[1, 0]) == "2023-04-01"
    assert str(bounds[1, 1]) == "2023-05-01"
    assert bounds[1, 0] <= opened.time.values[1].astype("datetime64[D]") < bounds[1, 1]
    attributes = zarr.open_group(cube.path, mode="r", path=KEY).attrs
    assert attributes["spatial:transform"] == list(plan.box.affine)[:6]
    assert attributes["proj:code"] == f"EPSG:{plan.box.crs.epsg}"
    assert {each["name"] for each in attributes["zarr_conventions"]} == {"proj", "spatial"}


def test_a_lazy_cube_holds_nothing_and_computes_the_same(cube, planned, tiny_archive):
    _, plans = planned
    tree = lazy_cube(str(tiny_archive), plans)
    assert set(tree.children) == set(cube.specs)
    for key in cube.specs:
        assert tree[key].pixels.chunks is not None
        made = cube.tree()[key]
        np.testing.assert_array_equal(tree[key].pixels.values, made.pixels.values)
        np.testing.assert_array_equal(tree[key]["count"].values, made["count"].values)
        assert (tree[key].time.values == made.time.values).all()


def test_netcdf_holds_the_same(cube, tick, tmp_path):
    made = export_netcdf(cube, tmp_path, tick)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(p.name for p in made)
    with xr.open_dataset(tmp_path / f"{KEY}.nc", engine="h5netcdf", decode_coords="all") as opened:
        np.testing.assert_array_equal(opened.pixels.values, cube.tree()[KEY].pixels.values)
        assert opened.attrs["Conventions"].startswith("CF-")
        assert opened.odc.geobox.crs.epsg == cube.tree()[KEY].to_dataset().odc.geobox.crs.epsg
        assert list(opened.band.values) == list(cube.specs[KEY].bands)


def test_cogs_hold_the_same(cube, planned, tick, tmp_path):
    _, plans = planned
    box = next(plan for plan in plans if plan.spec.key == KEY).box
    made = export_cogs(cube, tmp_path, tick)
    assert len(made) == sum(len(spec.dates) for spec in cube.specs.values())
    pixels = cube.tree()[KEY].pixels.values
    for step, label in enumerate(cube.specs[KEY].dates):
        with rasterio.open(tmp_path / f"{KEY}_{label}.tif") as file:
            assert file.crs.to_epsg() == box.crs.epsg
            assert file.transform == box.affine
            assert file.descriptions == cube.specs[KEY].bands
            assert np.isnan(file.nodata)
            np.testing.assert_array_equal(file.read(), pixels[step])


def _bytes_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_threads_makes_the_same_bytes(
    count, cube, planned, tiny_archive, tick, tmp_path
):
    area, plans = planned
    shape = Shape2d(*area.box.shape)
    build_cube(str(tiny_archive), plans, shape, tmp_path, tick, Threads(count))
    assert _bytes_of(tmp_path / "cube.zarr") == _bytes_of(cube.path)


def test_small_tiles_make_the_same_pixels(cube, planned, tiny_archive, tick, tmp_path, monkeypatch):
    """Tiles and pieces of tiles leave no trace."""
    monkeypatch.setattr("earthloom.cube.build.TILE", 48)
    monkeypatch.setattr("earthloom.cube.build.STACK_BYTES", 1)
    area, plans = planned
    shape = Shape2d(*area.box.shape)
    build_cube(str(tiny_archive), plans, shape, tmp_path, tick)
    other = open_cube(tmp_path / "cube.zarr", shape)
    whole = Window(0, 0, shape)
    for key, layer in cube.window(whole).items():
        # The elevation comes from another CRS, whose transformation GDAL approximates.
        exact = 1e-4 if key.startswith("cop-dem") else 0
        np.testing.assert_allclose(other.window(whole)[key].pixels, layer.pixels, rtol=exact)
        np.testing.assert_array_equal(other.counts(key), cube.counts(key))


@pytest.fixture(scope="module")
def dask_cluster():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_cluster_makes_the_same_bytes(dask_cluster, cube, planned, tiny_archive, tick, tmp_path):
    area, plans = planned
    workers = Cluster(dask_cluster.scheduler_address)
    build_cube(str(tiny_archive), plans, Shape2d(*area.box.shape), tmp_path, tick, workers)
    assert _bytes_of(tmp_path / "cube.zarr") == _bytes_of(cube.path)


class _Fragile(CubeWork):
    """Work on which the process that gets the first unit dies, once."""

    def do(self, unit):
        mark = self.path.parent / "died"
        if not mark.exists() and multiprocessing.parent_process() is not None:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().do(unit)


def test_a_worker_that_dies_loses_nothing(
    dask_cluster, cube, planned, tiny_archive, tick, tmp_path, monkeypatch
):
    monkeypatch.setattr("earthloom.cube.build.CubeWork", _Fragile)
    area, plans = planned
    folder = tmp_path / "built"
    folder.mkdir()
    workers = Cluster(dask_cluster.scheduler_address)
    build_cube(str(tiny_archive), plans, Shape2d(*area.box.shape), folder, tick, workers)
    assert (folder / "died").exists()
    assert _bytes_of(folder / "cube.zarr") == _bytes_of(cube.path)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("earthloom.workers.PATIENCE", 1)
    with pytest.raises(StageError, match=r"tcp://127\.0\.0\.1:9"):
        list(Cluster("tcp://127.0.0.1:9").run(len, ["a"]))
