"""Items of a catalog as one stac-geoparquet file, of which a search reads what it needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pystac
from shapely.geometry.base import BaseGeometry
from stac_geoparquet.arrow import stac_table_to_items

from earthloom.archive.item import NOT_STAC, asset_href, item_of
from earthloom.archive.listing import on_earth, scenes_among
from earthloom.archive.scene import Scene
from earthloom.errors import ArchiveError, choices
from earthloom.project import GeoParquetArchive
from earthloom.sensors import Sensor

_NEEDED = ("id", "geometry", "assets", "collection", "datetime")
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class GeoParquet:
    """A stac-geoparquet file (github.com/radiantearth/stac-geoparquet-spec, 1.0 or later).

    Collection, time and bounding box are compared inside the reader, which passes over row groups
    whose statistics rule them out.
    """

    path: Path
    settings: GeoParquetArchive

    @property
    def folder(self) -> Path:
        return self.path.parent

    def search(self, sensor: Sensor, start: date, end: date, outline: BaseGeometry) -> list[Scene]:
        """See `SceneSource`."""
        place = on_earth(outline)
        table = self._open()
        wanted = self._of_sensor(table, sensor) & _in_space(table.schema, place)
        if not sensor.static:
            wanted &= _in_time(table.schema, start, end)
        found = self._items(table, wanted)
        return scenes_among(found, sensor, (start, end), place, self._href)

    def _open(self) -> ds.Dataset:
        if not self.path.is_file():
            raise ArchiveError(f"the stac-geoparquet file {self.path} does not exist")
        try:
            table = ds.dataset(self.path, format="parquet")
        except (pa.ArrowInvalid, OSError) as error:
            raise ArchiveError(f"{self.path} cannot be read as Parquet: {error}") from error
        lacking = [name for name in _NEEDED if name not in table.schema.names]
        if lacking:
            raise ArchiveError(
                f"{self.path} is not stac-geoparquet: it lacks the columns {choices(lacking)}; "
                f"it has: {choices(table.schema.names)}"
            )
        return table

    def _of_sensor(self, table: ds.Dataset, sensor: Sensor) -> pc.Expression:
        """Rows of the sensor's collections; ArchiveError names those that there are."""
        chosen = self.settings.collections.get(sensor.name)
        candidates = (chosen,) if chosen else sensor.collections
        held = set(table.to_table(["collection"])["collection"].unique().to_pylist())
        if not held & set(candidates):
            raise ArchiveError(
                f"{self.path} has no collection {' or '.join(candidates)} for {sensor.name}; "
                f"name one under archive.collections; it has: {choices(sorted(map(str, held)))}"
            )
        return pc.field("collection").isin(list(candidates))

    def _items(self, table: ds.Dataset, wanted: pc.Expression) -> Iterator[pystac.Item]:
        try:
            rows = table.to_table(filter=wanted)
            for content in stac_table_to_items(rows) if rows.num_rows else ():
                item = item_of(content)
                item.set_self_href(str(self.folder / f"{item.id}.json"))
                yield item
        except (*NOT_STAC, pa.ArrowInvalid, OSError) as error:
            raise ArchiveError(f"{self.path} cannot be read as STAC items: {error}") from error

    def _href(self, asset: pystac.Asset) -> str:
        """An address as it is; a path relative to the file's folder where it lies below it."""
        href = asset_href(asset)
        if "://" in href:
            return href
        path = Path(href)
        below = path.is_relative_to(self.folder)
        return path.relative_to(self.folder).as_posix() if below else path.as_posix()


def _in_time(schema: pa.Schema, start: date, end: date) -> pc.Expression:
    """Rows within a day of a period, as a solar day may begin and end on another day of UTC; rows
    without a time of their own pass, as only a scene knows the middle of theirs."""
    margin = timedelta(1)
    first = start - margin if start > date.min + margin else start
    last = end + margin if end < date.max - margin else end
    column = pc.field("datetime")
    kind = schema.field("datetime").type
    if not pa.types.is_timestamp(kind):
        return pc.scalar(True)
    # Arrow's nanoseconds reach from 1677 to 2262.
    low = datetime.combine(max(first, date(1700, 1, 1)), time.min, UTC)
    high = datetime.combine(min(last, date(2200, 1, 1)), time.max, UTC)
    after, before = (
        pa.scalar(limit, pa.timestamp("us", "UTC")).cast(kind) for limit in (low, high)
    )
    return column.is_null() | ((column >= after) & (column <= before))


def _in_space(schema: pa.Schema, place: BaseGeometry) -> pc.Expression:
    """Rows whose box meets the box of a place; one over the date line, whose west is greater than
    its east, passes."""
    if "bbox" not in schema.names:
        return pc.scalar(True)
    kind = schema.field("bbox").type
    if not (pa.types.is_struct(kind) and all(kind.get_field_index(s) >= 0 for s in _SIDES)):
        return pc.scalar(True)
    xmin, ymin, xmax, ymax = (pc.field("bbox", side) for side in _SIDES)
    west, south, east, north = place.bounds
    over = xmin > xmax
    beside = (xmin <= east) & (xmax >= west)
    return pc.field("bbox").is_null() | ((over | beside) & (ymin <= north) & (ymax >= south))
