"""Scenes looked at before the cube is made, and read by what was found."""

import json
import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine

from earthloom.archive import StaticCatalog
from earthloom.archive.simulated import SimulationSpec, simulate
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import build_cube, open_cube, plan_layers
from earthloom.cube.harmonise import Displacement
from earthloom.cube.inspect import (
    Inspection,
    inspect_scenes,
    inspection_from_json,
    inspection_to_json,
    needs_inspection,
)
from earthloom.cube.notes import SceneNotes
from earthloom.cube.read import Reader
from earthloom.project import load_project
from earthloom.sample import Shape2d, Window

BANDS = ["B02", "B03", "B04", "B08", "B11"]


@pytest.fixture
def archive(tiny_archive, tmp_path):
    return shutil.copytree(tiny_archive, tmp_path / "archive")


@pytest.fixture(scope="module")
def prepare(new_project, tmp_path_factory, tick):
    """A project on an archive: its plans, and what inspection found."""

    def prepare(archive, **optical):
        optical = {"name": "sentinel-2-l2a", "bands": BANDS} | optical
        file = new_project(
            tmp_path_factory.mktemp("project"),
            archive,
            dates={"start": "2023-03-01", "end": "2023-10-31"},
            sensors=[optical, {"name": "cop-dem-glo-30"}],
        )
        project = load_project(file)
        catalog = StaticCatalog(archive / "catalog.json")
        (area,) = areas_of(project, catalog)
        scenes = scenes_of(project, catalog, area)
        found = inspect_scenes(Reader(str(archive)), project, area.box, scenes, tick)
        return area, plan_layers(project, area.box, scenes, found.notes), found

    return prepare


@pytest.fixture(scope="module")
def right(prepare, tiny_archive):
    """What is prepared on the archive as it is."""
    return prepare(tiny_archive)


def _build(archive, area, plans, folder, tick):
    shape = Shape2d(*area.box.shape)
    folder.mkdir()
    failed = build_cube(str(archive), plans, shape, folder, tick)
    assert failed == {}
    return open_cube(folder / "cube.zarr", shape).window(Window(0, 0, shape))


def _item_after_the_change(archive):
    """The clearest item with an offset, and its file."""
    files = (archive / "sentinel-2-l2a").glob("*_20230[4-9]*/*.json")
    items = [(file, json.loads(file.read_text())) for file in files]
    return min(items, key=lambda pair: pair[1]["properties"]["eo:cloud_cover"])


def _deny_offset(archive):
    """Makes an item say that its numbers have no offset, though they have."""
    file, item = _item_after_the_change(archive)
    item["properties"]["s2:processing_baseline"] = "03.01"
    for asset in item["assets"].values():
        for band in asset.get("raster:bands", []):
            band.pop("offset", None)
            band.pop("scale", None)
    file.write_text(json.dumps(item))
    return item["id"]


def test_right_offsets_are_left_alone(right):
    _, _, found = right
    assert found.offsets == ()
    assert all(not note.repaired for note in found.notes.values())


def test_a_wrong_offset_is_found_and_told_and_repaired_if_asked(
    prepare, right, archive, tiny_archive, tmp_path, tick
):
    wrong = _deny_offset(archive)
    area, plans, found = prepare(archive)
    (finding,) = found.offsets
    assert finding.scene == wrong
    assert finding.found == pytest.approx(-0.1)
    assert wrong in finding.suggestion
    left = _build(archive, area, plans, tmp_path / "left", tick)
    area, plans, _ = right
    whole = _build(tiny_archive, area, plans, tmp_path / "right", tick)
    area, plans, _ = prepare(archive, wrong_offsets="repair")
    repaired = _build(archive, area, plans, tmp_path / "repaired", tick)
    key = "sentinel-2-l2a_10m"
    np.testing.assert_allclose(repaired[key].pixels, whole[key].pixels, atol=1e-6)
    assert np.nanmax(np.abs(left[key].pixels - whole[key].pixels)) > 0.04


@pytest.fixture(scope="module")
def wider_archive(tmp_path_factory):
    """Of an area that is large enough to tell how scenes lie."""
    spec = SimulationSpec(seed=3, size_m=2560, sentinel2_items=12, sentinel1_items=0)
    return simulate(tmp_path_factory.mktemp("wider") / "archive", spec, workers=1).parent


def test_a_scene_that_lies_off_is_found_and_moved_back(prepare, wider_archive, tmp_path):
    archive = shutil.copytree(wider_archive, tmp_path / "off")
    file, item = _item_after_the_change(archive)
    for image in file.parent.glob("*.tif"):
        with rasterio.open(image, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as source:
            source.transform = Affine.translation(7, -12) * source.transform
    _, _, before = prepare(wider_archive, harmonise=["align"])
    _, plans, found = prepare(archive, harmonise=["align"])
    steady, moved = before.notes[item["id"]].moved, found.notes[item["id"]].moved
    assert moved is not None
    at_home = steady or Displacement(0, 0)
    assert moved.east - at_home.east == pytest.approx(7, abs=2)
    assert moved.north - at_home.north == pytest.approx(-12, abs=2)
    plan = plans[0]
    assert plan.notes[item["id"]].moved == moved


def test_slopes_and_greenness(prepare, tiny_archive, tick, tmp_path):
    area, plans, found = prepare(tiny_archive, harmonise=["topography"], every="phenology")
    optical = [note for note in found.notes.values() if note.terrain_c is not None]
    assert optical
    for note in optical:
        assert set(note.terrain_c) == set(BANDS)
        assert all(c >= 0 for c in note.terrain_c.values())
    greens = [note.greenness for note in optical if note.greenness is not None]
    assert all(-1 <= green <= 1 for green in greens)
    assert max(greens) > 0.4
    layers = _build(tiny_archive, area, plans, tmp_path / "built", tick)
    assert set(layers) >= {"sentinel-2-l2a_10m", "cop-dem-glo-30_10m"}


def test_an_inspection_survives_json():
    note = SceneNotes(Displacement(1.5, -2), {"B02": float("inf"), "B08": 0.5}, 0.4, -0.1, True)
    found = Inspection({"a": note, "b": SceneNotes()}, ())
    text = json.dumps(inspection_to_json(found), allow_nan=False)
    assert inspection_from_json(json.loads(text)) == found


def test_only_sensors_that_need_it_are_looked_at(new_project, tmp_path):
    project = load_project(new_project(tmp_path))
    asked = {c.name: needs_inspection(project, c) for c in project.sensors}
    assert asked == {"sentinel-2-l2a": True, "sentinel-1-rtc": False, "cop-dem-glo-30": False}
