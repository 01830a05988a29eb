"""Items of a catalog in one stac-geoparquet file."""

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet

from earthloom.archive import StaticCatalog
from earthloom.archive.geoparquet import GeoParquet
from earthloom.archive.open import archive_folder, open_archive
from earthloom.errors import ArchiveError
from earthloom.project import GeoParquetArchive, load_project
from earthloom.sensors import load_sensor

OPTICAL, RADAR = load_sensor("sentinel-2-l2a"), load_sensor("sentinel-1-rtc")
HEIGHT = load_sensor("cop-dem-glo-30")
HERE = shapely.Point(11.2, 48.9)
YEAR = (date(2023, 1, 1), date(2023, 12, 31))


def opened(path, **collections):
    named = GeoParquetArchive(kind="geoparquet", path=str(path), collections=collections)
    return GeoParquet(Path(path), named)


@pytest.fixture(scope="module")
def table(tiny_archive, tmp_path_factory):
    """The simulated archive's items, as the published tool writes them; hrefs are relative."""
    items = [json.loads(file.read_text()) for file in sorted(tiny_archive.glob("*/*/*.json"))]
    for item in items:
        folder = f"{item['collection']}/{item['id']}"
        item["links"] = []
        for asset in item["assets"].values():
            asset["href"] = f"{folder}/{asset['href'].removeprefix('./')}"
    path = tmp_path_factory.mktemp("parquet") / "items.parquet"
    to_parquet(parse_stac_items_to_arrow(items), path)
    return path


@pytest.fixture(scope="module")
def catalog(tiny_archive):
    return StaticCatalog(tiny_archive / "catalog.json")


def seen(scenes):
    return [
        (s.id, s.day, s.bounds, s.cloud_cover, s.tile, {n: a.href for n, a in s.bands.items()})
        for s in scenes
    ]


@pytest.mark.parametrize("sensor", [OPTICAL, RADAR, HEIGHT], ids=lambda s: s.name)
def test_a_file_gives_the_scenes_of_the_catalog(sensor, table, catalog):
    found = opened(table).search(sensor, *YEAR, HERE)
    assert found
    assert seen(found) == seen(catalog.search(sensor, *YEAR, HERE))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    days=st.tuples(st.integers(0, 364), st.integers(0, 364)),
    west=st.floats(11.15, 11.25),
    south=st.floats(48.87, 48.93),
    width=st.floats(0.001, 0.05),
)
def test_any_search_is_that_of_the_catalog(days, west, south, width, table, catalog):
    start, end = (date.fromordinal(YEAR[0].toordinal() + day) for day in sorted(days))
    outline = shapely.box(west, south, west + width, south + width)
    found = opened(table).search(RADAR, start, end, outline)
    assert seen(found) == seen(catalog.search(RADAR, start, end, outline))


def test_the_reader_is_told_what_is_wanted(table, monkeypatch):
    """Rows that are out of time or place never become items."""
    made = []
    real = GeoParquet._items

    def counted(self, *arguments):
        for item in real(self, *arguments):
            made.append(item.id)
            yield item

    monkeypatch.setattr(GeoParquet, "_items", counted)
    summer = (date(2023, 7, 1), date(2023, 8, 31))
    found = opened(table).search(OPTICAL, *summer, HERE)
    assert len(made) == len(found) < 12
    made.clear()
    assert opened(table).search(OPTICAL, *YEAR, shapely.Point(20, 10)) == []
    assert made == []


def test_all_there_is(table):
    assert (
        len(opened(table).search(OPTICAL, date.min, date.max, shapely.box(-180, -90, 180, 90)))
        == 12
    )


def test_a_project_with_a_file(new_project, tmp_path, table):
    archive = {"kind": "geoparquet", "path": str(table)}
    project = load_project(new_project(tmp_path), archive=archive)
    assert archive_folder(project) == table.parent
    assert len(open_archive(project, lambda *_: None).search(OPTICAL, *YEAR, HERE)) == 12


def test_collections(table):
    words = "no collection sentinel-2-l1c.* it has: cop-dem-glo-30, sentinel-1-rtc, sentinel-2-l2a"
    with pytest.raises(ArchiveError, match=words):
        opened(table).search(load_sensor("sentinel-2-l1c"), *YEAR, HERE)
    named = opened(table, **{"sentinel-2-l1c": "sentinel-2-l2a"})
    assert len(named.search(load_sensor("sentinel-2-l1c"), *YEAR, HERE)) == 12


def test_files_that_are_no_items(tmp_path):
    file = tmp_path / "x.parquet"
    with pytest.raises(ArchiveError, match="does not exist"):
        opened(file).search(OPTICAL, *YEAR, HERE)
    file.write_bytes(b"hello")
    with pytest.raises(ArchiveError, match="cannot be read as Parquet"):
        opened(file).search(OPTICAL, *YEAR, HERE)
    pq.write_table(pa.table({"id": ["a"], "geometry": [b""]}), file)
    words = "not stac-geoparquet: it lacks the columns assets, collection, datetime; it has: id,"
    with pytest.raises(ArchiveError, match=words):
        opened(file).search(OPTICAL, *YEAR, HERE)
