"""Things of a cube on disk, by a detector that was trained and saved, as files that open again."""

import json
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from odc.geo.geobox import GeoBox
from torch import nn

from earthloom.cube import LayerPlan, Step, open_cube
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.encoders import Statistics
from earthloom.encoders.timm_backbone import TimmEncoder
from earthloom.encoders.unet import UNet
from earthloom.errors import ContractError
from earthloom.fit import save_model
from earthloom.fit.model import Member, Model
from earthloom.fit.training import Training
from earthloom.grid import Area
from earthloom.maps.make import MapInputs
from earthloom.maps.objects import ThingSettings, make_things
from earthloom.maps.objects_find import SavedFinder
from earthloom.sample import Chip, LayerSpec, Shape2d, Subset, Window
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed
from earthloom.sample.target import Boxes
from earthloom.sensors import load_sensor
from earthloom.tasks import PixelClasses
from earthloom.tasks.boxes import UprightBoxes
from earthloom.tasks.detect import detector_for
from earthloom.tasks.heads import ConvHead
from earthloom.workers import Threads

SENSOR = load_sensor("aerial-rgb")
BANDS = tuple(band.name for band in SENSOR.bands)
GSD = 0.5
DAY = date(2023, 6, 1)
SPEC = LayerSpec(
    SENSOR.name, GSD, BANDS, "DN", ("2023-06",), tuple(b.wavelength_nm for b in SENSOR.bands)
)
SHAPE = Shape2d(120, 140)
BOX = GeoBox(SHAPE, rasterio.Affine(GSD, 0, 5e5, 0, -GSD, 5e6), "EPSG:32633")
WINDOW = 64
NAMES = {4: "roof", 2: "pool"}
STEPS = 100
STATISTICS = {SPEC.key: Statistics((80.0,) * 3, (40.0,) * 3)}


def _scene(seed):
    """Red roofs and blue pools on dull ground: pixels (3, H, W), boxes (N, 4), codes (N,)."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(70, 8, (3, *SHAPE)).astype(np.float32)
    boxes, codes = [], []
    for _ in range(200):
        code = int(rng.choice(list(NAMES)))
        wide, high = rng.integers(14, 22, 2)
        left, top = rng.integers(0, SHAPE.cols - wide), rng.integers(0, SHAPE.rows - high)
        box = (left, top, left + wide, top + high)
        if any(shapely.box(*box).distance(shapely.box(*other)) < 6 for other in boxes):
            continue
        pixels[0 if code == 4 else 2, top : top + high, left : left + wide] += 120
        boxes.append(box)
        codes.append(code)
    return pixels, np.array(boxes, np.float32), np.array(codes, np.uint8)


def _cube(folder, pixels):
    """An aerial image as a cube, without one corner, where nothing was seen."""
    step = Step("2023-06", DAY, DAY, ())
    plan = LayerPlan(SPEC, SENSOR, BOX, "median", (step,))
    writer = CubeWriter(folder / "cube.zarr", [plan], 2 * max(SHAPE))
    count = np.ones(SHAPE, np.uint8)
    count[:20, :20] = 0
    seen = np.where(count == 0, np.nan, pixels).astype(np.float32)
    write_tile(folder / "cube.zarr", SPEC.key, 0, Window(0, 0, SHAPE), seen, count)
    writer.finish()
    return open_cube(folder / "cube.zarr", SHAPE)


def _chips(cube, boxes, codes, count=40):
    """Windows of the scene, some over its edges, with the boxes that they show at least half of."""
    rng, chips, shape = np.random.default_rng(1), [], Shape2d(WINDOW, WINDOW)
    for number in range(count):
        row, col = (int(rng.integers(-8, side - WINDOW + 8)) for side in SHAPE)
        here = boxes - np.array([col, row, col, row])
        left = np.clip(here, 0, WINDOW)
        inside = (left[:, 2:] - left[:, :2]).prod(1) >= (here[:, 2:] - here[:, :2]).prod(1) / 2
        target = Boxes.upright(left[inside], codes[inside])
        layers = cube.window(Window(row, col, shape))
        chips.append(Chip(str(number), shape, layers, target=target))
    return chips


@pytest.fixture(scope="module")
def scene():
    return _scene(0)


@pytest.fixture(scope="module")
def cube(scene, tmp_path_factory):
    return _cube(tmp_path_factory.mktemp("cube"), scene[0])


@pytest.fixture(scope="module")
def model(scene, cube):
    """A small detector that has learned the scene."""
    torch.manual_seed(0)
    samples = Listed(_chips(cube, *scene[1:]))
    task = UprightBoxes(tuple(NAMES), tuple(NAMES.values()), threshold=0.6, overlap=0.1)
    task = task.fitted(Subset(samples, range(len(samples))))
    encoder = TimmEncoder((SPEC,), STATISTICS, "test_resnet")
    head = detector_for(task, encoder, width=32)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    for step in range(STEPS):
        batch = collate([samples[(4 * step + at) % len(samples)] for at in (0, 1, 2, 3)])
        optimiser.zero_grad()
        task.loss(head, encoder(batch), batch).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    return Model((Member(encoder.eval(), head.eval()),), task, None, {})


def _inputs(cube, model, outline=None, folder=None):
    area = Area("here", BOX, outline)
    return MapInputs("here-1", area, cube, model, None, (DAY, DAY), ["s"], {}, None, folder)


def _quiet(done, total, detail=""):
    assert 0 < done <= total


SETTINGS = ThingSettings(window=WINDOW, overlap=32, formats=("parquet", "gpkg", "fgb"), part=70)


def _truth(boxes):
    """Boxes in the CRS, as an affine of our own."""
    left, top, right, bottom = boxes.astype(float).T * GSD
    return shapely.box(5e5 + left, 5e6 - bottom, 5e5 + right, 5e6 - top)


def _seen(boxes):
    """Boxes of which more than half was seen."""
    hidden = shapely.area(shapely.intersection(shapely.box(*boxes.T), shapely.box(0, 0, 20, 20)))
    return hidden / shapely.area(shapely.box(*boxes.T)) < 0.5


def test_things_are_mapped_once_each_and_open_in_every_format(tmp_path, scene, cube, model):
    _, boxes, codes = scene
    made = make_things(_inputs(cube, model), SETTINGS, tmp_path, _quiet)
    tables = [
        gpd.read_parquet(tmp_path / "things.parquet"),
        gpd.read_file(tmp_path / "things.gpkg"),
        gpd.read_file(tmp_path / "things.fgb").sort_values("id"),
    ]
    sure = _seen(boxes)
    truth, wanted = _truth(boxes[sure]), codes[sure]
    for table in tables:
        assert table.crs.to_epsg() == 32633
        assert len(table) == made.things
        found = table.geometry.to_numpy()
        # A detector after so few steps errs now and then; that none is lost or doubled by the
        # mapping itself is what the laws of test_objects.py are for.
        matches = _overlaps(found, truth) > 0.5
        assert (matches.sum(axis=0) == 1).mean() > 0.8, matches.sum(axis=0)
        assert matches.any(axis=1).mean() > 0.6
        assert (np.triu(_overlaps(found, found), 1) < 0.5).all()
        at, of = np.nonzero(matches)
        assert (table["code"].to_numpy()[at] == wanted[of]).mean() > 0.9
        assert [NAMES[code] for code in table["code"]] == list(table["name"])
        assert table["score"].between(0.6, 1).all()
    summary = json.loads((tmp_path / "things.json").read_text())
    assert summary["things"] == len(tables[0])
    assert summary["by_class"] == {
        name: int((tables[0]["code"] == code).sum()) for code, name in NAMES.items()
    }
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["things.fgb", "things.gpkg", "things.json", "things.parquet"]


def _overlaps(ours, theirs):
    """(N, M) intersection over union."""
    common = shapely.area(shapely.intersection(ours[:, None], theirs[None]))
    return common / (shapely.area(ours)[:, None] + shapely.area(theirs)[None] - common)


def test_a_saved_detector_says_the_same(tmp_path, cube, model):
    save_model(model, tmp_path / "model")
    chip = Chip("0-0", Shape2d(WINDOW, WINDOW), cube.window(Window(0, 0, Shape2d(WINDOW, WINDOW))))
    batch = collate([chip])
    (told,) = model.answer(batch)
    for threshold in (0.6, 0.9):
        (found,) = SavedFinder(tmp_path / "model", threshold).open().find(batch)
        kept = told.some(told.scores >= threshold)
        np.testing.assert_array_equal(found.corners, kept.corners)
        np.testing.assert_array_equal(found.codes, kept.codes)
        assert len(found) > 0


def test_a_map_of_things_hangs_on_neither_workers_nor_where_the_model_lies(tmp_path, cube, model):
    save_model(model, tmp_path / "model")
    plain = make_things(_inputs(cube, model), SETTINGS, tmp_path / "a", _quiet)
    saved = _inputs(cube, model, folder=tmp_path / "model")
    again = make_things(saved, SETTINGS, tmp_path / "b", _quiet, Threads(3))
    assert plain == again
    for name in ("things.parquet", "things.fgb", "things.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_outline_of_an_area_and_a_higher_threshold_leave_things_out(tmp_path, cube, model):
    west, south, east, north = BOX.geographic_extent.boundingbox.bbox
    half = shapely.box(west - 1, south - 1, (west + east) / 2, north + 1)
    whole = make_things(_inputs(cube, model), SETTINGS, tmp_path / "whole", _quiet)
    part = make_things(_inputs(cube, model, half), SETTINGS, tmp_path / "part", _quiet)
    assert 0 < part.things < whole.things
    table = gpd.read_parquet(tmp_path / "part" / "things.parquet")
    assert (table.to_crs(4326).centroid.x <= (west + east) / 2 + 1e-6).all()
    strict = ThingSettings(window=WINDOW, overlap=32, threshold=1.0, part=70)
    assert make_things(_inputs(cube, model), strict, tmp_path / "strict", _quiet).things == 0


def test_a_model_of_pixels_finds_no_things(tmp_path, cube):
    encoder = UNet((SPEC,), STATISTICS, 8, 1)
    classes = PixelClasses((1, 2), ("a", "b"), ((1, 1, 1), (2, 2, 2)))
    other = Model((Member(encoder, ConvHead(8, 2)),), classes, None, {})
    with pytest.raises(ContractError, match="'pixel-class' finds no things; valid: boxes"):
        make_things(_inputs(cube, other), SETTINGS, tmp_path, _quiet)
    save_model(other, tmp_path / "model")
    with pytest.raises(ContractError, match="is of the task 'pixel-class'; things are found"):
        SavedFinder(tmp_path / "model", 0.5).open()


def test_what_the_docs_say_works(tmp_path, scene, cube):
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    after = page.split("### From a project, in Python", 1)[1]
    snippet = after.split("```python", 1)[1].split("```", 1)[0]
    given = {
        "samples": Listed(_chips(cube, *scene[1:])),
        "training": Training(steps=2, batch=2),
        "area": Area("here", BOX, None),
        "cube": cube,
        "days": (DAY, DAY),
        "folder": tmp_path,
    }
    exec(snippet, given)
    assert given["made"].files == ("things.parquet", "things.gpkg")
    assert len(gpd.read_parquet(tmp_path / "things.parquet")) == given["made"].things
    assert (tmp_path / "model" / "card.json").exists()
