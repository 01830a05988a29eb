"""Maps of numbers with intervals: biomass of a simulated place, by a small U-Net of quantiles."""

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pytest
import rasterio
import torch
from odc.geo.geobox import GeoBox
from rio_cogeo import cog_validate

from earthloom.cube import LayerPlan, Step, open_cube
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.encoders import Statistics
from earthloom.encoders.unet import UNet
from earthloom.errors import ContractError
from earthloom.fit import load_model, save_model
from earthloom.fit.intervals import with_held_out_intervals
from earthloom.fit.model import Member, Model
from earthloom.grid import Area
from earthloom.maps import ITEM
from earthloom.maps.collection import Publication, write_collection
from earthloom.maps.make import MapInputs, MapSettings, make_map
from earthloom.maps.outputs import outputs_of
from earthloom.sample import Chip, LayerSpec, Shape2d, Window
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed
from earthloom.sample.target import PixelValues
from earthloom.sensors import load_sensor
from earthloom.tasks.counts import CountTask
from earthloom.tasks.heads import ConvHead
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.tasks.value_criteria import Huber, Quantiles
from earthloom.tasks.value_scale import Scale
from earthloom.workers import Threads
from earthloom.world import Shape, WorldSpec, make_world, observe

DAY, DAY_OF_YEAR = date(2023, 6, 29), 180
BANDS = ("B03", "B04", "B08")
ROWS, COLS = 104, 132


def _spec():
    sensor = load_sensor("sentinel-2-l2a")
    wavelengths = tuple(sensor.band(band).wavelength_nm for band in BANDS)
    return LayerSpec(sensor.name, 10, BANDS, "1", ("2023-06",), wavelengths)


SPEC = _spec()


@dataclass(frozen=True)
class Place:
    """A simulated place: its cube, its biomass in t/ha, chips of it."""

    area: Area
    cube: object
    truth: np.ndarray

    def chips(self, size=32):
        """Chips side by side; of every other pixel the biomass is not known."""
        for row in range(0, ROWS - size + 1, size):
            for col in range(0, COLS - size + 1, size):
                values = self.truth[row : row + size, col : col + size].copy()
                values[::2] = np.nan
                yield Chip(
                    f"{row}-{col}",
                    Shape2d(size, size),
                    self.cube.window(Window(row, col, Shape2d(size, size))),
                    target=PixelValues(values, "t/ha"),
                )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    world = make_world(WorldSpec(seed=11, shape=Shape(ROWS, COLS)))
    sky = world.sky(DAY_OF_YEAR, cover=0.0)
    image = observe(world.reflectance(DAY_OF_YEAR, BANDS), BANDS, sky).astype(np.float32)
    count = np.ones((ROWS, COLS), np.uint8)
    # A hole, and a corner of which whole windows were not seen.
    count[40:47, 60:80] = 0
    count[70:, :40] = 0
    image[:, count == 0] = np.nan
    folder = tmp_path_factory.mktemp("place")
    box = GeoBox((ROWS, COLS), rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")
    steps = (Step("2023-06", DAY, DAY, ()),)
    plan = LayerPlan(SPEC, load_sensor(SPEC.sensor), box, "median", steps)
    writer = CubeWriter(folder / "cube.zarr", [plan], 2 * COLS)
    write_tile(folder / "cube.zarr", SPEC.key, 0, Window(0, 0, Shape2d(ROWS, COLS)), image, count)
    writer.finish()
    cube = open_cube(folder / "cube.zarr", Shape2d(ROWS, COLS))
    truth = world.biomass(DAY_OF_YEAR).astype(np.float32)
    return Place(Area("here", box, None), cube, truth)


def _fitted(place, task, steps=110):
    """A model of a place's chips, by gradient descent."""
    samples = Listed(list(place.chips()))
    task = task.fitted(samples)
    torch.manual_seed(0)
    statistics = {SPEC.key: Statistics((0.1, 0.1, 0.3), (0.1, 0.1, 0.2))}
    encoder = UNet((SPEC,), statistics, width=8, levels=1, norm="batch")
    head = ConvHead(encoder.channels, task.outputs)
    both = torch.nn.ModuleList([encoder, head])
    batch, optimiser = collate(samples.chips), torch.optim.Adam(both.parameters(), 0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        task.loss(head, encoder(batch), batch).backward()
        optimiser.step()
    return Model((Member(encoder.eval(), head.eval()),), task, None, {})


@pytest.fixture(scope="module")
def model(place):
    task = PixelValueTask("t/ha", "biomass", Quantiles(), scale=Scale("log1p"))
    return _fitted(place, task)


def _inputs(place, model):
    return MapInputs("here-1", place.area, place.cube, model, None, (DAY, DAY), ["s"], {})


def _quiet(done, total, detail=""):
    assert 0 < done <= total


def _read(path):
    with rasterio.open(path) as source:
        return source.read()


def _all_at_once(place, model):
    """(B, P, H, W): the model over the whole place."""
    shape = Shape2d(ROWS, COLS)
    chip = Chip("all", shape, place.cube.window(Window(0, 0, shape)))
    return model.answer(collate([chip]))[0].numpy()


SETTINGS = MapSettings(window=32, overlap=0.25, part=60)


@pytest.fixture(scope="module")
def made(place, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    make_map(_inputs(place, model), SETTINGS, folder, _quiet)
    return folder


def test_the_map_tells_the_truth_within_its_interval(place, made):
    value, low, high = _read(made / "value.tif")
    seen = ~np.isnan(value)
    np.testing.assert_array_equal(seen, _seen(place))
    assert (low[seen] <= value[seen]).all()
    assert (value[seen] <= high[seen]).all()
    assert low[seen].min() >= 0
    truth = place.truth
    assert np.corrcoef(value[seen], truth[seen])[0, 1] > 0.7
    assert np.mean((low <= truth) & (truth <= high), where=seen) > 0.75


def _seen(place):
    (layer,) = place.cube.window(Window(0, 0, Shape2d(ROWS, COLS))).values()
    return layer.valid.any(axis=0)


@pytest.mark.parametrize("part", [40, 1000])
def test_an_exact_map_is_what_the_model_says_of_the_whole(place, model, tmp_path, part):
    settings = replace(SETTINGS, exact=True, part=part)
    make_map(_inputs(place, model), settings, tmp_path, _quiet)
    found, wanted = _read(tmp_path / "value.tif"), _all_at_once(place, model)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


@dataclass(frozen=True)
class Backwards:
    """Does the last unit first, and every unit twice."""

    def run(self, work, units):
        for unit in reversed(units):
            work(unit)
            yield unit, work(unit)


@pytest.mark.parametrize("workers", [Backwards(), Threads(3)], ids=["backwards", "threads"])
def test_bytes_hang_on_neither_order_nor_workers(place, model, made, tmp_path, workers):
    make_map(_inputs(place, model), SETTINGS, tmp_path, _quiet, workers)
    for path in sorted(made.iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    assert sorted(p.name for p in made.iterdir()) == ["item.json", "value.qml", "value.tif"]


def test_the_file_is_a_cog_that_says_units_and_statistics(made):
    assert cog_validate(made / "value.tif", strict=True)[0]
    with rasterio.open(made / "value.tif") as source:
        assert source.descriptions == ("value", "low", "high")
        assert source.units == ("t/ha",) * 3
        assert source.dtypes == ("float32",) * 3
        assert np.isnan(source.nodata)
        for number, band in enumerate(source.read().astype(np.float64), start=1):
            tags = {k: float(v) for k, v in source.tags(number).items() if "STATISTICS" in k}
            wanted = {
                "STATISTICS_MINIMUM": np.nanmin(band),
                "STATISTICS_MAXIMUM": np.nanmax(band),
                "STATISTICS_MEAN": np.nanmean(band),
                "STATISTICS_STDDEV": np.nanstd(band),
                "STATISTICS_VALID_PERCENT": 100 * (~np.isnan(band)).mean(),
            }
            assert tags == pytest.approx(wanted, rel=1e-6)


def test_the_item_says_bands_units_and_statistics(place, model, made, tmp_path):
    item = json.loads((made / ITEM).read_text("utf-8"))
    asset = item["assets"]["value"]
    assert asset["data_type"] == "float32"
    assert asset["nodata"] == "nan"
    assert [band["name"] for band in asset["bands"]] == ["value", "low", "high"]
    with rasterio.open(made / "value.tif") as source:
        for number, band in enumerate(asset["bands"], start=1):
            assert band["unit"] == "t/ha"
            assert band["statistics"]["mean"] == float(source.tags(number)["STATISTICS_MEAN"])
    assert item["properties"]["title"] == "Map of biomass in t/ha"
    assert not any("classification" in each for each in item["stac_extensions"])
    write_collection(tmp_path, "tiny", {"here": made}, model.task, Publication())
    collection = json.loads((tmp_path / "collection.json").read_text("utf-8"))
    assert [b["unit"] for b in collection["item_assets"]["value"]["bands"]] == ["t/ha"] * 3
    assert "classification:classes" not in collection["summaries"]


def test_the_style_spans_what_the_map_holds(made):
    shader = ET.parse(made / "value.qml").getroot().find(".//colorrampshader")
    low, high = float(shader.get("minimumValue")), float(shader.get("maximumValue"))
    value = _read(made / "value.tif")[0]
    assert np.nanmin(value) * 0.999 <= low < high <= np.nanmax(value) * 1.001
    assert shader.findall("item")[0].get("label").endswith("t/ha")


def test_a_saved_model_says_the_same(place, model, tmp_path):
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.task == model.task
    np.testing.assert_array_equal(_all_at_once(place, again), _all_at_once(place, model))


def test_intervals_are_corrected_by_held_out_chips(place, model):
    chips = list(place.chips(size=26))
    corrected = with_held_out_intervals(model, Listed(chips[::2]))
    score = corrected.task.score()
    for chip in chips[::2]:
        score.update(corrected.answer(collate([chip])), collate([chip]))
    # No more than one of their truths above the level.
    assert 0.9 <= score.compute()["coverage"] < 0.902
    classes = replace(model, task=CountTask((1,), ("tree",)))
    with pytest.raises(ContractError, match="not for 'counts'"):
        with_held_out_intervals(classes, Listed(chips))


def test_members_are_averaged(place, model):
    head = ConvHead(8, 3).eval()
    other = Member(model.members[0].encoder, head)
    one, two = replace(model, members=(other,)), replace(model, members=(*model.members, other))
    wanted = (_all_at_once(place, model) + _all_at_once(place, one)) / 2
    np.testing.assert_allclose(_all_at_once(place, two), wanted, rtol=1e-5)


def test_without_an_interval_a_map_has_the_value_alone(place, tmp_path):
    model = _fitted(place, PixelValueTask("t/ha", criterion=Huber()), steps=3)
    make_map(_inputs(place, model), SETTINGS, tmp_path, _quiet)
    value = _read(tmp_path / "value.tif")
    assert value.shape == (1, ROWS, COLS)
    np.testing.assert_array_equal(~np.isnan(value[0]), _seen(place))


def test_densities_are_maps_too(place, model, tmp_path):
    task = CountTask((1, 2), ("tree", "ship"), rates=(0.01, 0.02))
    member = Member(model.members[0].encoder, ConvHead(8, 2).eval())
    counting = Model((member,), task, None, {})
    make_map(_inputs(place, counting), replace(SETTINGS, exact=True), tmp_path, _quiet)
    density = _read(tmp_path / "density.tif")
    np.testing.assert_allclose(density, _all_at_once(place, counting), rtol=1e-4, atol=1e-7)
    with rasterio.open(tmp_path / "density.tif") as source:
        assert source.descriptions == ("tree", "ship")
        assert source.units == ("1/pixel",) * 2


def test_a_task_without_pixels_has_no_map(model):
    with pytest.raises(ContractError, match="'scene-value' says nothing of pixels"):
        outputs_of(SceneValueTask("t"))
    with pytest.raises(ContractError, match="'pixel-value' tells no classes"):
        _ = model.classes
