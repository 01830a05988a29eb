"""Words of the project file against what the code can do; and what a plan reads."""

import json
import shutil

import numpy as np
import pytest

from earthloom.archive import StaticCatalog
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import build_cube, open_cube, plan_layers
from earthloom.cube.harmonise import KNOWN
from earthloom.cube.methods import METHODS, find_method
from earthloom.cube.periods import EVERY
from earthloom.cube.plan import PLAIN
from earthloom.errors import DataError, ProjectError
from earthloom.project import load_project
from earthloom.project.cube import COMPOSITES, HARMONISE, PERIODS
from earthloom.sample import Shape2d, Window

SUMMER = {"start": "2023-06-01", "end": "2023-08-31"}


def test_a_project_may_name_all_that_there_is():
    named = {name for name in METHODS if not name.startswith("p")}
    assert set(COMPOSITES) == named | set(PLAIN)
    assert {find_method(name).name for name in named} == named
    assert HARMONISE == KNOWN
    assert set(PERIODS) == {each for each in EVERY if " " not in each} | {"date", "phenology"}


@pytest.fixture
def make(new_project, tiny_archive, tmp_path, tick):
    """The optical layers of a small cube, by settings of its sensor."""
    made = []

    def make(archive=tiny_archive, dates=SUMMER, **optical):
        optical = {"name": "sentinel-2-l2a", "bands": ["B03", "B04", "B08", "B11"]} | optical
        folder = tmp_path / str(len(made))
        made.append(folder)
        project = load_project(new_project(folder, archive, dates=dates, sensors=[optical]))
        catalog = StaticCatalog(archive / "catalog.json")
        (area,) = areas_of(project, catalog)
        plans = plan_layers(project, area.box, scenes_of(project, catalog, area))
        shape = Shape2d(*area.box.shape)
        assert build_cube(str(archive), plans, shape, folder, tick) == {}
        return plans, open_cube(folder / "cube.zarr", shape).window(Window(0, 0, shape))

    return make


KEY = "sentinel-2-l2a_10m"


@pytest.mark.parametrize("method", [*COMPOSITES, "p25"])
def test_every_composite_makes_a_layer(make, method):
    plans, layers = make(by=method, every="period", bands=["B04", "B08"])
    layer = layers[KEY]
    assert layer.spec.bands == plans[0].spec.bands
    assert layer.pixels.shape[1] == len(layer.spec.bands)
    if method in ("median", "p25", "medoid", "geomedian"):
        assert 0 < np.nanmedian(layer.pixels) < 0.6


def test_percentile_50_is_the_median(make):
    _, median = make(by="median")
    _, percentile = make(by="p50")
    np.testing.assert_allclose(percentile[KEY].pixels, median[KEY].pixels, atol=1e-6)


def test_dilated_masks_only_hide_more(make):
    _, plain = make(every="date")
    _, wide = make(every="date", mask={"dilate_m": {"cloud": 60, "shadow": 40}})
    assert (wide[KEY].valid <= plain[KEY].valid).all()
    assert wide[KEY].valid.sum() < plain[KEY].valid.sum()
    same = wide[KEY].valid
    np.testing.assert_array_equal(
        wide[KEY].pixels.swapaxes(0, 1)[:, same], plain[KEY].pixels.swapaxes(0, 1)[:, same]
    )


def test_what_hides_the_ground_is_the_projects_to_say(make):
    _, plain = make(every="date")
    _, all_seen = make(every="date", mask={"hide": ["fill"]})
    assert all_seen[KEY].valid.mean() > plain[KEY].valid.mean()


def test_indices_stand_behind_their_bands(make):
    _, layers = make(indices=["NDVI", "NDWI"])
    layer = layers[KEY]
    assert layer.spec.bands == ("B03", "B04", "B08", "NDVI", "NDWI")
    green, red, nir, ndvi, ndwi = layer.pixels.swapaxes(0, 1)
    np.testing.assert_allclose(ndvi, (nir - red) / (nir + red), rtol=1e-5)
    np.testing.assert_allclose(ndwi, (green - nir) / (green + nir), rtol=1e-5)
    assert layers["sentinel-2-l2a_20m"].spec.bands == ("B11",)


def test_an_index_without_its_bands_is_named(make):
    with pytest.raises(DataError, match="NDVI"):
        make(bands=["B03", "B04"], indices=["NDVI"])
    with pytest.raises(DataError, match="NDXY"):
        make(indices=["NDXY"])


def test_topography_needs_heights(make):
    with pytest.raises(ProjectError, match="cop-dem-glo-30"):
        make(harmonise=["topography"])


def test_the_newest_processing_counts(make, tiny_archive, tmp_path):
    """The same acquisition delivered again, older and brighter, changes nothing."""
    archive = shutil.copytree(tiny_archive, tmp_path / "twice")
    _, before = make(archive)
    collection = archive / "sentinel-2-l2a"
    listed = json.loads((collection / "collection.json").read_text())
    (file,) = list(collection.glob("*_20230702T*/*.json"))[:1]
    item = json.loads(file.read_text())
    old_id = item["id"] + "_OLD"
    item["id"] = old_id
    item["properties"]["s2:processing_baseline"] = "04.00"
    for key in ("created", "updated", "s2:generation_time", "processing:datetime"):
        if key in item["properties"]:
            item["properties"][key] = "2023-07-02T11:00:00Z"
    folder = shutil.copytree(file.parent, collection / old_id)
    (folder / file.name).rename(folder / f"{old_id}.json")
    (folder / f"{old_id}.json").write_text(json.dumps(item))
    listed["links"].append({"rel": "item", "href": f"./{old_id}/{old_id}.json"})
    (collection / "collection.json").write_text(json.dumps(listed))
    plans, after = make(archive)
    steps = [look for step in plans[0].steps for look in step.acquisitions]
    assert [scene.id for look in steps for scene in look.superseded] == [old_id]
    np.testing.assert_array_equal(after[KEY].pixels, before[KEY].pixels)
