"""The chip index: a GeoParquet table with one row a chip, opened lazily.

`earthloom.chips.index_write` makes it. What is asked most (boxes, days, classes, splits, ids) comes
from arrays beside it that are mapped into memory and read with numpy alone, so that a million chips
are open at once; every other column is read from the Parquet file when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.index_lookup import NO_DAY, Box, Lookup, lookup_folder, mark_of, open_lookup
from earthloom.chips.sampling import Balanced, ClassLists, Rule, Weighted
from earthloom.errors import ContractError, DataError, choices

if TYPE_CHECKING:
    import pyarrow as pa

    from earthloom.chips.splits import ChipTable

_PLAIN = ("number", "row", "col", "size", "valid_fraction", "weight", "first_day", "last_day")
_NAMED = ("area", "split", "group")


@dataclass(frozen=True)
class Histograms:
    """Labelled pixels of each class in each chip, as a sparse table in CSR order."""

    starts: NDArray[np.int64]
    """(n + 1,) where each chip's entries begin."""
    columns: NDArray[np.int32]
    """(m,) positions in `classes`."""
    counts: NDArray[np.int64]
    """(m,) pixels."""
    classes: tuple[int, ...]
    """Class codes."""

    def dense(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """(n, K) of some chips, or of all."""
        rows = np.arange(len(self.starts) - 1) if rows is None else rows
        entries, owners = self._entries(rows)
        table = np.zeros((len(rows), len(self.classes)), np.int64)
        table[owners, self.columns[entries]] = self.counts[entries]
        return table

    def lists(self, rows: NDArray[np.int64]) -> ClassLists:
        """For each class, those of some chips that hold it."""
        entries, owners = self._entries(rows)
        columns = self.columns[entries]
        order = np.argsort(columns, kind="stable")
        ends = np.cumsum(np.bincount(columns, minlength=len(self.classes)))
        return ClassLists(np.concatenate([[0], ends]).astype(np.int64), rows[owners[order]])

    def _entries(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the entries of some chips, and which of `rows` each belongs to."""
        first = np.asarray(self.starts[rows])
        sizes = np.asarray(self.starts[rows + 1]) - first
        owners = np.repeat(np.arange(len(rows)), sizes)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return first[owners] + within, owners


class ChipIndex:
    """An index that `open_index` opened. Chips are known by their row numbers, from 0."""

    def __init__(self, file: Path, lookup: Lookup) -> None:
        self.file, self._lookup = file, lookup

    def __len__(self) -> int:
        return self._lookup.count

    @property
    def classes(self) -> tuple[int, ...]:
        """Class codes that some chip holds."""
        return self._lookup.classes

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the table."""
        import pyarrow.parquet as pq

        return tuple(pq.read_schema(self.file).names)

    def query(
        self,
        box: Box | None = None,
        period: tuple[int, int] | None = None,
        areas: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
        min_valid: float | None = None,
    ) -> NDArray[np.int64]:
        """Sorted row numbers of the chips for which all that is given holds.

        `box` (west, south, east, north in degrees, west above east over the date line) meets the
        chip's own box. `period` holds two days since 1970-01-01, the second included; a chip with
        any day in it counts. DataError names a box, an area or a split that cannot be.
        """
        rows = np.arange(len(self)) if box is None else self._lookup.in_box(box)
        if period is not None:
            first, last = self._of("first_day", rows), self._of("last_day", rows)
            rows = rows[(first <= period[1]) & (last >= period[0]) & (first != NO_DAY)]
        for column, values in (("area", areas), ("split", splits)):
            if values is not None:
                wanted = self._lookup.named(column, tuple(values))
                rows = rows[wanted[self._of(column, rows)]]
        if min_valid is not None:
            rows = rows[self._of("valid_fraction", rows) >= min_valid]
        return rows

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """The ids of some chips."""
        return self._lookup.ids(rows)

    def column(self, name: str) -> NDArray[Any]:
        """(n,) one column. Days are since 1970-01-01, NaN days the least int32."""
        if name in _PLAIN:
            return np.asarray(self._lookup.array(name))
        if name in _NAMED:
            named: NDArray[Any] = np.array(self._lookup.names[name])[self._lookup.array(name)]
            return named
        if name == "id":
            return np.array(self.ids(np.arange(len(self))))
        values: NDArray[Any] = self.table([name]).column(name).to_numpy()
        return values

    def table(self, columns: Sequence[str], rows: NDArray[np.int64] | None = None) -> pa.Table:
        """Columns of some chips in their order, or of all; other row groups are not read."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        source = pq.ParquetFile(self.file)
        unknown = [name for name in columns if name not in source.schema_arrow.names]
        if unknown:
            known = choices(source.schema_arrow.names)
            raise DataError(f"the chip index has no column '{unknown[0]}'; it has: {known}")
        if rows is None:
            return source.read(columns=list(columns))
        sizes = [source.metadata.row_group(g).num_rows for g in range(source.num_row_groups)]
        ends = np.cumsum(sizes)
        wanted = np.unique(np.searchsorted(ends, rows, "right"))
        starts = np.zeros(len(sizes), np.int64)
        starts[wanted] = np.cumsum(np.take(sizes, wanted)) - np.take(sizes, wanted)
        group = np.searchsorted(ends, rows, "right")
        found = source.read_row_groups(wanted.tolist(), columns=list(columns))
        return found.take(pa.array(rows - (ends[group] - np.take(sizes, group)) + starts[group]))

    def boxes(self) -> NDArray[np.float64]:
        """(n, 4) west, south, east, north in degrees; east above 180 over the date line."""
        return np.asarray(self._lookup.array("box"))

    def histograms(self) -> Histograms:
        """The label histograms of all chips, mapped."""
        array = self._lookup.array
        return Histograms(
            array("histogram_starts"),
            array("histogram_columns"),
            array("histogram_counts"),
            self.classes,
        )

    def draw(
        self, count: int, seed: int, how: str = "balanced", rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """(count,) row numbers drawn by a rule of `DRAWS`, of some chips or of all."""
        if how not in DRAWS:
            raise ContractError(f"chips cannot be drawn '{how}'; valid: {choices(DRAWS)}")
        rule = DRAWS[how](self, count, rows)
        return rule.order(np.random.Generator(np.random.PCG64(seed)))

    def class_lists(self, rows: NDArray[np.int64] | None = None) -> ClassLists:
        """For each class the chips that hold it; for all chips it is not computed but mapped."""
        return self._lookup.lists if rows is None else self.histograms().lists(rows)

    def chips(self) -> ChipTable:
        """What splits go by; see `earthloom.chips.splits.assign`."""
        from earthloom.chips.splits import ChipTable

        days = np.stack([self.column("first_day"), self.column("last_day")], axis=1)
        corners = corners_of(self.table(["geometry"]).column("geometry").to_pylist())
        return ChipTable(
            ids=self.column("id"),
            corners=None if np.isnan(corners).all() else corners,
            days=None if (days == NO_DAY).any() else days,
            regions=self.column("area"),
            groups=self.column("group"),
            histograms=self.histograms().dense() if self.classes else None,
        )

    def _of(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        array = self._lookup.array(name)
        return np.asarray(array if len(rows) == len(self) else array[rows])


def open_index(file: Path) -> ChipIndex:
    """Opens an index; DataError if there is none.

    Arrays beside it that are missing, or belong to another state of the file, are made again.
    """
    mark = mark_of(file)
    lookup = open_lookup(lookup_folder(file), mark)
    if lookup is None:
        from earthloom.chips.index_write import write_lookup

        write_lookup(file)
        lookup = open_lookup(lookup_folder(file), mark_of(file))
    if lookup is None:
        raise DataError(f"the chip index {file} was changed while it was opened; open it again")
    return ChipIndex(file, lookup)


def corners_of(outlines: Sequence[bytes | None]) -> NDArray[np.float64]:
    """(n, 4, 2) longitude and latitude of outlines in WKB, as the index holds them; NaN without.

    An outline cut at the date line is given by the corners of its box.
    """
    corners = np.full((len(outlines), 4, 2), np.nan)
    for number, outline in enumerate(outlines):
        if outline is None:
            continue
        if len(outline) == 93:  # One ring of five points.
            corners[number] = np.frombuffer(outline, "<f8", 8, 13).reshape(4, 2)
        else:
            corners[number] = _joined(outline)
    return corners


def _joined(outline: bytes) -> NDArray[np.float64]:
    import shapely

    points = shapely.get_coordinates(shapely.from_wkb(outline))
    lon = np.where(points[:, 0] < 0, points[:, 0] + 360, points[:, 0])
    west, east = lon.min(), lon.max() - 360
    south, north = points[:, 1].min(), points[:, 1].max()
    return np.array([(west, south), (west, north), (east, north), (east, south)])


def _balanced(index: ChipIndex, count: int, rows: NDArray[np.int64] | None) -> Rule:
    return Balanced(index.class_lists(rows), count)


def _uniform(index: ChipIndex, count: int, rows: NDArray[np.int64] | None) -> Rule:
    weights = np.ones(len(index)) if rows is None else np.zeros(len(index))
    if rows is not None:
        weights[rows] = 1.0
    return Weighted(weights, count)


def _weighted(index: ChipIndex, count: int, rows: NDArray[np.int64] | None) -> Rule:
    weights = index.column("weight").astype(np.float64)
    if rows is None:
        return Weighted(weights, count)
    kept = np.zeros(len(index))
    kept[rows] = weights[rows]
    return Weighted(kept, count)


DRAWS: Mapping[str, Callable[[ChipIndex, int, NDArray[np.int64] | None], Rule]] = {
    "balanced": _balanced,
    "uniform": _uniform,
    "weighted": _weighted,
}
"""How `ChipIndex.draw` draws: every class alike, every chip alike, or by the column `weight`."""
