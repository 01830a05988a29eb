"""Tables and layers of points: the fast path against the slow one, and its memory."""

import tracemalloc

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS

from earthloom.chips import label_collect
from earthloom.chips.label_attributes import Attributes
from earthloom.chips.label_dates import EVER, Period, parse_period
from earthloom.chips.label_points import PointLabels
from earthloom.chips.labels import IGNORE, onto_steps, read_labels
from earthloom.errors import LabelError
from earthloom.grid import window_box
from earthloom.project import Labels as LabelSettings
from earthloom.project import LandClass
from earthloom.sample import Shape2d, Window

CLASSES = (
    LandClass(code=3, name="water", colour="#0000ff"),
    LandClass(code=7, name="forest", colour="#00ff00"),
)
BOX = GeoBox.from_bbox((600_000, 5_400_000, 600_400, 5_400_300), crs="EPSG:32632", resolution=10)
LEFT, TOP = 600_000, 5_400_300


def _read(path, **given_):
    return read_labels(path, LabelSettings(path=str(path), **given_), CLASSES, BOX)


def _slow(x, y, code):
    """Pixel by pixel, in the plain way."""
    found = np.zeros(BOX.shape, np.uint8)
    sets = {}
    for at_x, at_y, one in zip(x, y, code):
        col, row = int((at_x - LEFT) // 10), int((TOP - at_y) // 10)
        if 0 <= col < BOX.shape.x and 0 <= row < BOX.shape.y:
            sets.setdefault((row, col), set()).add(one)
    for (row, col), codes in sets.items():
        if IGNORE not in codes and len(codes) == 1:
            found[row, col] = codes.pop()
    return found


@st.composite
def _points(draw):
    count = draw(st.integers(0, 40))
    # Few pixels, so that points meet; never on an edge, where rounding decides.
    col = draw(st.lists(st.integers(-2, 8), min_size=count, max_size=count))
    row = draw(st.lists(st.integers(-2, 8), min_size=count, max_size=count))
    code = draw(st.lists(st.sampled_from([3, 7, 255]), min_size=count, max_size=count))
    part = draw(st.floats(0.5, 9.5))
    x = LEFT + 10 * np.array(col, float) + part
    y = TOP - 10 * np.array(row, float) - part
    return x, y, np.array(code, np.uint8)


@given(_points())
@settings(max_examples=60, deadline=None)
def test_points_against_the_slow_way(points):
    x, y, code = points
    ever = (np.full(len(x), EVER[0], np.int32), np.full(len(x), EVER[1], np.int32))
    attributes = Attributes(code, np.ones(len(x), np.float32), *ever)
    labels = PointLabels.sorted(x, y, CRS("EPSG:32632"), attributes)
    burned = labels.burn(BOX, None, 0.0)
    found = np.where(burned.code == IGNORE, 0, burned.code)
    np.testing.assert_array_equal(found, _slow(x, y, code))
    window = Window(1, 2, Shape2d(5, 4))
    part = labels.burn(window_box(BOX, window), None, 0.0).code
    np.testing.assert_array_equal(part, burned.code[1:6, 2:6])


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": LEFT + rng.uniform(-50, 450, 3000),
            "y": TOP - rng.uniform(-50, 350, 3000),
            "class": rng.choice(["water", "forest"], 3000),
            "sure": rng.uniform(0, 1, 3000).round(3),
            "when": rng.choice(["2021", "2022-05", "2023-01-01/2023-06-30"], 3000),
        }
    )


def _write(table, path):
    points = gpd.points_from_xy(table.x, table.y, crs=32632)
    if path.name.startswith("plain"):
        if path.suffix == ".csv":
            table.to_csv(path, index=False, sep=";")
        else:
            table.to_parquet(path)
        return path
    frame = gpd.GeoDataFrame(table, geometry=points)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


FILES = ("plain.csv", "plain.parquet", "geo.parquet", "points.gpkg", "points.geojson")


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_says_the_same(name, everything, table, tmp_path, monkeypatch):
    """Kept whole, or only a point for each pixel, class and time."""
    if not everything:
        monkeypatch.setattr(label_collect, "ALL", 10)
        monkeypatch.setattr(label_collect, "_WHEN", 100)
        monkeypatch.setattr("earthloom.chips.labels.ALL", 10)
        monkeypatch.setattr("earthloom.chips.label_batches.ROWS", 256)
        monkeypatch.setattr("earthloom.chips.label_batches._BLOCK", 5000)
    path = _write(table, tmp_path / name)
    crs = {"crs": "EPSG:32632"} if name.startswith("plain") else {}
    labels = _read(path, date_column="when", confidence_column="sure", **crs)
    code = table["class"].map({"water": 3, "forest": 7})
    burned = labels.burn(BOX)
    np.testing.assert_array_equal(labels.onto(BOX), _slow(table.x, table.y, code))
    inside = table.x.between(LEFT, LEFT + 400) & table.y.between(TOP - 300, TOP)
    assert labels.report.read == 3000
    assert labels.report.skipped == {"outside": int((~inside).sum())}
    assert labels.report.kept == int(inside.sum())
    # The greatest weight of a pixel, where it is labelled.
    best = np.zeros(BOX.shape, np.float32)
    np.maximum.at(
        best,
        (
            ((TOP - table.y[inside]) // 10).astype(int).to_numpy(),
            ((table.x[inside] - LEFT) // 10).astype(int).to_numpy(),
        ),
        table.sure[inside].to_numpy(np.float32),
    )
    np.testing.assert_allclose(burned.weight, np.where(burned.code > 0, best, 0), rtol=1e-6)
    assert burned.disputed.any()
    # And in a part of the time.
    early = labels.during(parse_period("2021"))
    then = table[table.when == "2021"]
    np.testing.assert_array_equal(
        early.onto(BOX), _slow(then.x, then.y, then["class"].map({"water": 3, "forest": 7}))
    )


def test_a_buffer_around_points_is_a_disc(tmp_path):
    """As the pixels whose centre lies in a fine polygon around them."""
    at = [shapely.Point(LEFT + 103, TOP - 88), shapely.Point(LEFT - 20, TOP - 200)]
    file = tmp_path / "points.gpkg"
    gpd.GeoDataFrame({"class": ["water", "forest"]}, geometry=at, crs=32632).to_file(file)
    found = _read(file, buffer_m=37.0).onto(BOX)
    discs = gpd.GeoDataFrame(
        {"class": ["water", "forest"]}, geometry=[p.buffer(37, 256) for p in at], crs=32632
    )
    discs.to_file(tmp_path / "discs.gpkg")
    np.testing.assert_array_equal(found, _read(tmp_path / "discs.gpkg").onto(BOX))
    assert (found == 7).any()


def test_longitude_and_latitude(tmp_path):
    degrees = gpd.GeoSeries([shapely.Point(LEFT + 55, TOP - 35)], crs=32632).to_crs(4326)
    file = tmp_path / "a.csv"
    file.write_text(f"Lat,Lon,class\n{degrees.y[0]:.8f},{degrees.x[0]:.8f},forest\n")
    found = _read(file).onto(BOX)
    assert found[3, 5] == 7
    assert (found > 0).sum() == 1


def test_many_points_that_all_lie_elsewhere(table, tmp_path, monkeypatch):
    """Where they lie is still known."""
    monkeypatch.setattr(label_collect, "ALL", 10)
    far = table.assign(x=table.x + 5000)
    labels = _read(_write(far, tmp_path / "geo.parquet"))
    assert labels.report.skipped == {"outside": 3000}
    assert labels.onto(BOX).max() == 0
    bounds = [far.x.min(), far.y.min(), far.x.max(), far.y.max()]
    np.testing.assert_allclose(labels.table.total_bounds, bounds)


@pytest.mark.parametrize("name", ["many.csv", "many.parquet", "many.gpkg"])
def test_a_million_points_in_bounded_memory(name, tmp_path):
    """What is held grows with the pixels of the area, not with the points."""
    rng = np.random.default_rng(1)
    count = 1_000_000 if name != "many.gpkg" else 200_000
    table = pd.DataFrame(
        {
            "x": (LEFT + rng.uniform(-400, 800, count)).round(2),
            "y": (TOP - rng.uniform(-300, 600, count)).round(2),
            "class": rng.choice(["water", "forest"], count),
        }
    )
    path = tmp_path / name
    if name == "many.csv":
        table.to_csv(path, index=False)
    elif name == "many.parquet":
        table.to_parquet(path)
    else:
        points = gpd.points_from_xy(table.x, table.y, crs=32632)
        gpd.GeoDataFrame(table[["class"]], geometry=points).to_file(path)
    del table
    crs = {} if name == "many.gpkg" else {"crs": "EPSG:32632"}
    tracemalloc.start()
    labels = _read(path, **crs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert labels.report.read == count
    assert len(labels.points) <= 2 * BOX.shape.x * BOX.shape.y
    assert peak < 120e6
    # Every pixel has points of both classes.
    assert labels.burn(BOX).disputed.all()


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2023", "2023-01-01", "2023-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2023-05-07", "2023-05-07", "2023-05-07"),
        ("2023-05/2023-06-03", "2023-05-01", "2023-06-03"),
        (pd.Timestamp("2023-05-07 10:00"), "2023-05-07", "2023-05-07"),
        (2023.0, "2023-01-01", "2023-12-31"),
    ],
)
def test_periods(text, first, last):
    days = [int(np.datetime64(day, "D").astype(int)) for day in (first, last)]
    assert parse_period(text) == Period(*days)


@pytest.mark.parametrize(
    "text", ["", "may", "2023-13", "2023-02-30", "2023-06/2023-05", 2023.5, "1/2/3"]
)
def test_what_is_no_period(text):
    assert parse_period(text) is None


def test_two_columns_of_dates_and_rows_that_are_none(tmp_path):
    file = tmp_path / "a.csv"
    rows = ["x,y,class,from,to"]
    for col, (begin, end) in enumerate(
        [("2021-01-01", "2021-06-30"), ("2022", "2021"), ("", "2023"), ("2021-06", "2022-06")]
    ):
        rows.append(f"{LEFT + 10 * col + 5},{TOP - 5},water,{begin},{end}")
    file.write_text("\n".join(rows) + "\n")
    given_ = {"crs": "EPSG:32632", "date_column": "from", "end_column": "to"}
    with pytest.raises(LabelError, match=r"feature 2 .* has 2022 in column 'from' and 2021 in"):
        _read(file, **given_)
    labels = _read(file, broken="skip", **given_)
    assert labels.report.skipped == {"date": 2}
    assert labels.onto(BOX)[0, :5].tolist() == [3, 0, 0, 3, 0]
    assert labels.during(parse_period("2022")).onto(BOX)[0, :5].tolist() == [0, 0, 0, 3, 0]
    assert labels.during(parse_period("2030")).onto(BOX).max() == 0
    steps = onto_steps(labels, BOX, [parse_period("2021-03"), parse_period("2021-07")])
    assert steps[:, 0, :5].tolist() == [[3, 0, 0, 0, 0], [0, 0, 0, 3, 0]]
