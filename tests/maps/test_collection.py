"""Items and the Collection over them, as STAC and its extensions have them."""

import json
import math

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import CRS
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from stac_geoparquet.arrow import stac_table_to_items

from earthloom.errors import DataError
from earthloom.maps.collection import (
    MapProvider,
    Publication,
    mosaic_assets,
    polygon_assets,
    write_collection,
)
from earthloom.maps.outputs import Values

PUBLISHED = Publication(
    title="Tiny maps",
    licence="CC-BY-4.0",
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    providers=(MapProvider("Office", ("producer", "licensor"), "https://example.org"),),
    keywords=("crops",),
)


def collect(folder, names, task, published):
    """Writes the Collection beside the folder of maps; what it says."""
    beside = folder.parent / "collection"
    beside.mkdir(exist_ok=True)
    files = {"west": [folder.parent / "polygons" / "west" / "polygons.gpkg"]}
    assets = mosaic_assets(beside / "mosaic.vrt") | polygon_assets(beside, files)
    maps = {name: folder / name for name in names}
    path, _ = write_collection(beside, "tiny", maps, task, published, assets=assets)
    return json.loads(path.read_text())


def check_core(content, kind):
    """The schemas of extensions are on the web; that of the core comes with pystac."""
    JsonSchemaSTACValidator().validate_core(content, kind, content["stac_version"])


def item_of(place):
    return json.loads((place / "item.json").read_text())


@pytest.fixture(scope="module")
def collected(tmp_path_factory, maps):
    root = tmp_path_factory.mktemp("collected")
    folder = root / "map"
    folder.mkdir()
    for name in maps.boxes:
        maps.write(folder, name)
    return folder, collect(folder, list(maps.boxes), maps.task, PUBLISHED)


@pytest.mark.parametrize("name", ["west", "east", "zone"])
def test_item_is_valid_and_agrees_with_its_files(collected, name):
    place = collected[0] / name
    content = item_of(place)
    check_core(content, pystac.STACObjectType.ITEM)
    for asset in content["assets"].values():
        with rasterio.open(place / asset["href"]) as source:
            properties = content["properties"]
            assert properties["proj:code"] == f"EPSG:{source.crs.to_epsg()}"
            assert properties["proj:shape"] == list(source.shape)
            assert properties["proj:transform"] == list(source.transform)[:6]
            assert properties["proj:bbox"] == list(source.bounds)
            assert asset["data_type"] == source.dtypes[0]
            assert asset["nodata"] == source.nodata
            assert asset.get("raster:scale", 1) == source.scales[0]
            assert asset["raster:spatial_resolution"] == properties["gsd"] == 10
            assert len(asset["bands"]) == source.count


def test_classes_fit_the_classification_extension(collected):
    classes = item_of(collected[0] / "west")["assets"]["map"]["classification:classes"]
    assert [each["value"] for each in classes] == [0, 1, 2, 3]
    assert [each["name"] for each in classes] == ["no_data", "water", "foret", "town"]
    assert [each["title"] for each in classes] == ["no data", "water", "forêt", "town"]
    assert classes[0]["nodata"] is True
    assert [each.get("color_hint") for each in classes] == [None, "0000ff", "008000", "ff0000"]


def test_every_field_has_its_extension_and_every_extension_a_field(collected):
    folder, collection = collected
    for content in (collection, item_of(folder / "zone")):
        text = json.dumps(content)
        named = {url.split("/")[3] for url in content["stac_extensions"]}
        prefixes = {"proj": "projection", "raster": "raster", "classification": "classification",
                    "processing": "processing"}  # fmt: skip
        assert named == set(prefixes.values())
        assert all(f'"{prefix}:' in text for prefix in prefixes)


def test_collection_is_valid_and_finds_its_items(collected, maps):
    folder, content = collected
    check_core(content, pystac.STACObjectType.COLLECTION)
    collection = pystac.Collection.from_file(folder.parent / "collection" / "collection.json")
    items = list(collection.get_items())
    assert [item.id for item in items] == [f"tiny-{name}" for name in maps.boxes]
    assert all(item.get_collection().id == "tiny" for item in items)
    assert all(item.get_parent().id == "tiny" for item in items)


def test_collection_says_what_its_items_have(collected, maps):
    folder, content = collected
    items = [item_of(folder / name) for name in maps.boxes]
    for item in items:
        assert set(item["assets"]) == set(content["item_assets"])
        for key, asset in item["assets"].items():
            defined = content["item_assets"][key]
            assert defined.items() <= asset.items()
            assert "href" not in defined
        west, south, east, north = content["extent"]["spatial"]["bbox"][0]
        box = item["bbox"]
        assert west <= box[0] <= box[2] <= east
        assert south <= box[1] <= box[3] <= north
    assert content["extent"]["spatial"]["bbox"][1:] == [item["bbox"] for item in items]
    assert content["extent"]["temporal"]["interval"] == [
        ["2023-01-01T00:00:00Z", "2023-12-31T00:00:00Z"]
    ]
    assert content["summaries"]["proj:code"] == ["EPSG:32632", "EPSG:32633"]
    assert content["summaries"]["gsd"] == [10]


def test_collection_says_who_made_it_and_what_may_be_done(collected):
    content = collected[1]
    assert content["license"] == "CC-BY-4.0"
    assert {"rel": "license", "href": PUBLISHED.licence_url} in content["links"]
    office, earthloom = content["providers"]
    assert office == {
        "name": "Office", "roles": ["producer", "licensor"], "url": "https://example.org",
    }  # fmt: skip
    assert earthloom["roles"] == ["processor"]
    assert "earthloom" in earthloom["processing:software"]
    assert set(content["assets"]) == {"items", "mosaic", "polygons_west_gpkg"}
    assert content["assets"]["mosaic"]["href"] == "./mosaic.vrt"
    polygons = content["assets"]["polygons_west_gpkg"]
    assert polygons["href"] == "../polygons/west/polygons.gpkg"
    assert polygons["type"] == "application/geopackage+sqlite3"


def test_table_of_items_leads_to_files(collected, maps):
    folder = collected[0].parent / "collection"
    table = gpd.read_parquet(folder / "items.parquet")
    assert list(table.id) == [f"tiny-{name}" for name in maps.boxes]
    for item in stac_table_to_items(pq.read_table(folder / "items.parquet")):
        assert item["collection"] == "tiny"
        for asset in item["assets"].values():
            assert (folder / asset["href"]).exists()


def test_same_bytes_twice(collected, maps):
    folder = collected[0]
    files = sorted((folder.parent / "collection").iterdir())
    before = [file.read_bytes() for file in files]
    collect(folder, list(maps.boxes), maps.task, PUBLISHED)
    assert [file.read_bytes() for file in files] == before
    assert {file.name for file in files} == {"collection.json", "items.parquet"}


def test_a_map_over_the_date_line_has_its_west_in_the_east(maps, tmp_path):
    box = GeoBox.from_bbox((-5_000, 8_000_000, 5_000, 8_010_000), "+proj=laea +lon_0=180 "
                           "+datum=WGS84 +units=m", resolution=100)  # fmt: skip
    (tmp_path / "map").mkdir()
    place = maps.write(tmp_path / "map", "fiji", box)
    content = item_of(place)
    check_core(content, pystac.STACObjectType.ITEM)
    west, _, east, _ = content["bbox"]
    assert west > 179
    assert east < -179
    assert content["geometry"]["type"] == "MultiPolygon"
    assert content["properties"]["proj:code"] is None
    assert CRS.from_json_dict(content["properties"]["proj:projjson"]) == CRS(str(box.crs))
    collection = collect(tmp_path / "map", ["fiji"], maps.task, Publication())
    check_core(collection, pystac.STACObjectType.COLLECTION)
    np.testing.assert_allclose(collection["extent"]["spatial"]["bbox"], [content["bbox"]])
    assert collection["license"] == "other"


def test_other_outputs_are_described_too(maps, tmp_path):
    place = maps.write(tmp_path, "west", outputs=(Values(),))
    asset = item_of(place)["assets"]["value"]
    assert (asset["data_type"], asset["nodata"]) == ("float32", "nan")
    assert math.isnan(Values().nodata)
    assert [band["name"] for band in asset["bands"]] == ["value", "low", "high"]
    assert "classification:classes" not in asset


def test_a_missing_item_is_told(maps, tmp_path):
    with pytest.raises(DataError, match="run 'earthloom map' first"):
        collect(tmp_path / "map", ["nowhere"], maps.task, Publication())
