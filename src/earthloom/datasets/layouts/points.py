"""Tables of points: a row a sample, its columns the bands of one pixel, or pixels around it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio.warp
from numpy.typing import NDArray
from rasterio.windows import Window

from earthloom.datasets.imagery import Imagery, opened
from earthloom.datasets.layouts.tables import (
    classes_in,
    need,
    numbers,
    places_of,
    read_table,
    texts,
    values_in,
)
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, choices
from earthloom.sample import Chip, LayerSpec, Place, Shape2d
from earthloom.sample.place import block_of
from earthloom.sample.target import Target

_NO_ANSWER = "without an answer"
_NO_PLACE = "without a place on the Earth"


@dataclass(frozen=True)
class PointItems:
    """Points with an answer each; a `Reader`."""

    imagery: Imagery
    answers: tuple[Target, ...]
    groups: tuple[str, ...]
    pixels: NDArray[np.float64] | None
    """(N, C) stored numbers of bands, where the table has them."""
    raster: Path | None
    """Where chips are cut, else."""
    corners: NDArray[np.int64]
    """(N, 2) first row and column of each chip in the raster."""
    size: int

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.imagery.spec.key: self.imagery.spec}

    def __len__(self) -> int:
        return len(self.answers)

    def chip(self, index: int) -> Chip:
        place, seen = None, None
        if self.pixels is not None:
            stored = self.pixels[index][:, None, None]
        else:
            stored, seen, place = self._cut(index)
        layer = self.imagery.layer(stored, seen)
        shape = Shape2d(*layer.valid.shape[-2:])
        layers = {layer.spec.key: layer}
        return Chip(f"{index:06d}", shape, layers, group=self.groups[index], place=place)

    def target(self, index: int) -> Target | None:
        return self.answers[index]

    def file(self, index: int) -> Path | None:
        return self.raster

    def seen_as(self, imagery: Imagery) -> "PointItems":
        return replace(self, imagery=imagery)

    def _cut(self, index: int) -> tuple[NDArray[np.number], NDArray[np.bool_], Place]:
        assert self.raster is not None
        row, col = (int(one) for one in self.corners[index])
        window = Window(col, row, self.size, self.size)
        with opened(self.raster) as source:
            at = self.imagery.found_in(source)
            if at is None:
                raise DataError(f"the raster {self.raster} has {self.imagery.lack_of(source)}")
            stored = source.read(at, window=window)
            seen = source.dataset_mask(window=window) > 0
            crs = source.crs.to_string()
            a, b, c, d, e, f = tuple(source.window_transform(window))[:6]
        return stored, seen, Place(crs, (a, b, c, d, e, f), Shape2d(self.size, self.size))


def read_points(
    folder: Path,
    imagery: Imagery,
    table: str,
    label: str = "",
    value: str = "",
    unit: str = "1",
    columns: Sequence[str] = (),
    image: str = "",
    size: int = 1,
    lon: str = "",
    lat: str = "",
    crs: str = "EPSG:4326",
    group: str = "",
    block: float = 1.0,
    classes: Sequence[str] = (),
) -> LabelledSamples:
    """The rows of a table with a class (`label`) or a number (`value`).

    Tables are CSV, Parquet, or files of points such as GeoJSON and GeoPackage, whose own CRS
    counts. Otherwise places are the columns `lon` and `lat`, which are found by their usual names,
    or one of WKT, in `crs`. Pixels are the table's `columns`, in the order of the imagery's bands
    (an empty cell is missing), or `size` x `size` pixels of the raster `image` around each point.
    Groups are the column `group`, or blocks of `block` degrees. Rows without an answer or a place,
    and points whose pixels lie outside, are counted.
    """
    file, raster = folder / table, folder / image if image else None
    rows = read_table(file)
    _one_of_each(file, label, value, columns, image)
    need(rows, [label or value, *columns, *([group] if group else [])], file)
    if columns and len(columns) != len(imagery.spec.bands):
        raise DataError(
            f"{len(columns)} columns do not fit the bands {choices(imagery.spec.bands)}"
        )
    places = _places(rows, file, lon, lat, crs, bool(image) or not group)
    keep = _Kept(np.ones(len(rows), np.bool_), np.zeros((len(rows), 2), np.int64))
    keep.choose(rows[label or value].isna().to_numpy(), places, raster, size)
    report = ReadReport(len(rows), keep.reasons)
    if not keep.rows.any():
        hint = "; are the coordinates in another 'crs'?" if keep.reasons.get(_NO_PLACE) else ""
        raise DataError(f"{file} has no sample: {report.sentence()}{hint}")
    known = rows[keep.rows]
    names, answers = (
        classes_in([[each] for each in texts(known, label)], classes, file)
        if label
        else ((), values_in(known, value, unit, file))
    )
    reader = PointItems(
        imagery=replace(imagery),
        answers=answers,
        groups=tuple(texts(known, group)) if group else _blocks(places, keep.rows, block),
        pixels=_pixels(known, columns, file),
        raster=raster,
        corners=keep.corners[keep.rows],
        size=size,
    )
    if not group and len(reader.groups) > 1 == len(set(reader.groups)):
        report = replace(report, read=(f"all points in one 'block' of {block:g} degrees",))
    return LabelledSamples(
        folder.name, "scene-class" if label else "scene-value", names, reader, report
    )


@dataclass
class _Kept:
    """Which rows are left, where their chips begin, and why others are not."""

    rows: NDArray[np.bool_]
    """(N,)."""
    corners: NDArray[np.int64]
    """(N, 2) row and column, of a raster."""
    reasons: dict[str, int] = field(default_factory=dict)

    def choose(
        self,
        unanswered: NDArray[np.bool_],
        places: NDArray[np.float64] | None,
        raster: Path | None,
        size: int,
    ) -> None:
        """Leaves out, and counts, what has no answer, no place, or lies outside the raster."""
        self._out(unanswered, _NO_ANSWER)
        if places is None:
            return
        self._out(np.asarray(~np.isfinite(places).all(axis=1)), _NO_PLACE)
        if raster is not None:
            self.corners, inside = _corners(raster, places, size)
            self._out(~inside, "outside the raster")

    def _out(self, which: NDArray[np.bool_], reason: str) -> None:
        self.reasons[reason] = int((self.rows & which).sum())
        self.rows = self.rows & ~which


def _one_of_each(file: Path, label: str, value: str, columns: Sequence[str], image: str) -> None:
    if bool(label) == bool(value):
        raise DataError(f"{file}: name one column of answers, as 'label' or 'value'")
    if bool(columns) == bool(image):
        raise DataError(f"{file}: pixels come from 'columns', or from a raster 'image'")


def _places(
    rows: pd.DataFrame, file: Path, lon: str, lat: str, crs: str, needed: bool
) -> NDArray[np.float64] | None:
    """(N, 2) longitude and latitude, if they play a part."""
    places = places_of(rows, file, lon, lat, crs) if needed else None
    if needed and places is None:
        raise DataError(
            f"the table {file} says no places; name its columns 'lon' and 'lat', or, for pixels of "
            f"'columns', a column 'group'; it has: {choices(rows.columns)}"
        )
    return places


def _pixels(rows: pd.DataFrame, columns: Sequence[str], file: Path) -> NDArray[np.float64] | None:
    if not columns:
        return None
    return np.stack([numbers(rows, column, file) for column in columns], axis=-1)


def _blocks(
    places: NDArray[np.float64] | None, kept: NDArray[np.bool_], block: float
) -> tuple[str, ...]:
    assert places is not None
    return tuple(block_of(x, y, block) for x, y in places[kept].tolist())


def _corners(
    raster: Path, places: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """First row and column of each point's chip, and which lie wholly inside."""
    with opened(raster) as source:
        if source.crs is None:
            raise DataError(f"the raster {raster} has no CRS, so points have no place in it")
        inverse, shape = ~source.transform, source.shape
        there = np.asarray(np.isfinite(places).all(axis=1))
        lon, lat = places[there].T
        x, y = map(np.asarray, rasterio.warp.transform("EPSG:4326", source.crs, lon, lat))
    corners = np.zeros((len(places), 2), np.int64)
    col = np.floor(inverse.a * x + inverse.b * y + inverse.c) - size // 2
    row = np.floor(inverse.d * x + inverse.e * y + inverse.f) - size // 2
    within = (row >= 0) & (col >= 0) & (row + size <= shape[0]) & (col + size <= shape[1])
    inside = there.copy()
    inside[there] = within
    corners[inside] = np.stack([row[within], col[within]], axis=-1)
    return corners, inside
