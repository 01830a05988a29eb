"""Searching a static STAC catalog."""

import json
import os
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pystac
import pytest
import shapely

from earthloom.archive import StaticCatalog, scenes_from_json, scenes_to_json
from earthloom.errors import ArchiveError
from earthloom.sensors import load_sensor

OPTICAL = load_sensor("sentinel-2-l2a")
HERE = shapely.Point(11.2, 48.9)
YEAR = (date(2023, 1, 1), date(2023, 12, 31))


@pytest.fixture
def catalog(tiny_archive):
    return StaticCatalog(tiny_archive / "catalog.json")


def test_scenes_come_in_order_of_time(catalog):
    scenes = catalog.search(OPTICAL, *YEAR, HERE)
    assert len(scenes) == 12
    assert scenes == sorted(scenes, key=lambda scene: (scene.day, scene.id))
    assert {scene.sensor for scene in scenes} == {"sentinel-2-l2a"}


def test_both_days_are_included(catalog):
    days = [scene.day for scene in catalog.search(OPTICAL, *YEAR, HERE)]
    found = catalog.search(OPTICAL, days[3], days[6], HERE)
    assert [scene.day for scene in found] == days[3:7]
    assert len(catalog.search(OPTICAL, days[3], days[3], HERE)) == 1


def test_elevation_has_no_time(catalog):
    found = catalog.search(load_sensor("cop-dem-glo-30"), date(1990, 1, 1), date(1990, 1, 2), HERE)
    assert len(found) == 1
    assert "elevation" in found[0].bands


def test_places_that_are_not_shown(catalog):
    assert catalog.search(OPTICAL, *YEAR, shapely.Point(20, 10)) == []


def test_scenes_know_their_files_and_how_to_read_them(catalog):
    for scene in catalog.search(OPTICAL, *YEAR, HERE):
        assert scene.bounds[0] < 11.2 < scene.bounds[2]
        assert 0 <= scene.cloud_cover <= 100
        assert scene.quality.href.endswith("SCL.tif")
        for asset in scene.bands.values():
            path = catalog.folder / asset.href
            assert not Path(asset.href).is_absolute()
            assert path.stat().st_size == asset.size
            assert asset.scale == 0.0001
            assert asset.offset == (-0.1 if scene.day >= date(2023, 4, 1) else 0)
            assert asset.nodata == 0


def test_scenes_survive_json(catalog):
    scenes = catalog.search(OPTICAL, *YEAR, HERE)
    assert scenes_from_json(json.loads(json.dumps(scenes_to_json(scenes)))) == scenes


def test_unknown_collection_is_named_with_those_there(catalog):
    with pytest.raises(ArchiveError, match=r"no collection 'sentinel-2-l1c'.*cop-dem-glo-30, sen"):
        catalog.search(load_sensor("sentinel-2-l1c"), *YEAR, HERE)


@pytest.fixture
def changed(tiny_archive, tmp_path):
    """A copy of the catalog, of which one item was changed by a function."""

    def change(function):
        folder = tmp_path / "archive"
        shutil.copytree(tiny_archive, folder, copy_function=os.link)
        item = min((folder / "sentinel-2-l2a").glob("*_20230702T??????_R*/*.json"))
        content = json.loads(item.read_text())
        function(content)
        item.unlink()
        item.write_text(json.dumps(content))
        found = StaticCatalog(folder / "catalog.json").search(
            OPTICAL, date(2023, 7, 1), date(2023, 7, 5), HERE
        )
        return found[0]

    return change


def _without(content, key):
    for asset in content["assets"].values():
        asset.pop(key, None)


def test_what_the_item_says_goes_before_the_table(changed):
    def say(content):
        content["assets"]["B04"]["raster:bands"] = [{"scale": 0.5, "offset": 7, "nodata": 99}]

    asset = changed(say).bands["B04"]
    assert (asset.scale, asset.offset, asset.nodata) == (0.5, 7, 99)


@pytest.mark.parametrize(
    ("baseline", "offset"), [("03.01", 0), ("04.00", -0.1), ("05.11", -0.1), (None, 0)]
)
def test_the_baseline_decides_where_the_item_says_nothing(baseline, offset, changed):
    def say(content):
        _without(content, "raster:bands")
        if baseline is None:
            content["properties"].pop("s2:processing_baseline")
        else:
            content["properties"]["s2:processing_baseline"] = baseline

    asset = changed(say).bands["B04"]
    assert (asset.scale, asset.offset, asset.nodata) == (0.0001, offset, 0)


def test_assets_by_another_providers_names(changed):
    names = {band: name for p in OPTICAL.providers for band, name in p.assets.items()}
    assert names["B04"] == "red"

    def rename(content):
        content["assets"]["red"] = content["assets"].pop("B04")

    assert changed(rename).bands["B04"].href.endswith("B04.tif")


def test_a_band_that_a_scene_lacks_is_absent(changed):
    scene = changed(lambda content: content["assets"].pop("B04"))
    assert "B04" not in scene.bands
    assert "B08" in scene.bands


def test_files_elsewhere_keep_their_address(changed):
    address = "https://example.org/B04.tif"
    asset = changed(lambda content: content["assets"]["B04"].update(href=address)).bands["B04"]
    assert (asset.href, asset.size) == (address, None)


def _item(name, collection, assets, **properties):
    return pystac.Item(
        name,
        shapely.geometry.mapping(shapely.box(11, 48, 12, 49)),
        [11, 48, 12, 49],
        datetime(2023, 7, 2, 10, tzinfo=UTC),
        properties,
        assets={key: pystac.Asset(f"./{name}_{key}.tif") for key in assets},
        collection=collection,
    )


@pytest.fixture
def landsats(tmp_path):
    """A catalog below a catalog, with items of several instruments in one collection."""
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]])
    )
    collection = pystac.Collection("landsat-c2-l2", "all Landsats", extent)
    for number in (4, 5, 7, 8, 9):
        item = _item(f"LC0{number}", None, ["red", "qa_pixel"], platform=f"landsat-{number}")
        collection.add_item(item)
    inner = pystac.Catalog("inner", "inner")
    inner.add_child(collection)
    root = pystac.Catalog("root", "root")
    root.add_child(inner)
    root.normalize_and_save(str(tmp_path), pystac.CatalogType.SELF_CONTAINED)
    return StaticCatalog(tmp_path / "catalog.json")


@pytest.mark.parametrize(
    ("sensor", "items"),
    [
        ("landsat-oli-c2-l2", ["LC08", "LC09"]),
        ("landsat-etm-c2-l2", ["LC07"]),
        ("landsat-tm-c2-l2", ["LC04", "LC05"]),
    ],
)
def test_a_collection_of_several_instruments_is_split(sensor, items, landsats):
    found = landsats.search(load_sensor(sensor), *YEAR, HERE)
    assert [scene.id for scene in found] == items
    for scene in found:
        folder = Path("inner/landsat-c2-l2") / scene.id
        assert Path(scene.bands["red"].href) == folder / f"{scene.id}_red.tif"
        assert scene.bands["red"].size is None  # the files are not there
        assert Path(scene.quality.href) == folder / f"{scene.id}_qa_pixel.tif"
        assert scene.platform == f"landsat-{scene.id[-1]}"


def test_items_that_are_all_of_another_instrument_are_named(landsats):
    collection = landsats.folder / "inner" / "landsat-c2-l2"
    content = json.loads((collection / "collection.json").read_text())
    content["links"] = [
        link for link in content["links"] if link["rel"] != "item" or "LC07" in link["href"]
    ]
    (collection / "collection.json").write_text(json.dumps(content))
    with pytest.raises(ArchiveError, match="'LC07' is of the platform landsat-7; landsat-oli"):
        landsats.search(load_sensor("landsat-oli-c2-l2"), *YEAR, HERE)


def test_a_collection_may_be_the_catalog(landsats):
    collection = landsats.folder / "inner" / "landsat-c2-l2" / "collection.json"
    found = StaticCatalog(collection).search(load_sensor("landsat-etm-c2-l2"), *YEAR, HERE)
    assert [scene.bands["red"].href for scene in found] == ["LC07/LC07_red.tif"]


def test_an_item_is_no_catalog(landsats):
    item = landsats.folder / "inner" / "landsat-c2-l2" / "LC08" / "LC08.json"
    with pytest.raises(ArchiveError, match=r"LC08\.json is no catalog but a Feature"):
        StaticCatalog(item).search(OPTICAL, *YEAR, HERE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type": "Catalog"}'])
def test_file_that_is_no_catalog(text, tmp_path):
    (tmp_path / "catalog.json").write_text(text)
    with pytest.raises(ArchiveError, match=r"catalog\.json"):
        StaticCatalog(tmp_path / "catalog.json").search(OPTICAL, *YEAR, HERE)


def test_catalog_that_lacks_a_collection_file(tiny_archive, tmp_path):
    shutil.copy(tiny_archive / "catalog.json", tmp_path)
    with pytest.raises(ArchiveError, match=r"collection\.json"):
        StaticCatalog(tmp_path / "catalog.json").search(OPTICAL, *YEAR, HERE)
