"""A map of a small area by a small network, from a cube on disk to its files."""

import shutil
from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest
import rasterio
import shapely
import torch
from odc.geo.geobox import GeoBox
from rio_cogeo import cog_validate

from earthloom.cube import LayerPlan, Step, open_cube
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.encoders import Statistics
from earthloom.encoders.timm_backbone import TimmEncoder
from earthloom.encoders.unet import UNet
from earthloom.errors import ContractError
from earthloom.fit.model import Member, Model
from earthloom.grid import Area, coarser
from earthloom.maps import make
from earthloom.maps.make import (
    MapInputs,
    MapSettings,
    make_features,
    make_map,
    part_for,
    read_summary,
    write_rasters,
)
from earthloom.maps.outputs import Values, class_outputs
from earthloom.sample import Chip, LayerSpec, Shape2d, Window
from earthloom.sample.batch import collate
from earthloom.sensors import load_sensor
from earthloom.tasks import PixelClasses
from earthloom.tasks.heads import ConvHead
from earthloom.workers import Cluster, Threads

DAY = date(2023, 6, 1)
TASK = PixelClasses((1, 2, 5), ("a", "b", "c"), ((9, 8, 7), (1, 1, 1), (2, 2, 2)))
FILES = ("map.tif", "probability.tif", "item.json", "map.tif.aux.xml")


def _spec(gsd, bands):
    sensor = load_sensor("sentinel-2-l2a")
    wavelengths = tuple(sensor.band(band).wavelength_nm for band in bands)
    return LayerSpec(sensor.name, gsd, bands, "1", ("2023-06",), wavelengths, int(gsd // 10))


FINE, COARSE = LAYERS = _spec(10, ("B04", "B08")), _spec(20, ("B11",))


def _cube(folder, rows, cols):
    """Two layers of noise, with holes; rows and columns are even."""
    rng = np.random.default_rng([rows, cols])
    box = GeoBox((rows, cols), rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")
    sensor, steps = load_sensor("sentinel-2-l2a"), (Step("2023-06", DAY, DAY, ()),)
    specs = (FINE, COARSE)
    plans = [LayerPlan(s, sensor, coarser(box, s.factor), "median", steps) for s in specs]
    writer = CubeWriter(folder / "cube.zarr", plans, 2 * max(rows, cols))
    for plan in plans:
        shape = Shape2d(*plan.box.shape)
        image = rng.random((len(plan.spec.bands), *shape)).astype(np.float32)
        count = (rng.random(shape) > 0.05).astype(np.uint8)
        image[:, count == 0] = np.nan
        write_tile(folder / "cube.zarr", plan.spec.key, 0, Window(0, 0, shape), image, count)
    writer.finish()
    return box, open_cube(folder / "cube.zarr", Shape2d(rows, cols))


def _model(norm="batch", levels=2):
    torch.manual_seed(0)
    statistics = {
        s.key: Statistics((0.5,) * len(s.bands), (0.3,) * len(s.bands)) for s in (FINE, COARSE)
    }
    encoder = UNet((FINE, COARSE), statistics, width=8, levels=levels, norm=norm)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    head = ConvHead(encoder.channels, len(TASK.codes))
    torch.nn.init.normal_(head.layer.weight)
    return Model((Member(encoder.eval(), head.eval()),), TASK, None, {})


def _inputs(folder, rows, cols, model, outline=None):
    folder.mkdir(exist_ok=True)
    box, cube = _cube(folder, rows, cols)
    area = Area("here", box, outline)
    return MapInputs("here-1", area, cube, model, None, (DAY, DAY), ["s"], {})


def _quiet(done, total, detail=""):
    assert 0 < done <= total


def _read(path):
    with rasterio.open(path) as source:
        return source.read()


def _bytes(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def _all_at_once(inputs):
    """(K, H, W): the model over the whole area."""
    shape = inputs.cube.shape
    chip = Chip("all", shape, inputs.cube.window(Window(0, 0, shape)))
    return inputs.model.probabilities(collate([chip]))[0].numpy()


@pytest.mark.parametrize("rows", [2, 30, 74, 200])
@pytest.mark.parametrize("cols", [6, 146])
def test_an_exact_map_is_what_the_model_says_of_the_whole(tmp_path, rows, cols):
    inputs = _inputs(tmp_path / "cube", rows, cols, _model())
    settings = MapSettings(window=16, overlap=0.1, exact=True, part=60)
    write_rasters(inputs, settings, [Values(TASK.names)], tmp_path, _quiet)
    found, wanted = _read(tmp_path / "value.tif"), _all_at_once(inputs)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_a_map_is_what_is_scored_where_the_encoder_is_coarser(tmp_path):
    torch.manual_seed(1)
    statistics = {s.key: Statistics((0.5,) * len(s.bands), (0.3,) * len(s.bands)) for s in LAYERS}
    encoder = TimmEncoder(LAYERS, statistics, "test_resnet").eval()
    head = ConvHead(encoder.channels, len(TASK.codes)).eval()
    torch.nn.init.normal_(head.layer.weight)
    inputs = _inputs(tmp_path / "cube", 64, 96, Model((Member(encoder, head),), TASK, None, {}))
    settings = MapSettings(window=96, overlap=0.0)
    write_rasters(inputs, settings, [Values(TASK.names)], tmp_path, _quiet)
    shape = inputs.cube.shape
    batch = collate([Chip("all", shape, inputs.cube.window(Window(0, 0, shape)))])
    with torch.inference_mode():
        features = encoder(batch)
        wanted = TASK.answer(head, features)[0].numpy()
        coarse = features.on_base_grid(head(features.pixels).softmax(dim=1))[0].numpy()
    assert features.stride > 1
    found = _read(tmp_path / "value.tif")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    # The mean of probabilities would be something else.
    assert np.nanmax(np.abs(coarse - wanted)) > 0.01


def test_a_map_that_is_not_exact_differs_from_the_whole(tmp_path):
    inputs = _inputs(tmp_path / "cube", 74, 146, _model())
    settings = MapSettings(window=16, overlap=0.25, part=60)
    write_rasters(inputs, settings, [Values(TASK.names)], tmp_path, _quiet)
    far = np.nanmax(np.abs(_read(tmp_path / "value.tif") - _all_at_once(inputs)))
    assert 1e-3 < far < 1


def test_a_network_that_is_normalised_over_its_window_cannot_be_exact(tmp_path):
    inputs = _inputs(tmp_path / "cube", 30, 30, _model("group"))
    with pytest.raises(ContractError, match="norm: batch"):
        make_map(inputs, MapSettings(16, 0.25, exact=True), tmp_path, _quiet)
    make_map(inputs, MapSettings(16, 0.25), tmp_path, _quiet)
    assert _read(tmp_path / "map.tif").any()


def test_files_are_cogs_that_say_what_they_hold(tmp_path):
    inputs = _inputs(tmp_path / "cube", 600, 300, _model(levels=1))
    make_map(inputs, MapSettings(64, 0.25), tmp_path, _quiet)
    for name in ("map.tif", "probability.tif"):
        assert cog_validate(tmp_path / name, strict=True)[0]
    wanted = _all_at_once(inputs)
    with rasterio.open(tmp_path / "map.tif") as source:
        assert source.nodata == 0
        assert source.colormap(1)[5] == (2, 2, 2, 255)
        assert source.overviews(1)
        assert source.transform == inputs.area.box.affine
        codes = source.read(1)
    with rasterio.open(tmp_path / "probability.tif") as source:
        assert source.nodata == 255
        assert source.scales == (1 / 250,) * 3
        assert source.descriptions == TASK.names
        shares = source.read().astype(np.float32) / 250
    seen = ~np.isnan(wanted[0])
    np.testing.assert_array_equal(codes != 0, seen)
    assert np.abs(shares - wanted)[:, seen].mean() < 0.01
    first = np.asarray(TASK.codes)[shares.argmax(axis=0)]
    sure = np.sort(shares, axis=0)[-1] - np.sort(shares, axis=0)[-2] > 0.01
    np.testing.assert_array_equal(codes[seen & sure], first[seen & sure])
    assert read_summary(tmp_path / "map.tif")[0] == (~seen).sum()
    assert not (tmp_path / "work").exists()
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == ["map.tif", "probability.tif"]


@dataclass(frozen=True)
class Backwards:
    """Does the last unit first, and every unit twice."""

    def run(self, work, units):
        for unit in reversed(units):
            work(unit)
            yield unit, work(unit)


@dataclass(frozen=True)
class Killed:
    """Dies after some units."""

    after: int

    def run(self, work, units):
        for done, unit in enumerate(units):
            if done == self.after:
                raise KeyboardInterrupt
            yield unit, work(unit)


def test_bytes_hang_on_neither_workers_nor_order_nor_interruptions(tmp_path, monkeypatch):
    # Nine bytes a pixel, so parts of 40 pixels.
    monkeypatch.setattr(make, "PART_BYTES", 512 * 9 * 40)
    box = shapely.box(14.98, 45.13, 15.018, 45.151)
    inputs = _inputs(tmp_path / "cube", 120, 146, _model(), outline=box)

    def made(name, workers=None, folder=None):
        folder = folder or tmp_path / name
        folder.mkdir(exist_ok=True)
        make_map(inputs, MapSettings(16, 0.25), folder, _quiet, workers)
        return _bytes(folder)

    plain = made("plain")
    assert 0 < sum(read_summary(tmp_path / "plain" / "map.tif").values()) == 120 * 146
    assert made("backwards", Backwards()) == plain
    assert made("threads", Threads(3)) == plain
    for after in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            made("killed", Killed(after))
    assert len(list((tmp_path / "killed" / "work" / "probabilities.once").glob("*.npz"))) == 4
    assert made("killed") == plain


def test_the_outline_cuts_the_map(tmp_path):
    inputs = _inputs(tmp_path / "cube", 60, 80, _model())
    west, south, east, north = inputs.area.box.geographic_extent.boundingbox.bbox
    half = shapely.box(west - 1, south - 1, (west + east) / 2, north + 1)
    cut = MapInputs(**{**vars(inputs), "area": Area("here", inputs.area.box, half)})
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder, each in ((whole, inputs), (part, cut)):
        folder.mkdir()
        make_map(each, MapSettings(16, 0.25), folder, _quiet)
    found, wanted = _read(part / "map.tif")[0], _read(whole / "map.tif")[0]
    np.testing.assert_array_equal(found[:, :38], wanted[:, :38])
    assert not found[:, 43:].any()


@pytest.mark.parametrize("shape", [(2, 2), (2, 40), (40, 2)])
def test_an_area_may_be_smaller_than_a_window(tmp_path, shape):
    inputs = _inputs(tmp_path / "cube", *shape, _model("group"))
    make_map(inputs, MapSettings(256, 0.25), tmp_path, _quiet)
    assert _read(tmp_path / "map.tif").shape == (1, *shape)


def test_an_area_may_be_one_pixel(tmp_path):
    """Of a cube that has no coarser layer."""
    inputs = _inputs(tmp_path / "cube", 2, 2, _model())
    torch.manual_seed(0)
    encoder = UNet((FINE,), {FINE.key: Statistics((0.5, 0.5), (0.3, 0.3))}, 8, 2)
    model = Model((Member(encoder.eval(), ConvHead(8, 3).eval()),), TASK, None, {})
    pixel = inputs.area.box[:1, :1]
    cube = open_cube(inputs.cube.path, Shape2d(1, 1))
    area = Area("here", pixel, None)
    one = MapInputs(**{**vars(inputs), "area": area, "cube": cube, "model": model})
    make_map(one, MapSettings(256, 0.25), tmp_path, _quiet)
    assert _read(tmp_path / "map.tif").shape == (1, 1, 1)
    assert _read(tmp_path / "map.tif")[0, 0, 0] in TASK.codes


@pytest.mark.parametrize("stored", ["int8", "float32"])
def test_features_are_those_of_the_encoder(tmp_path, stored):
    inputs = _inputs(tmp_path / "cube", 40, 44, _model())
    settings = MapSettings(64, 0.25)
    make_features(inputs, settings, tmp_path, _quiet, stored=stored)
    chip = Chip("all", inputs.cube.shape, inputs.cube.window(Window(0, 0, inputs.cube.shape)))
    with torch.inference_mode():
        wanted = inputs.model.members[0].encoder(collate([chip])).pixels[0].numpy()
    with rasterio.open(tmp_path / "features.tif") as source:
        assert source.dtypes == (stored,) * 8
        found, seen = source.read(), source.read_masks(1) > 0
    if stored == "int8":
        wanted = wanted / np.maximum(np.linalg.norm(wanted, axis=0), 1e-12) * 127
    np.testing.assert_allclose(
        found[:, seen], wanted[:, seen], atol=0.51 if stored == "int8" else 1e-5
    )


def test_a_part_is_smaller_where_a_pixel_takes_much_memory(tmp_path):
    _, cube = _cube(tmp_path, 2, 2)
    few = part_for(cube, class_outputs(TASK), 1536)
    many = part_for(cube, [Values(tuple(f"f{n}" for n in range(512)))], 1536)
    assert many < few == 1536
    assert many**2 * 512 * 4 <= make.PART_BYTES


def test_a_saved_model_is_used_from_where_it_is(tmp_path):
    from earthloom.fit import save_model

    model = _model()
    save_model(model, tmp_path / "model")
    inputs = _inputs(tmp_path / "cube", 30, 30, model)
    saved = MapInputs(**{**vars(inputs), "model_folder": tmp_path / "model"})
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, each in ((first, inputs), (second, saved)):
        folder.mkdir()
        make_map(each, MapSettings(16, 0.25), folder, _quiet)
    assert _bytes(first) == _bytes(second)
    shutil.rmtree(tmp_path / "model")


def test_a_cluster_makes_the_same_bytes(tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(make, "PART_BYTES", 512 * 9 * 40)
    inputs = _inputs(tmp_path / "cube", 90, 146, _model())
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    make_map(inputs, MapSettings(16, 0.25), here, _quiet)
    settings = {"processes": False, "dashboard_address": None, "threads_per_worker": 1}
    with LocalCluster(n_workers=2, **settings) as cluster:
        workers = Cluster(cluster.scheduler_address)
        make_map(inputs, MapSettings(16, 0.25), there, _quiet, workers)
    assert _bytes(here) == _bytes(there)
