"""What is made of finished maps, from the project file on."""

import json

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from earthloom import verbs
from earthloom.errors import ProjectError
from earthloom.grid import cells_over, read_outline
from earthloom.project import load_project

CHANGES = {
    "map": {
        "window": 64,
        "polygons": {"formats": ["gpkg", "parquet"], "minimum_area_m2": 500, "simplify_m": 10},
    },
    "publish": {"licence": "CC-BY-4.0", "providers": [{"name": "Office"}]},
    "energy": {"grams_per_kwh": 100, "watts_per_core": 5},
}


@pytest.fixture(scope="module")
def published(tmp_path_factory, new_project):
    """A project's folder, and what running it said."""
    file = new_project(tmp_path_factory.mktemp("published"), **CHANGES)
    return file, verbs.run(load_project(file))


def test_polygons_are_of_the_map(published):
    out = published[0].parent / "out"
    table = gpd.read_parquet(out / "polygons" / "tiny" / "polygons.parquet")
    with rasterio.open(out / "map" / "tiny" / "map.tif") as source:
        seen = int((source.read(1) > 0).sum())
        assert table.crs.to_epsg() == source.crs.to_epsg()
    made = json.loads((out / "polygons" / "tiny" / "polygons.json").read_text())
    dropped = made["sieved"]["dropped_m2"]
    assert table.geometry.area.sum() == pytest.approx(seen * 100 - dropped, rel=1e-3)
    assert table.probability.between(0, 1).all()
    assert len(gpd.read_file(out / "polygons" / "tiny" / "polygons.gpkg")) == len(table)


def test_collection_leads_to_map_and_polygons(published):
    file, summary = published
    path = file.parent / "out" / "collection" / "collection.json"
    assert summary["stac_collection"] == str(path)
    content = json.loads(path.read_text())
    JsonSchemaSTACValidator().validate_core(
        content, pystac.STACObjectType.COLLECTION, content["stac_version"]
    )
    assert content["license"] == "CC-BY-4.0"
    assert [each["name"] for each in content["providers"]] == ["Office", "Earthloom"]
    for asset in content["assets"].values():
        assert (path.parent / asset["href"]).exists()
    items = list(pystac.Collection.from_file(path).get_items())
    assert [item.get_collection().id for item in items] == ["tiny"]


def test_run_record_says_what_energy_it_took(published):
    record = json.loads((published[0].parent / "out" / "run.json").read_text())
    energy = record["energy"]
    assert energy["kwh"] >= 0
    assert energy["carbon_g"] == pytest.approx(energy["kwh"] * 100, abs=0.01)
    assert energy["assumptions"]["watts_per_core"] == 5
    assert energy["parts"]["processors"]["how"]


def test_other_polygons_do_not_make_the_map_anew(published, new_project):
    file, _ = published
    before = (file.parent / "out" / "map" / "tiny" / "manifest.json").stat().st_mtime_ns
    polygons = {"formats": ["fgb"], "corners": True}
    new_project(file.parent, **CHANGES | {"map": {"window": 64, "polygons": polygons}})
    verbs.map(load_project(file))
    assert (file.parent / "out" / "map" / "tiny" / "manifest.json").stat().st_mtime_ns == before
    made = {path.name for path in (file.parent / "out" / "polygons" / "tiny").iterdir()}
    assert made == {"polygons.fgb", "polygons.qml", "polygons.json", "manifest.json"}
    table = gpd.read_file(file.parent / "out" / "polygons" / "tiny" / "polygons.fgb")
    assert np.isin(table.geom_type, ["MultiPolygon"]).all()


def test_unknown_format_names_line_and_choices(tmp_path, new_project):
    file = new_project(tmp_path, map={"polygons": {"formats": ["shp"]}})
    with pytest.raises(ProjectError, match=r"line \d+: map.polygons.formats"):
        load_project(file)


def test_maps_of_several_areas_become_a_mosaic(tmp_path, new_project, tiny_archive):
    """Cells of a fine Major TOM grid, each an area of its own."""
    outline = read_outline(tiny_archive / "area.geojson")
    cells = [cell.name for cell in cells_over(outline, 1)][:2]
    area = {"cells": cells, "distance_km": 1}
    file = new_project(tmp_path, area=area, grid=None)
    summary = verbs.map(load_project(file))
    assert set(summary["maps"]) == set(cells)
    out = tmp_path / "out"
    with rasterio.open(summary["mosaic"]) as mosaic:
        shown = mosaic.read(1)
    parts = []
    for name in cells:
        with rasterio.open(out / "map" / name / "map.tif") as source:
            parts.append(source.read(1))
    assert 0 < (shown > 0).sum() <= sum((part > 0).sum() for part in parts)
    assert (shown > 0).sum() >= max((part > 0).sum() for part in parts)
    content = json.loads((out / "collection" / "collection.json").read_text())
    assert content["assets"]["mosaic"]["href"] == "./mosaic.vrt"
    assert len(gpd.read_parquet(out / "collection" / "items.parquet")) == 2
