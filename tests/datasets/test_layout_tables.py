"""Tables of points and shards: where places, pixels and answers come from."""

import json
import tarfile

import geopandas as gpd
import numpy as np
import pytest
from layout_files import npy, png, points, shard
from published import SIDE, rgb, rng, write
from pyproj import Transformer

from earthloom.datasets import read_layout
from earthloom.errors import DataError, LabelError
from earthloom.sample.target import SceneClasses, SceneValue

ROWS = [
    {"lon": 15.0001, "lat": 45.1, "kind": "b", "yield": 2.5, "r": 1, "g": 2, "b": 3, "place": "x"},
    {"lon": 15.0002, "lat": 45.1, "kind": None, "yield": 3.5, "r": 4, "g": 5, "b": 6, "place": "x"},
    {"lon": 99.0000, "lat": 45.1, "kind": "a", "yield": 4.5, "r": 7, "g": 8, "b": 9, "place": "y"},
]


def test_points_with_their_pixels(tmp_path):
    points(tmp_path, ROWS)
    options = {"table": "points.csv", "columns": ["r", "g", "b"]}
    samples = read_layout("points", tmp_path, label="kind", **options)
    assert samples.report.sentence() == "3 found, 2 kept; 1 without an answer"
    assert list(samples.targets) == [SceneClasses((2,)), SceneClasses((1,))]
    assert samples[1].layers["aerial-rgb_0.2m"].pixels.ravel().tolist() == [7, 8, 9]
    assert samples.groups == ("15,45", "99,45")
    samples = read_layout("points", tmp_path, value="yield", unit="t/ha", group="place", **options)
    assert samples.targets[2] == SceneValue(4.5, "t/ha")
    assert samples.groups == ("x", "x", "y")


def test_points_in_a_raster(tmp_path):
    stored = rgb(rng("raster"), 32)
    write(tmp_path / "image.tif", stored, placed=True)
    back = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    lon, lat = back.transform(5e5 + 10 * 8.5, 5e6 - 10 * 20.5)  # the pixel in row 20, column 8
    points(tmp_path, [{"lon": lon, "lat": lat, "kind": "a"}, {"lon": 0, "lat": 0, "kind": "a"}])
    samples = read_layout(
        "points", tmp_path, table="points.csv", label="kind", image="image.tif", size=5
    )
    assert samples.report.sentence() == (
        "2 found, 1 kept; 1 outside the raster; read as: 10 m a pixel, as the files say"
    )
    chip = samples[0]
    pixels = chip.layers["aerial-rgb_10m"].pixels[0]
    np.testing.assert_array_equal(pixels, stored[:, 18:23, 6:11])
    assert chip.place.transform[2] == 5e5 + 60


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": "no.csv", "label": "kind", "columns": ["r"]}, "cannot be read"),
        ({"table": "points.csv", "columns": ["r"]}, "name one column of answers"),
        ({"table": "points.csv", "label": "kind"}, "pixels come from 'columns', or"),
        ({"table": "points.csv", "label": "class", "columns": ["r"]}, "has no column 'class'"),
        ({"table": "points.csv", "label": "kind", "columns": ["r"]}, "1 columns do not fit"),
        ({"table": "points.csv", "value": "kind", "columns": ["r", "g", "b"]}, "not a number"),
    ],
)
def test_points_that_do_not_fit(options, words, tmp_path):
    points(tmp_path, ROWS)
    with pytest.raises((DataError, LabelError), match=words):
        read_layout("points", tmp_path, **options)


def test_webdataset(tmp_path):
    pixels, mask = rgb(rng("web")), np.eye(SIDE, dtype=np.uint8)
    image_, mask_ = png(tmp_path, pixels), png(tmp_path, mask)
    meta = json.dumps({"season": "dry", "height": 3.5}).encode()
    whole = {"npy": npy(pixels), "png": image_, "mask.png": mask_, "cls": b"4\n", "json": meta}
    shard(tmp_path / "a-000.tar", {f"./x/000.{key}": value for key, value in whole.items()})
    shard(tmp_path / "a-001.tar", {"001.cls": b"2", "002.npy": npy(pixels), "002.cls": b"0"})
    samples = read_layout("webdataset", tmp_path, label="cls")
    assert samples.report.sentence() == "3 found, 2 kept; 1 without .npy"
    assert samples.classes == ("0", "1", "2", "3", "4")  # those that other shards may have too
    assert [target.codes for target in samples.targets] == [(5,), (1,)]
    assert samples.groups == ("a-000.tar", "a-001.tar")
    for image in ("npy", "png"):
        found = read_layout("webdataset", tmp_path, image=image, mask="mask.png", classes=["diag"])
        np.testing.assert_array_equal(found[0].layers["aerial-rgb_0.2m"].pixels[0], pixels)
        np.testing.assert_array_equal(found[0].label, mask)
    turned = npy(np.moveaxis(pixels, 0, -1))
    shard(tmp_path / "b.tar", {"9.npy": turned, "9.cls": b"1"})
    last = read_layout("webdataset", tmp_path, shards="b*.tar", label="cls", channels_last=True)
    np.testing.assert_array_equal(last[0].layers["aerial-rgb_0.2m"].pixels[0], pixels)
    named = read_layout("webdataset", tmp_path, shards="a*.tar", label="json:season")
    assert named.classes == ("dry",)
    assert (
        read_layout("webdataset", tmp_path, shards="a*.tar", value="json:height").targets[0].value
        == 3.5
    )
    five = ["a", "b", "c", "d", "e"]
    assert read_layout("webdataset", tmp_path, shards="a*.tar", label="cls", classes=five).targets[
        0
    ].codes == (5,)


def test_shards_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match="there is no shard"):
        read_layout("webdataset", tmp_path, label="cls")
    shard(tmp_path / "a.tar", {"0.npy": npy(rgb(rng("web"))), "0.cls": b"1"})
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[:600])
    with pytest.raises(DataError, match=r"a\.tar cannot be read"):
        read_layout("webdataset", tmp_path, label="cls")
    pickled = npy(np.array([{"a": 1}], dtype=object))
    shard(tmp_path / "a.tar", {"0.npy": pickled, "0.cls": b"1"})
    with pytest.raises(DataError, match=r"a \.npy of .* cannot be read: [^\n]+"):
        read_layout("webdataset", tmp_path, label="cls")[0]


def degrees(row: int, col: int) -> tuple[float, float]:
    """Longitude and latitude of a pixel of the raster that `write` places."""
    back = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    return back.transform(5e5 + 10 * (col + 0.5), 5e6 - 10 * (row + 0.5))


SPOTS = [(20, 8), (5, 5), (11, 30)]
"""Row and column."""


def as_text(head: str, line: str, decimal: str = ".") -> str:
    at = [degrees(*spot) for spot in SPOTS]
    lines = [line.format(x=x, y=y).replace(".", decimal) for x, y in at]
    return "\n".join([head, *lines, ""])


TABLES = {
    "semicolons": as_text("lon;lat;kind", "{x};{y};a"),
    "commas in numbers": as_text("lon;lat;kind", "{x};{y};a", ","),
    "tabs": as_text("LAT\tLong\tkind", "{y}\t{x}\ta"),
    "a mark of UTF-8": "\ufeff" + as_text("lon,lat,kind", "{x},{y},a"),
    "other names": as_text("Latitude, Longitude, kind", "{y},{x},a"),
    "WKT": as_text("geometry,kind", "POINT ({x} {y}),a"),
    "GeoJSON in a column": as_text(
        "system:index,kind,.geo", '0,a,"{{""type"":""Point"",""coordinates"":[{x},{y}]}}"'
    ),
}


def cut_at(folder, table: str, **options) -> None:
    """A table's points must cut their own pixels out of the raster."""
    stored = rgb(rng("raster"), 32)
    write(folder / "image.tif", stored, placed=True)
    samples = read_layout("points", folder, table=table, label="kind", image="image.tif", **options)
    assert len(samples) == len(SPOTS)
    for at, (row, col) in enumerate(SPOTS):
        pixel = samples[at].layers["aerial-rgb_10m"].pixels[0, :, 0, 0]
        np.testing.assert_array_equal(pixel, stored[:, row, col])
    assert set(samples.groups) == {"15,45"}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_points_as_people_write_them(kind, tmp_path):
    (tmp_path / "p.csv").write_text(TABLES[kind], encoding="utf-8")
    cut_at(tmp_path, "p.csv")


@pytest.mark.parametrize("name", ["p.geojson", "p.gpkg", "p.parquet"])
def test_files_of_points(name, tmp_path):
    lon, lat = zip(*(degrees(*spot) for spot in SPOTS), strict=True)
    places = gpd.GeoDataFrame(
        {"kind": list("aba")}, geometry=gpd.points_from_xy(lon, lat), crs=4326
    )
    places = places if name == "p.geojson" else places.to_crs(32633)
    places.to_parquet(tmp_path / name) if "parquet" in name else places.to_file(tmp_path / name)
    cut_at(tmp_path, name)
    areas = places.assign(geometry=places.to_crs(32633).buffer(9).to_crs(places.crs))
    areas.to_parquet(tmp_path / name) if "parquet" in name else areas.to_file(tmp_path / name)
    with pytest.raises(LabelError, match="the geometry of row 1 is a Polygon, but points are read"):
        read_layout("points", tmp_path, table=name, label="kind", image="image.tif")


def test_points_in_metres_say_their_crs(tmp_path):
    lines = [f"{5e5 + 10 * (col + 0.5)},{5e6 - 10 * (row + 0.5)},a" for row, col in SPOTS]
    (tmp_path / "p.csv").write_text("\n".join(["X,Y,kind", *lines]))
    cut_at(tmp_path, "p.csv", crs="EPSG:32633")
    with pytest.raises(
        DataError, match=r"3 without a place on the Earth; are the .* another 'crs'"
    ):
        cut_at(tmp_path, "p.csv")
    with pytest.raises(DataError, match=r"the 'crs' of .* is unknown: EPSG:1"):
        cut_at(tmp_path, "p.csv", crs="EPSG:1")


def test_holes_in_tables_of_points(tmp_path):
    """No place, no answer and no value are three things."""
    (tmp_path / "p.csv").write_text(
        "lon,lat,kind,r,g,b\n1,2,10,1,,3\n,,9,4,5,6\n500,45,9,7,8,9\n1,2,,1,2,3\n1,2,9,4,5,6\n"
    )
    given = {"table": "p.csv", "columns": ["r", "g", "b"]}
    samples = read_layout("points", tmp_path, label="kind", **given)
    assert samples.report.sentence() == (
        "5 found, 2 kept; 1 without an answer; 2 without a place on the Earth; "
        "read as: all points in one 'block' of 1 degrees"
    )
    assert samples.classes == ("9", "10")
    assert [bool(samples[at].layers["aerial-rgb_0.2m"].valid.all()) for at in (0, 1)] == [
        False,
        True,
    ]
    (tmp_path / "p.csv").write_text("kind,r,g,b,farm\na,1,2,3,x\nb,2,x,4,y\n")
    with pytest.raises(DataError, match=r"says no places; .* a column 'group'; it has: kind, r"):
        read_layout("points", tmp_path, label="kind", **given)
    with pytest.raises(LabelError, match=r"column 'g' of .* holds 'x' in row 2, not a number"):
        read_layout("points", tmp_path, label="kind", group="farm", **given)


def test_shards_of_images_with_a_place(tmp_path):
    stored = rgb(rng("tif"))
    stored[:, :2] = 0
    write(tmp_path / "one.tif", stored, placed=True)
    import rasterio

    with rasterio.open(tmp_path / "one.tif", "r+") as file:
        file.nodata = 0
    content = (tmp_path / "one.tif").read_bytes()
    said = json.dumps({"kinds": ["b", "a"], "name": None}).encode()
    shard(tmp_path / "a.tar", {"0.tif": content, "0.json": said, "1.tif": content})
    samples = read_layout("webdataset", tmp_path, image="tif", label="json:kinds")
    assert (samples.task, samples.classes) == ("scene-labels", ("a", "b"))
    assert samples.targets[0] == SceneClasses((1, 2))
    assert samples[0].place.crs == "EPSG:32633"
    valid = samples[0].layers["aerial-rgb_0.2m"].valid[0]
    assert not valid[:2].any()
    assert valid[2:].all()
    for label, words in {
        "json:kind": "has no key 'kind'; it has: kinds, name",
        "json:name": "has no answer as 'name': None",
    }.items():
        with pytest.raises(LabelError, match=words):
            read_layout("webdataset", tmp_path, image="tif", label=label)
    with pytest.raises(
        DataError, match=r"no sample with .npy, .cls; .* 2 samples are: .json, .tif"
    ):
        read_layout("webdataset", tmp_path, label="cls")


def test_shards_that_are_packed(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"there is no shard .*; it holds: a.tar.gz"):
        read_layout("webdataset", tmp_path, label="cls")
    with pytest.raises(DataError, match=r"it is compressed, .*; unpack it to .tar"):
        read_layout("webdataset", tmp_path, shards="*.gz", label="cls")
