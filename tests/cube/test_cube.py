"""A whole cube of the simulated archive, against its files read by hand."""

import json
from datetime import date

import numpy as np
import pytest
import rasterio
import zarr
from odc.geo.geobox import GeoBox
from rasterio.windows import from_bounds

from earthloom.cube import open_cube, plan_layers
from earthloom.cube.plan import common_multiple, layer_factors
from earthloom.errors import DataError
from earthloom.project import load_project
from earthloom.sample import Shape2d, Window
from earthloom.sensors import load_sensor

INVALID = (0, 1, 3, 8, 9, 10, 11)
"""Of the scene classification: no data, defective, cloud shadow, clouds, snow."""


def _by_hand(file, box: GeoBox):
    """What the file holds on a part of its own grid; NaN outside of it."""
    with rasterio.open(file) as source:
        assert box.crs == source.crs
        window = from_bounds(*box.boundingbox.bbox, source.transform)
        assert (window.height, window.width) == tuple(box.shape)
        return source.read(1, window=window, boundless=True, fill_value=source.nodata)


def _item(archive, collection, day):
    (file,) = (archive / collection).glob(f"*_{day}T*/*.json")
    return file.parent, json.loads(file.read_text())


@pytest.mark.parametrize(
    ("day", "step", "offset"),
    [("20230314", 0, 0.0), ("20230408", 1, -0.1), ("20230702", 4, -0.1)],
    ids=["before baseline 04", "after it", "summer"],
)
@pytest.mark.parametrize(("key", "band", "factor"), [("10m", "B04", 1), ("20m", "B11", 2)])
def test_reflectance_is_what_the_files_hold(
    day, step, offset, key, band, factor, cube, planned, tiny_archive
):
    """Months with one scene: its stored numbers, scaled and shifted, where the sky was clear."""
    _, plans = planned
    plan = next(plan for plan in plans if plan.spec.key == f"sentinel-2-l2a_{key}")
    folder, item = _item(tiny_archive, "sentinel-2-l2a", day)
    assert (item["properties"]["s2:processing_baseline"] >= "04.00") == (offset != 0)
    stored = _by_hand(folder / f"{band}.tif", plan.box).astype(np.float64)
    half = GeoBox(
        (plan.box.shape.y * factor // 2, plan.box.shape.x * factor // 2),
        plan.box.affine * plan.box.affine.scale(2 / factor),
        plan.box.crs,
    )
    classes = _by_hand(folder / "SCL.tif", half).repeat(2 // factor, 0).repeat(2 // factor, 1)
    others = [b for b in plan.spec.bands if b != band]
    seen = ~np.isin(classes, INVALID) & (stored != 0)
    for other in others:
        seen &= _by_hand(folder / f"{other}.tif", plan.box) != 0
    wanted = np.where(seen, stored * 0.0001 + offset, np.nan)
    layer = cube.window(Window(0, 0, cube.shape))[plan.spec.key]
    found = layer.pixels[step, plan.spec.bands.index(band)]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(layer.valid[step], seen)
    np.testing.assert_array_equal(cube.counts(plan.spec.key)[step], seen.astype(np.uint8))
    assert seen.mean() > 0


def test_backscatter_is_the_mean_of_the_month(cube, planned, tiny_archive):
    _, plans = planned
    plan = next(plan for plan in plans if plan.spec.sensor == "sentinel-1-rtc")
    assert plan.method == "mean"
    assert plan.spec.dates[0] == "2023-03"
    files = sorted((tiny_archive / "sentinel-1-rtc").glob("*_202303??T*_*/vh.tif"))
    files = [file for file in files if file.parent.name[17:25] >= "20230310"]
    assert len(files) == len(plan.steps[0].scenes) >= 1
    wanted = np.mean([_by_hand(file, plan.box) for file in files], axis=0)
    layer = cube.window(Window(0, 0, cube.shape))[plan.spec.key]
    found = layer.pixels[0, plan.spec.bands.index("vh")]
    both = layer.valid[0]
    np.testing.assert_allclose(found[both], wanted[both], rtol=1e-5)
    assert both.mean() > 0.5


def test_elevation_is_one_date_on_the_base_grid(cube):
    layer = cube.window(Window(0, 0, cube.shape))["cop-dem-glo-30_10m"]
    assert layer.spec.dates == ("static",)
    assert layer.valid.all()
    assert 0 < layer.pixels.mean() < 3000


def test_months_without_scenes_are_nan(cube):
    layer = cube.window(Window(0, 0, cube.shape))["sentinel-2-l2a_10m"]
    june = layer.spec.dates.index("2023-06")
    assert not layer.valid[june].any()
    assert np.isnan(layer.pixels[june]).all()


def test_windows_are_parts_of_the_whole_and_nothing_beyond_it(cube):
    whole = cube.window(Window(0, 0, cube.shape))
    part = cube.window(Window(20, 40, Shape2d(30, 50)))
    for key, layer in part.items():
        f = layer.spec.factor
        rows, cols = slice(20 // f, 50 // f), slice(40 // f, 90 // f)
        np.testing.assert_array_equal(layer.pixels, whole[key].pixels[..., rows, cols])
    beyond = cube.window(Window(-20, cube.shape.cols - 20, Shape2d(40, 40)))
    for key, layer in beyond.items():
        f = layer.spec.factor
        assert not layer.valid[:, : 20 // f].any()
        assert not layer.valid[..., 20 // f :].any()
        corner = whole[key].valid[:, : 20 // f, -(20 // f) :]
        np.testing.assert_array_equal(layer.valid[:, 20 // f :, : 20 // f], corner)


def test_layers_differ_in_grid_and_say_so(cube, planned, project):
    area, plans = planned
    assert {plan.spec.key: plan.spec.factor for plan in plans} == {
        "sentinel-2-l2a_10m": 1,
        "sentinel-2-l2a_20m": 2,
        "sentinel-1-rtc_10m": 1,
        "cop-dem-glo-30_10m": 1,
    }
    assert layer_factors(project, 10) == [1, 2]
    assert common_multiple(project, 10) == 2
    assert all(side % 2 == 0 for side in area.box.shape)


def test_periods_are_cut_to_the_dates(planned):
    _, plans = planned
    steps = plans[0].steps
    assert [step.label for step in steps] == [f"2023-{month:02d}" for month in range(3, 9)]
    assert (steps[0].start, steps[-1].end) == (date(2023, 3, 10), date(2023, 8, 10))
    for step in steps:
        assert all(step.start <= scene.day <= step.end for scene in step.scenes)


def test_xarray_sees_the_same_with_names_and_times(cube):
    tree = cube.tree()
    whole = cube.window(Window(0, 0, cube.shape))
    for key, spec in cube.specs.items():
        dataset = tree[key].to_dataset()
        assert dataset.pixels.dims == ("time", "band", "y", "x")
        assert list(dataset.band.values) == list(spec.bands)
        assert dataset.pixels.attrs["units"] == spec.unit
        assert dataset.time_bounds.shape == (len(spec.dates), 2)
        np.testing.assert_array_equal(dataset.pixels.values, whole[key].pixels)
        np.testing.assert_array_equal(dataset.valid.values, whole[key].valid)


def test_thumbnail_is_the_mean_of_what_was_seen(cube):
    whole = cube.window(Window(0, 0, cube.shape))["sentinel-1-rtc_10m"]
    small = cube.thumbnail("sentinel-1-rtc_10m", 0, ["vv"], 20)
    assert max(small.shape) <= 20
    step = -(-max(cube.shape) // 20)
    at = (slice(5 * step, 6 * step), slice(15 * step, 16 * step))
    assert whole.valid[0][at].any()
    np.testing.assert_allclose(small[0, 5, 15], np.nanmean(whole.pixels[0, 0][at]), rtol=1e-5)


def test_cube_that_is_not_whole_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a cube"):
        open_cube(tmp_path / "none.zarr", Shape2d(1, 1))
    zarr.open_group(tmp_path / "half.zarr", mode="w")
    with pytest.raises(DataError, match="is not whole"):
        open_cube(tmp_path / "half.zarr", Shape2d(1, 1))


@pytest.mark.parametrize(("every", "count"), [("date", 5), ("period", 1), ("month", 6)])
def test_time_steps(every, count, project, planned):
    area, plans = planned
    scenes = tuple(scene for step in plans[0].steps for scene in step.scenes)
    sensors = [{"name": "sentinel-2-l2a", "bands": ["B04"], "every": every}]
    other = load_project(project.file, sensors=sensors)
    (plan,) = plan_layers(other, area.box, scenes)
    assert len(plan.steps) == count == len(plan.spec.dates)
    assert sorted(s.id for step in plan.steps for s in step.scenes) == sorted(s.id for s in scenes)


def test_compositing_needs_dates(project, planned):
    area, plans = planned
    scenes = plans[0].steps[0].scenes
    with pytest.raises(DataError, match="needs 'dates'"):
        plan_layers(load_project(project.file, dates=None), area.box, scenes)


def test_invalid_values_are_those_of_the_table():
    quality = load_sensor("sentinel-2-l2a").quality
    stored = np.arange(256)
    assert set(stored[quality.where(stored, quality.hides)]) == set(INVALID)
