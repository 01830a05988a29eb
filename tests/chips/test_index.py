"""The chip index: what is written is found again, by box, period, split and class."""

import json
import subprocess
import sys
from itertools import permutations

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from earthloom.chips.index import open_index
from earthloom.chips.index_schema import ChipRow, corners_of_place, hilbert
from earthloom.chips.index_write import IndexWriter, replace_column
from earthloom.chips.splits import BlockSplit, assign
from earthloom.errors import ContractError, DataError
from earthloom.sample import Place, Shape2d

CLASSES = (1, 2, 5, 40)


def square(lon, lat, size=0.02):
    def wrapped(angle):
        return (angle + 180) % 360 - 180

    return tuple(
        (wrapped(lon + dx), lat + dy) for dx, dy in ((0, 0), (size, 0), (size, size), (0, size))
    )


def some_rows(count, seed=0, west=-5.0, east=5.0):
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        counts = {code: int(rng.integers(0, 4) ** 2) for code in CLASSES}
        first = int(rng.integers(19_000, 19_300))
        rows.append(
            ChipRow(
                id=f"chip-{number}-é",
                area=f"area{number % 3}",
                layers=("optical_10m", "radar_10m")[: 1 + number % 2],
                row=int(rng.integers(0, 5000)),
                col=int(rng.integers(0, 5000)),
                size=256,
                valid_fraction=float(np.float32(rng.random())),
                first_day=first,
                last_day=first + 20,
                label_counts=counts,
                group=f"g{number % 7}",
                split=("train", "test", "none")[number % 3],
                source=f"{number:08x}",
                weight=float(np.float32(rng.random())),
                corners=square(rng.uniform(west, east), rng.uniform(44, 50)),
            )
        )
    return rows


def write(file, rows, group_rows=64):
    with IndexWriter(file, group_rows) as writer:
        for start in range(0, len(rows), 100):
            writer.add(rows[start : start + 100])
    return open_index(file)


@pytest.fixture(scope="module")
def rows():
    return some_rows(1000)


@pytest.fixture(scope="module")
def index(tmp_path_factory, rows):
    return write(tmp_path_factory.mktemp("index") / "index.parquet", rows)


def boxes_meet(row, box):
    lon, lat = zip(*row.corners)
    west, south, east, north = box
    return min(lon) <= east and max(lon) >= west and min(lat) <= north and max(lat) >= south


def test_every_row_comes_back(index, rows):
    table = index.table(index.names).to_pylist()
    assert sorted(each["number"] for each in table) == list(range(1000))
    for position, each in enumerate(table):
        row = rows[each["number"]]
        assert each["id"] == row.id == index.ids(np.array([position]))[0]
        assert each["layers"] == list(row.layers)
        counts = {code: count for code, count in row.label_counts.items() if count}
        assert dict(zip(each["label_codes"], each["label_counts"])) == counts
        assert shapely.from_wkb(each["geometry"]).equals(shapely.Polygon(row.corners))
        for name in ("area", "row", "col", "size", "group", "split", "source"):
            assert each[name] == getattr(row, name)


def test_columns_are_those_of_the_table(index):
    table = index.table(index.names)
    for name in ("number", "row", "valid_fraction", "weight", "area", "split", "group", "id"):
        assert index.column(name).tolist() == table.column(name).to_pylist()
    days = np.array(table.column("first_day").to_pylist(), "datetime64[D]").astype(int)
    np.testing.assert_array_equal(index.column("first_day"), days)
    assert index.column("source").tolist() == table.column("source").to_pylist()
    with pytest.raises(DataError, match="has no column 'colour'; it has: id, number, area"):
        index.column("colour")


def test_rows_of_several_groups_keep_their_order(index):
    wanted = np.array([999, 3, 500, 3, 64, 63])
    ids = index.column("id")
    assert index.table(["id"], wanted).column("id").to_pylist() == ids[wanted].tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.none(),
        st.tuples(st.floats(-7, 7), st.floats(43, 51), st.floats(0, 6), st.floats(0, 3)),
    ),
    st.one_of(st.none(), st.tuples(st.integers(0, 999), st.integers(0, 60), st.booleans())),
    st.one_of(st.none(), st.lists(st.sampled_from(["area0", "area1", "area2"]), max_size=2)),
    st.one_of(st.none(), st.just(["train", "none"])),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_a_query_is_what_a_look_at_each_row_says(index, rows, box, period, areas, splits, least):
    box = None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])
    if period is not None:  # One that just touches the days of some chip.
        chip, length, before = rows[period[0]], period[1], period[2]
        day = chip.first_day if before else chip.last_day
        period = (day - length, day) if before else (day, day + length)
    found = index.query(box, period, areas, splits, least)
    expected = {
        row.id
        for row in rows
        if (box is None or boxes_meet(row, box))
        and (period is None or (row.first_day <= period[1] and row.last_day >= period[0]))
        and (areas is None or row.area in areas)
        and (splits is None or row.split in splits)
        and (least is None or row.valid_fraction >= least)
    }
    assert set(index.ids(found)) == expected
    assert (np.diff(found) > 0).all()


def test_what_cannot_be_is_named(index):
    with pytest.raises(DataError, match="no chip has the area 'mars'; there are: area"):
        index.query(areas=["mars"])
    with pytest.raises(DataError, match="is no box"):
        index.query(box=(0, 10, 1, 5))
    with pytest.raises(DataError, match="there is no chip index"):
        open_index(index.file.with_name("none.parquet"))
    with pytest.raises(ContractError, match="drawn 'wildly'; valid: balanced, uniform, weighted"):
        index.draw(3, 0, how="wildly")


def test_a_small_box_meets_few_row_groups(index):
    """What the order in space is for: a reader skips by the boxes in the file's metadata."""
    metadata = pq.ParquetFile(index.file).metadata
    names = [metadata.schema.column(k).path for k in range(metadata.num_columns)]

    def edge(group, name):
        return metadata.row_group(group).column(names.index(f"bbox.{name}")).statistics

    def met(group):
        return (
            edge(group, "xmin").min <= 1.2
            and edge(group, "xmax").max >= 1
            and edge(group, "ymin").min <= 46.2
            and edge(group, "ymax").max >= 46
        )

    assert metadata.num_row_groups == 16
    assert 1 <= sum(met(group) for group in range(16)) <= 4


def test_other_readers_find_geoparquet(index):
    box = (1.0, 46.0, 2.0, 47.0)
    table = gpd.read_parquet(index.file, bbox=box)
    assert set(table["id"]) == set(index.ids(index.query(box)))
    assert table.crs.to_epsg() in (4326, None) or table.crs.to_authority() == ("OGC", "CRS84")
    geo = json.loads(pq.read_metadata(index.file).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


def test_histograms_and_class_lists(index):
    table = index.table(["label_codes", "label_counts"]).to_pylist()
    dense = index.histograms().dense()
    assert index.classes == CLASSES
    for each, got in zip(table, dense):
        counts = dict(zip(each["label_codes"], each["label_counts"]))
        assert got.tolist() == [counts.get(code, 0) for code in CLASSES]
    some = np.array([5, 900, 17, 44])
    np.testing.assert_array_equal(index.histograms().dense(some), dense[some])
    for lists, rows in ((index.class_lists(), np.arange(1000)), (index.class_lists(some), some)):
        for position in range(len(CLASSES)):
            holds = rows[dense[rows, position] > 0]
            assert lists.of(position).tolist() == holds.tolist()


def test_a_balanced_draw_holds_every_class_alike(index):
    rows = index.query(areas=["area1"])
    dense = index.histograms().dense()
    for chosen in (None, rows):
        drawn = index.draw(16, 3, rows=chosen)
        np.testing.assert_array_equal(drawn, index.draw(16, 3, rows=chosen))
        assert len(drawn) == 16
        for turn in drawn.reshape(4, 4):  # A turn has a chip for each class, in some order.
            holds = dense[turn] > 0
            assert any(all(holds[p[k], k] for k in range(4)) for p in permutations(range(4)))
        if chosen is not None:
            assert np.isin(drawn, rows).all()
    assert not np.array_equal(index.draw(16, 3), index.draw(16, 4))
    for how in ("uniform", "weighted"):
        drawn = index.draw(50, 1, how=how, rows=rows)
        assert len(set(drawn.tolist())) == 50
        assert np.isin(drawn, rows).all()


def test_split_is_assigned_and_kept(tmp_path):
    index = write(tmp_path / "index.parquet", some_rows(300, west=0, east=1))
    splits = assign(index.chips(), BlockSplit(30_000, 500), 0)
    replace_column(index.file, "split", splits)
    again = open_index(index.file)
    assert again.column("split").tolist() == splits.tolist()
    assert again.ids(np.arange(300)) == index.ids(np.arange(300))
    assert again.query(splits=["test"]).tolist() == np.flatnonzero(splits == "test").tolist()
    with pytest.raises(ContractError, match="3 values of 'split' for 300 chips"):
        replace_column(index.file, "split", splits[:3])
    with pytest.raises(ContractError, match="column 'id' of an index cannot be replaced"):
        replace_column(index.file, "id", splits)


def test_a_lookup_that_is_lost_or_stale_is_made_again(tmp_path):
    file = tmp_path / "index.parquet"
    first = write(file, some_rows(50))
    lookup = tmp_path / "index.lookup"
    before = {path.name: path.read_bytes() for path in lookup.iterdir()}
    for path in lookup.iterdir():
        path.unlink()
    assert open_index(file).column("id").tolist() == first.column("id").tolist()
    assert {path.name: path.read_bytes() for path in lookup.iterdir()} == before
    other = tmp_path / "other.parquet"
    write(other, some_rows(60, seed=9))
    other.replace(file)
    assert len(open_index(file)) == 60


def test_the_same_rows_give_the_same_bytes(tmp_path):
    rows = some_rows(200)
    one = write(tmp_path / "a" / "index.parquet", rows)
    other = write(tmp_path / "b" / "index.parquet", rows)
    assert one.file.read_bytes() == other.file.read_bytes()
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"index.parquet", "index.lookup"}


def test_chips_over_the_date_line(tmp_path):
    rows = some_rows(40, west=179.9, east=180.1)
    index = write(tmp_path / "index.parquet", rows)
    both = index.query(box=(179.5, 40, -179.5, 55))
    assert len(both) == 40
    west, east = index.query(box=(179, 40, 180, 55)), index.query(box=(-180, 40, -179, 55))
    assert len(west) + len(east) > 40
    assert set(west.tolist()) | set(east.tolist()) == set(range(40))
    assert len(index.query(box=(-170, 40, 170, 55))) == 0
    shapes = gpd.read_parquet(index.file).geometry
    assert (shapely.area(shapes.to_numpy()) < 0.00041).all()
    assert (shapes.geom_type == "MultiPolygon").any()
    assert np.ptp(index.chips().corners[..., 1], axis=1).max() < 0.021


def test_chips_without_place_or_time_or_label(tmp_path):
    bare = ChipRow("photo", "", ("rgb",), 0, 0, 64, 1.0)
    index = write(tmp_path / "index.parquet", [*some_rows(5), bare])
    row = index.column("id").tolist().index("photo")
    assert row == 5
    assert row not in index.query(box=(-180, -90, 180, 90))
    assert row not in index.query(period=(-(10**6), 10**6))
    assert row in index.query(min_valid=1.0)
    assert index.chips().days is None
    only = write(tmp_path / "only" / "index.parquet", [bare])
    assert only.chips().corners is None
    assert only.classes == ()
    with pytest.raises(ContractError, match="no chip holds a labelled pixel"):
        only.draw(1, 0)


def test_corners_of_a_place():
    place = Place("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), Shape2d(100, 200))
    corners = corners_of_place(place)
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(*zip(*corners))
    np.testing.assert_allclose(x, [500_000, 502_000, 502_000, 500_000], atol=1e-3)
    np.testing.assert_allclose(y, [5_000_000, 5_000_000, 4_999_000, 4_999_000], atol=1e-3)
    over = Place("EPSG:3832", (10.0, 0.0, 3_339_000.0, 0.0, -10.0, 0.0), Shape2d(100, 200))
    lon, _ = zip(*corners_of_place(over))
    assert max(lon) > 179.9
    assert min(lon) < -179.9
    with pytest.raises(DataError, match=r"of EPSG:32633 does not lie on the Earth"):
        corners_of_place(Place("EPSG:32633", (10.0, 0, 1e12, 0, -10.0, 1e12), Shape2d(9, 9)))


def test_an_index_that_cannot_be_is_not_written(tmp_path):
    file = tmp_path / "index.parquet"
    with pytest.raises(ContractError, match="2 chips have the id 'chip-3-é'"):
        write(file, [*some_rows(20), some_rows(4)[3]])
    with pytest.raises(ContractError, match="needs chips, but none was added"):
        write(file, [])
    off = ChipRow("off", "", (), 0, 0, 64, 1.0, corners=square(0, 95))
    with pytest.raises(ContractError, match=r"chips off to off: a corner at .* 95 "):
        write(file, [off])
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.floats(-179, 179), st.floats(-89, 89)), min_size=2, max_size=20))
def test_the_curve_is_a_function_of_the_place(points):
    lon, lat = np.array(points).T
    boxes = np.stack([lon, lat, lon + 0.5, lat + 0.5], axis=1)
    keys = hilbert(np.concatenate([boxes, np.full((1, 4), np.nan)]))
    assert keys[-1] > keys[:-1].max()
    np.testing.assert_array_equal(keys[:-1], [hilbert(box[None])[0] for box in boxes])


def test_the_curve_goes_from_cell_to_neighbour():
    side = 16  # Cells of 4096 steps of the curve's own grid.
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    lon, lat = (x.ravel() + 0.5) * 360 / side - 180, (y.ravel() + 0.5) * 180 / side - 90
    order = np.argsort(hilbert(np.stack([lon, lat, lon, lat], axis=1)))
    steps = np.abs(np.diff(x.ravel()[order])) + np.abs(np.diff(y.ravel()[order]))
    assert (steps == 1).all()


def test_opening_and_drawing_needs_numpy_alone(index):
    """Start-up time is what these would cost; pyarrow is loaded when a column asks for it."""
    code = (
        "import sys; from pathlib import Path; from earthloom.chips.index import open_index; "
        f"index = open_index(Path({str(index.file)!r})); "
        "index.query(box=(0, 45, 1, 46)); print(len(index.ids(index.draw(16, 0)))); "
        "print(sorted({'pyarrow', 'pandas', 'geopandas', 'shapely', 'scipy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["16", "[]"]
