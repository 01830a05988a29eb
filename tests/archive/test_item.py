"""STAC items of many providers as scenes."""

import json
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pystac
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from earthloom.archive.item import (
    asset_href,
    footprint_of,
    item_of,
    over_sun,
    scene_of,
    sensor_of,
    why_not,
    why_unknown,
)
from earthloom.archive.scene import Angles, scenes_from_json, scenes_to_json
from earthloom.errors import ArchiveError
from earthloom.sensors import known_sensors, load_sensor, parse_sensor

S2 = load_sensor("sentinel-2-l2a")
ALL = [load_sensor(name) for name in known_sensors()]


def new(properties=None, assets=None, collection="sentinel-2-l2a", **changes: Any) -> pystac.Item:
    """An item of STAC 1.0 with what a test is about."""
    return item_of(
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": "an-item",
            "collection": collection,
            "geometry": shapely.geometry.mapping(shapely.box(11, 48, 12, 49)),
            "bbox": [11, 48, 12, 49],
            "properties": {"datetime": "2023-07-02T10:15:00Z"} | (properties or {}),
            "assets": assets or {"B04": {"href": "https://example.org/B04.tif"}},
            "links": [],
        }
        | changes
    )


def red(properties=None, sensor=S2, band="B04", **fields: Any):
    """The asset of the red band of an item whose file says some fields."""
    item = new(properties, {band: {"href": "https://example.org/B04.tif"} | fields})
    scene = scene_of(item, sensor)
    return scene.bands[band]


# What the items of the shared data are, by hand from their JSON.
KNOWN = {
    "LC08_L2SP_028030_20200114_20200824_02_T1_SR.json": (
        "landsat-oli-c2-l2", 7, (2.75e-5, -0.2, 0), "028030", "02 2020-08-24T00:00:00Z",
        "landsat-8", 8.18, Angles(90 - 22.57988462, 158.45194309, 0.0, None), "2020-01-14",
    ),
    "LC08_L2SR_081119_20200101_20200823_02_T2.json": (
        "landsat-oli-c2-l2", 7, (2.75e-5, -0.2, 0), "081119", "02 2020-08-23T00:00:00Z",
        "landsat-8", 0.0, Angles(90 - 22.72192082, 93.54107327, 0.0, None), "2020-01-01",
    ),
    "LE07_L2SP_044033_20210329_20210424_02_T1_SR.json": (
        "landsat-etm-c2-l2", 6, (2.75e-5, -0.2, 0), "044033", "02 2021-04-24T00:00:00Z",
        "landsat-7", 0.0, Angles(90 - 43.38653299, 130.53782366, 0.0, None), "2021-03-29",
    ),
    "S2A_28QCH_20200714_0_L2A.json": (
        "sentinel-2-l2a", 12, (1e-4, 0.0, 0), "28QCH", "02.14 2020-07-14T19:13:10Z",
        "sentinel-2a", 2.36, None, "2020-07-14",
    ),
    "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json": (
        "sentinel-2-l2a", 12, (1e-4, 0.0, 0), "06VVN", "02.12 2020-10-06T08:05:31Z",
        "sentinel-2b", 0.314306, Angles(37.9128805424161, 170.148039164397), "2019-06-29",
    ),
    "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext.json": (
        "sentinel-2-l2a", 12, (1e-4, 0.0, 0), "06VVN", "02.12 2020-10-06T08:05:31Z",
        "sentinel-2b", 0.314306, Angles(37.9128805424161, 170.148039164397), "2019-06-29",
    ),
}  # fmt: skip

UNKNOWN = {
    "ga_ls8c_ard_3-1-0_088080_2020-05-25_final.stac-item.json": "names no collection",
    "lidar_dem.json": "collection 'lidar_collection', which no sensor's table names",
    "only_crs_proj.json": "collection 'fc_percentile_albers_annual', which no sensor's table names",
}


@pytest.mark.shared
@pytest.mark.parametrize("file", KNOWN)
def test_known_items_of_the_shared_data(file, shared_data):
    name, bands, numbers, tile, version, platform, cloud, angles, day = KNOWN[file]
    item = item_of(json.loads((shared_data / "stac_items" / file).read_text()))
    sensor = sensor_of(item, ALL)
    assert sensor.name == name
    scene = scene_of(item, sensor)
    assert len(scene.bands) == bands
    for asset in scene.bands.values():
        assert (asset.scale, asset.offset, asset.nodata, asset.index) == (*numbers, 1)
        assert asset.href.lower().endswith(".tif")
    assert scene.quality.href.lower().endswith(("qa_pixel.tif", "scl.tif", "scl_20m.tif"))
    assert (scene.tile, scene.version, scene.platform) == (tile, version, platform)
    assert scene.cloud_cover == cloud
    found = scene.angles and astuple(scene.angles)
    assert found == (angles and pytest.approx(astuple(angles)))
    assert scene.day == date.fromisoformat(day)
    assert shapely.box(*scene.bounds).buffer(0.01).covers(footprint_of(item))
    assert scenes_from_json(json.loads(json.dumps(scenes_to_json([scene])))) == [scene]


@pytest.mark.shared
@pytest.mark.parametrize("file", UNKNOWN)
def test_other_items_of_the_shared_data_are_refused(file, shared_data):
    item = item_of(json.loads((shared_data / "stac_items" / file).read_text()))
    assert sensor_of(item, ALL) is None
    assert UNKNOWN[file] in why_unknown(item, ALL)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "count"),
    [("site1-20200606-tall-strip-africa.geojson", 9), ("site2-2020_jun_jul-35MNM.geojson", 13)],
)
def test_every_item_of_a_search_is_a_scene(file, count, shared_data):
    items = json.loads((shared_data / "stac_items" / file).read_text())["features"]
    scenes = [scene_of(item_of(item), sensor_of(item_of(item), ALL)) for item in items]
    assert len(scenes) == count
    for scene in scenes:
        assert scene.sensor == "sentinel-2-l2a"
        assert scene.tile == scene.id.split("_")[4][1:]
        assert len(scene.bands) == 12
        assert scene.quality is not None
        assert scene.version.startswith("02.12 20")
        assert {asset.offset for asset in scene.bands.values()} == {0.0}


@pytest.mark.shared
def test_items_of_no_product_have_no_sensor(shared_data):
    files = sorted((shared_data / "cog_riotiler").glob("stac*.json"))
    assert len(files) > 10
    for file in files:
        item = item_of(json.loads(file.read_text()))
        assert sensor_of(item, ALL) is None, file.name
        assert why_unknown(item, ALL) == f"the item '{item.id}' names no collection"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "key"), [("stac_bands.json", "rgb"), ("stac_bands_v1.json", "rgb")]
)
def test_bands_of_one_file_by_either_version_of_stac(file, key, shared_data):
    """`bands` of STAC 1.1 and `eo:bands` of 1.0, in files that rio-tiler tests with."""
    item = item_of(json.loads((shared_data / "cog_riotiler" / file).read_text()))
    scene = scene_of(item, _of_one_file("rgb"))
    assert {name: asset.index for name, asset in scene.bands.items()} == {
        "blue": 3, "green": 2, "red": 1
    }  # fmt: skip


@pytest.mark.shared
def test_another_address_of_a_file(shared_data):
    file = shared_data / "cog_riotiler" / "stac_alternate.json"
    asset = item_of(json.loads(file.read_text())).assets["red"]
    assert asset_href(asset) == "http://somewhere-over-the-rainbow.io/red.tif"
    assert asset_href(asset, "s3") == "s3://somewhere-over-the-rainbow.io/red.tif"
    assert asset_href(asset, "ftp") == "http://somewhere-over-the-rainbow.io/red.tif"


def _of_one_file(asset: str):
    """Blue, green, red and near infrared in one file, in another order than its list."""
    band = {"kind": "counts", "unit": "DN", "gsd": 1}
    names = ("blue", "green", "red", "nir")
    return parse_sensor(
        {
            "name": "mine",
            "title": "mine",
            "source": "mine",
            "bands": [
                band | {"name": name, "common_name": name, "index": at}
                for at, name in enumerate(names, 1)
            ],
            "providers": {"files": {"every": asset}},
        },
        "mine.toml",
    )


def _naip(names, key="eo:bands"):
    listed = [{"name": name, "common_name": name.lower()} for name in names]
    return new(collection="naip", assets={"image": {"href": "s3://b/m.tif", key: listed}})


def test_bands_of_one_file_without_a_list_are_as_the_table_says():
    item = new(collection="naip", assets={"image": {"href": "s3://b/m.tif"}})
    scene = scene_of(item, sensor_of(item, ALL))
    found = {name: asset.index for name, asset in scene.bands.items()}
    assert found == {"red": 1, "green": 2, "blue": 3, "nir": 4}
    assert scene.bands["red"].href == "s3://b/m.tif"


@pytest.mark.parametrize("key", ["eo:bands", "bands"])
def test_a_files_own_list_of_bands_goes_before_the_table(key):
    scene = scene_of(_naip(("NIR", "Red", "Green", "Blue"), key), load_sensor("naip"))
    assert {name: asset.index for name, asset in scene.bands.items()} == {
        "nir": 1, "red": 2, "green": 3, "blue": 4
    }  # fmt: skip


def test_a_band_that_a_file_does_not_list_is_absent():
    scene = scene_of(_naip(("Red", "Green", "Blue")), load_sensor("naip"))
    assert sorted(scene.bands) == ["blue", "green", "red"]


def test_a_list_of_names_that_mean_nothing_is_passed_over():
    scene = scene_of(_naip(("b1", "b2", "b3", "b4")), load_sensor("naip"))
    assert scene.bands["nir"].index == 4


def test_a_hyperspectral_file_has_all_bands():
    item = new(collection="ENMAP_HSI_L2A", assets={"image": {"href": "s3://b/cube.tif"}})
    scene = scene_of(item, sensor_of(item, ALL))
    assert [asset.index for asset in scene.bands.values()] == list(range(1, 225))


def test_a_file_of_one_band_is_read_from_its_first():
    assets = {name: {"href": f"https://e.org/{name}.tif"} for name in ("B10", "B11")}
    item = new({"platform": "LANDSAT_8"}, assets, collection="landsat-c2l1")
    assert {
        a.index for a in scene_of(item, load_sensor("landsat-8-tirs-c2-l1")).bands.values()
    } == {1}


def test_raster_bands_go_before_the_table():
    asset = red(**{"raster:bands": [{"scale": 0.5, "offset": 7, "nodata": 99}]})
    assert (asset.scale, asset.offset, asset.nodata) == (0.5, 7, 99)


def test_bands_of_stac_1_1_go_before_the_table():
    asset = red(bands=[{"raster:scale": 0.5, "raster:offset": 7, "nodata": 99}])
    assert (asset.scale, asset.offset, asset.nodata) == (0.5, 7, 99)


def test_an_assets_own_fields_of_stac_1_1_go_before_the_table():
    asset = red(**{"raster:scale": 0.5, "raster:offset": 7, "nodata": 99, "data_type": "uint16"})
    assert (asset.scale, asset.offset, asset.nodata) == (0.5, 7, 99)


@pytest.mark.parametrize("data_type", [None, "uint8", "uint16", "int16"])
def test_whole_numbers_with_a_scale_of_one_say_nothing(data_type):
    """As rio-stac writes for files that do not know their scaling."""
    said = {"scale": 1.0, "offset": 0.0, "nodata": 0.0} | (
        {"data_type": data_type} if data_type else {}
    )
    asset = red({"s2:processing_baseline": "05.09"}, **{"raster:bands": [said]})
    assert (asset.scale, asset.offset, asset.nodata) == (0.0001, -0.1, 0)


def test_a_scale_of_one_of_floats_is_meant():
    asset = red(**{"raster:bands": [{"scale": 1.0, "offset": 0.0, "data_type": "float32"}]})
    assert (asset.scale, asset.offset) == (1.0, 0.0)


@pytest.mark.parametrize("scale", [0, None, "0.1", float("nan"), True])
def test_a_scale_that_cannot_be_is_that_of_the_table(scale):
    assert red(**{"raster:bands": [{"scale": scale}]}).scale == 0.0001


@pytest.mark.parametrize(
    ("said", "nodata"),
    [("nan", "nan"), ("-inf", "-inf"), ("-9999", "-9999.0"), ("none", "0"), (5, "5.0")],
)
def test_nodata_may_be_text(said, nodata):
    asset = red(**{"raster:bands": [{"nodata": said}]})
    assert str(asset.nodata) == nodata


def test_a_nodata_that_is_no_number_survives_json():
    item = new(assets={"B04": {"href": "a.tif", "raster:bands": [{"nodata": "nan"}]}})
    written = json.dumps(scenes_to_json([scene_of(item, S2)]), allow_nan=False)
    (scene,) = scenes_from_json(json.loads(written))
    assert scene.bands["B04"].nodata != scene.bands["B04"].nodata


@pytest.mark.parametrize(
    ("properties", "said", "offset"),
    [
        ({"earthsearch:boa_offset_applied": True}, -0.1, 0.0),
        ({"earthsearch:boa_offset_applied": False}, -0.1, -0.1),
        ({"earthsearch:boa_offset_applied": True}, None, 0.0),
        ({"sentinel:boa_offset_applied": True, "sentinel:processing_baseline": "04.00"}, None, 0.0),
        ({"sentinel:processing_baseline": "04.00"}, None, -0.1),
        ({"s2:processing_baseline": "05.09"}, None, -0.1),
        ({"s2:processing_baseline": "05.09"}, 0, 0.0),
        ({"s2:processing_baseline": "02.12"}, -0.1, 0.0),
        ({"s2:processing_baseline": "02.12"}, None, 0.0),
        ({}, None, 0.0),
    ],
)
def test_the_offset_of_sentinel_2_is_taken_off_once(properties, said, offset):
    fields = {} if said is None else {"raster:bands": [{"scale": 0.0001, "offset": said}]}
    assert red(properties, **fields).offset == offset


def test_the_checksum_is_kept():
    assert red(**{"file:checksum": "1220abcd"}).checksum == "1220abcd"
    assert red().checksum is None


@pytest.mark.parametrize(
    ("assets", "quality"),
    [({"B04": {"href": "a"}, "SCL": {"href": "b"}}, "b"), ({"B04": {"href": "a"}}, None)],
)
def test_the_quality_band_may_be_absent(assets, quality):
    scene = scene_of(new(assets=assets), S2)
    assert (scene.quality.href if scene.quality else None) == quality


def test_files_may_lie_beside_the_item():
    item = new(assets={"B04": {"href": "./B04.tif"}})
    item.set_self_href("/data/items/an-item.json")
    assert scene_of(item, S2).bands["B04"].href == "/data/items/B04.tif"


def test_the_archive_may_choose_the_address():
    scene = scene_of(new(), S2, lambda asset: asset.href.replace("https://", "/vsicurl/"))
    assert scene.bands["B04"].href == "/vsicurl/example.org/B04.tif"


def test_the_scale_of_a_scene_over_the_sun():
    """A sun of 30 degrees elevation sends half as much light on level ground."""
    sensor = load_sensor("landsat-oli-c2-l1")
    assets = {"red": {"href": "https://e.org/B4.TIF"}}
    said = {"view:sun_elevation": 30.0, "view:sun_azimuth": 150.0, "platform": "LANDSAT_9"}
    asset = scene_of(new(said, assets, "landsat-c2l1"), sensor).bands["red"]
    assert asset.scale * 10_000 + asset.offset == pytest.approx(0.2)
    dark = new(said | {"view:sun_elevation": -3.0}, assets, "landsat-c2l1")
    for item in (dark, new({}, assets, "landsat-c2l1")):
        assert scene_of(item, sensor) is None
        assert "needs the scene's own scale or the sun's elevation" in why_not(item, sensor)


@given(st.floats(0, 89), st.floats(1e-5, 1), st.floats(-1, 1))
def test_over_the_sun_nothing_is_darker(zenith, scale, offset):
    found = over_sun(scale, offset, Angles(zenith, 0))
    assert abs(found[0]) >= scale
    assert found[1] * scale == pytest.approx(offset * found[0])


def test_a_scale_that_is_another_one_in_every_scene_must_be_said():
    sensor = load_sensor("landsat-tm-c2-l1")
    said = {"view:sun_elevation": 90.0, "view:sun_azimuth": 0.0, "platform": "landsat-5"}
    assets = {"red": {"href": "a"}, "lwir": {"href": "b"}}
    assert scene_of(new(said, assets), sensor) is None
    assets["lwir"]["raster:bands"] = [{"scale": 0.055, "offset": 1.18}]
    scene = scene_of(new(said, assets), sensor)
    assert list(scene.bands) == ["lwir"]
    asset = scene.bands["lwir"]
    assert (asset.scale, asset.offset, asset.transform) == (0.055, 1.18, "brightness")
    assert asset.constants == (607.76, 1260.56)
    assert scenes_from_json(json.loads(json.dumps(scenes_to_json([scene])))) == [scene]


@pytest.mark.parametrize(
    ("platform", "sensor"),
    [
        ("LANDSAT_8", "landsat-oli-c2-l2"),
        ("landsat-9", "landsat-oli-c2-l2"),
        ("Landsat 7", "landsat-etm-c2-l2"),
        ("landsat-5", "landsat-tm-c2-l2"),
        ("landsat-4", "landsat-tm-c2-l2"),
    ],
)
def test_a_collection_of_several_instruments_is_split_by_the_platform(platform, sensor):
    item = new({"platform": platform}, {"red": {"href": "a"}}, "landsat-c2-l2")
    assert sensor_of(item, ALL).name == sensor
    for other in {"landsat-oli-c2-l2", "landsat-etm-c2-l2", "landsat-tm-c2-l2"} - {sensor}:
        assert scene_of(item, load_sensor(other)) is None
        assert f"is of the platform {platform.lower()[:7]}" in why_not(item, load_sensor(other))


def test_a_collection_of_several_instruments_is_split_by_their_bands():
    said = {"platform": "landsat-8", "view:sun_elevation": 40.0, "view:sun_azimuth": 1.0}
    reflective = new(said, {"red": {"href": "a"}, "nir08": {"href": "b"}}, "landsat-c2l1")
    thermal = new(said, {"lwir11": {"href": "a"}, "lwir12": {"href": "b"}}, "landsat-c2l1")
    assert sensor_of(reflective, ALL).name == "landsat-oli-c2-l1"
    assert sensor_of(thermal, ALL).name == "landsat-8-tirs-c2-l1"


def test_time_is_the_middle_where_there_is_no_single_one():
    period = {
        "datetime": None,
        "start_datetime": "2023-07-01T00:00:00Z",
        "end_datetime": "2023-07-17T00:00:00Z",
    }
    scene = scene_of(new(period), S2)
    assert scene.time == datetime(2023, 7, 9, tzinfo=UTC)
    assert scene.day == date(2023, 7, 9)


def test_a_time_of_another_zone_becomes_utc():
    scene = scene_of(new({"datetime": "2023-07-02T23:30:00-03:00"}), S2)
    assert scene.time == datetime(2023, 7, 3, 2, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("box", "bounds"),
    [
        ([11, 48, 12, 49], (11, 48, 12, 49)),
        ([11, 48, -5, 12, 49, 900], (11, 48, 12, 49)),
        ([179, -18, -179, -17], (179, -18, -179, -17)),
        (None, (11, 48, 12, 49)),
        ([1, 2, 3], (11, 48, 12, 49)),
        (["a", 48, 12, 49], (11, 48, 12, 49)),
        ([11, 49, 12, 48], (11, 48, 12, 49)),
    ],
)
def test_boxes(box, bounds):
    assert scene_of(new(bbox=box), S2).bounds == bounds


@pytest.mark.parametrize(
    "geometry",
    [None, {}, {"type": "Polygon"}, {"type": "Polygon", "coordinates": []}, {"type": "Nonsense"}],
)
def test_geometry_that_is_missing_or_broken_leaves_the_box(geometry):
    item = new(geometry=geometry)
    assert footprint_of(item).equals(shapely.box(11, 48, 12, 49))
    assert scene_of(item, S2).bounds == (11, 48, 12, 49)


def test_without_geometry_and_box_a_scene_is_of_anywhere():
    item = new(geometry=None, bbox=None)
    assert footprint_of(item) is None
    assert scene_of(item, S2).bounds is None


def test_an_outline_that_crosses_itself_is_repaired():
    bow = {"type": "Polygon", "coordinates": [[[11, 48], [12, 49], [12, 48], [11, 49], [11, 48]]]}
    found = footprint_of(new(geometry=bow))
    assert found.is_valid
    assert found.area == pytest.approx(0.5)


LINE = shapely.geometry.mapping(shapely.box(-179.5, -18, 179.0, -17))  # the long way round
HALVES = shapely.geometry.mapping(
    shapely.union_all([shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -179.5, -17)])
)


@pytest.mark.parametrize(
    ("geometry", "box"),
    [
        (LINE, [179.0, -18, -179.5, -17]),
        (LINE, [-179.5, -18, 179.0, -17]),
        (HALVES, [179.0, -18, -179.5, -17]),
        (HALVES, [-180.0, -18, 180.0, -17]),
        (None, [179.0, -18, -179.5, -17]),
    ],
)
def test_over_the_date_line(geometry, box):
    """21:00 UTC is 9 in the morning of the next day there, on both sides of the line."""
    item = new({"datetime": "2023-07-02T21:00:00Z"}, geometry=geometry, bbox=box)
    scene = scene_of(item, S2)
    assert scene.bounds == tuple(box)
    assert abs((scene.day - date(2023, 7, 2)).days) <= 1
    footprint = footprint_of(item)
    assert footprint.intersects(shapely.Point(179.5, -17.5))
    assert footprint.intersects(shapely.Point(-179.8, -17.5))
    assert not footprint.intersects(shapely.Point(0, -17.5))


@given(st.floats(-179.9, 179.9), st.floats(0.1, 20), st.integers(0, 23))
def test_the_solar_day_is_that_of_the_true_middle(west, width, hour):
    """Wherever a box lies, its day is that of a narrow box at its middle."""
    east = west + width
    time = datetime(2023, 7, 2, hour, tzinfo=UTC)
    item = new(
        {"datetime": time.isoformat()},
        geometry=None,
        bbox=[west, 0, east if east <= 180 else east - 360, 1],
    )
    middle = west + width / 2
    expected = time + timedelta(hours=(middle if middle <= 180 else middle - 360) / 15)
    assert scene_of(item, S2).day == expected.date()


@pytest.mark.parametrize(
    ("properties", "tile"),
    [
        ({"grid:code": "MGRS-32UPV"}, "32UPV"),
        ({"grid:code": "MGRS-4QFJ"}, "04QFJ"),
        ({"grid:code": "WRS2-028030"}, "028030"),
        ({"s2:mgrs_tile": "06VVN"}, "06VVN"),
        ({"s2:tile": "T06VVN"}, "06VVN"),
        ({"mgrs:utm_zone": 4, "mgrs:latitude_band": "Q", "mgrs:grid_square": "FJ"}, "04QFJ"),
        (
            {
                "sentinel:utm_zone": 28,
                "sentinel:latitude_band": "Q",
                "sentinel:grid_square": "CH",
            },
            "28QCH",
        ),
        ({"landsat:wrs_path": "28", "landsat:wrs_row": 30}, "028030"),
        ({"modis:horizontal-tile": 9, "modis:vertical-tile": 5}, "h09v05"),
        ({}, ""),
    ],
)
def test_tiles(properties, tile):
    assert scene_of(new(properties), S2).tile == tile


@pytest.mark.parametrize(
    ("name", "tile"),
    [
        ("S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531", "06VVN"),
        ("HLS.L30.T10SEG.2020001T184441.v2.0", "10SEG"),
        ("S2A_4QFJ_20200714_0_L2A", "04QFJ"),
        ("MOD09A1.A2020001.h10v05.061.2020346022938", "h10v05"),
        ("S1A_IW_GRDH_1SDV_20230702T052630_20230702T052655_049245_05EBF3", ""),
    ],
)
def test_tiles_of_names(name, tile):
    assert scene_of(new(id=name), S2).tile == tile


def _version(name="an-item", **properties):
    return scene_of(new(properties, id=name), S2).version


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"s2:processing_baseline": "02.12"}, {"s2:processing_baseline": "05.00"}),
        (
            {"s2:processing_baseline": "05.09", "s2:generation_time": "2023-07-02T12:00:00.9Z"},
            {"s2:processing_baseline": "05.09", "s2:generation_time": "2023-07-02T12:00:03Z"},
        ),
        ({"created": "2023-07-02T12:00:00Z"}, {"created": "2023-07-02T18:00:00+02:00"}),
        ({"updated": "2023-01-01T00:00:00Z"}, {"updated": "2024-01-01T00:00:00Z"}),
        (
            {"processing:datetime": "2023-01-01T00:00:00Z"},
            {"processing:datetime": "2024-01-01T00:00:00Z"},
        ),
        (
            {"name": "LC08_L2SP_028030_20200114_20200824_02_T1_SR"},
            {"name": "LC08_L2SP_028030_20200114_20210101_02_T1_SR"},
        ),
        (
            {"s2:product_uri": "S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531.SAFE"},
            {"s2:product_uri": "S2B_MSIL2A_20190629T212529_N0500_R043_T06VVN_20221006T080531.SAFE"},
        ),
        ({}, {"created": "2023-07-02T12:00:00Z"}),
        ({"created": "yesterday"}, {"created": "2023-07-02T12:00:00Z"}),
    ],
)
def test_a_newer_version_comes_after_an_older_one(older, newer):
    assert _version(**older) < _version(**newer)


def test_angles():
    said = {
        "view:sun_elevation": 40.0,
        "view:sun_azimuth": 150.0,
        "view:off_nadir": 5.0,
        "view:incidence_angle": 6.0,
        "view:azimuth": 100.0,
    }
    assert scene_of(new(said), S2).angles == Angles(50.0, 150.0, 6.0, 100.0)
    del said["view:incidence_angle"]
    assert scene_of(new(said), S2).angles.view_zenith == 5.0
    del said["view:sun_azimuth"]
    assert scene_of(new(said), S2).angles is None


@pytest.mark.parametrize(("said", "cloud"), [(8, 8.0), (None, None), ("8", None), (0.0, 0.0)])
def test_cloud_cover(said, cloud):
    assert scene_of(new({"eo:cloud_cover": said}), S2).cloud_cover == cloud


def test_an_item_without_a_band_of_the_sensor_is_refused():
    item = new(assets={"thumbnail": {"href": "a.png"}})
    assert scene_of(item, S2) is None
    assert why_not(item, S2) == (
        "the item 'an-item' has no asset with a band of sentinel-2-l2a; it has: thumbnail"
    )


@pytest.mark.parametrize("content", [{}, {"id": "x"}, {"type": "Catalog", "id": "x"}])
def test_what_is_no_item_is_named(content):
    with pytest.raises(ArchiveError, match=f"the item '{content.get('id', '')}' is not STAC"):
        item_of(content)
