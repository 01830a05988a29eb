"""Tables of points: a row a sample, its columns the bands of one pixel, or pixels around it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio.warp
from numpy.typing import NDArray
from rasterio.windows import Window

from earthloom.datasets.imagery import Imagery, opened
from earthloom.datasets.layouts.items import codes_of
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Chip, LayerSpec, Place, Shape2d
from earthloom.sample.place import block_of
from earthloom.sample.target import SceneClasses, SceneValue, Target


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

    def _cut(self, index: int) -> tuple[NDArray[np.number], NDArray[np.bool_], Place]:
        assert self.raster is not None
        row, col = (int(one) for one in self.corners[index])
        window = Window(col, row, self.size, self.size)
        with opened(self.raster) as source:
            stored = source.read(self.imagery.indexes, window=window)
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
    lon: str = "lon",
    lat: str = "lat",
    group: str = "",
    block: float = 1.0,
    classes: Sequence[str] = (),
) -> LabelledSamples:
    """The rows of a table (CSV or Parquet) with a class (`label`) or a number (`value`).

    Pixels are the table's `columns`, in the order of the imagery's bands, or `size` x `size` pixels
    of the raster `image` around each point. Groups are the column `group`, or blocks of `block`
    degrees. Rows without an answer, and points whose pixels lie outside, are counted.
    """
    rows = _table(folder / table)
    _one_of_each(folder / table, label, value, columns, image)
    _need(rows, [label or value, *columns, *([group] if group else [lon, lat])], folder / table)
    skipped: dict[str, int] = {}
    known = rows[rows[label or value].notna()]
    skipped["without an answer"] = len(rows) - len(known)
    corners = np.zeros((len(known), 2), np.int64)
    if image:
        _need(rows, [lon, lat], folder / table)
        corners, inside = _corners(folder / image, known, lon, lat, size)
        skipped["outside the raster"] = int((~inside).sum())
        known, corners = known[inside], corners[inside]
    if not len(known):
        report = ReadReport(len(rows), skipped)
        raise DataError(f"{folder / table} has no sample: {report.sentence()}")
    names, answers = _answers(known, label, value, unit, classes, folder / table)
    if columns and len(columns) != len(imagery.spec.bands):
        raise DataError(
            f"{len(columns)} columns do not fit the bands {choices(imagery.spec.bands)}"
        )
    reader = PointItems(
        imagery=replace(imagery),
        answers=answers,
        groups=_groups(known, group, lon, lat, block),
        pixels=known[list(columns)].to_numpy(np.float64) if columns else None,
        raster=folder / image if image else None,
        corners=corners,
        size=size,
    )
    task = "scene-class" if label else "scene-value"
    return LabelledSamples(folder.name, task, names, reader, ReadReport(len(rows), skipped))


def _one_of_each(file: Path, label: str, value: str, columns: Sequence[str], image: str) -> None:
    if bool(label) == bool(value):
        raise DataError(f"{file}: name one column of answers, as 'label' or 'value'")
    if bool(columns) == bool(image):
        raise DataError(f"{file}: pixels come from 'columns', or from a raster 'image'")


def _table(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    except (OSError, UnicodeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"the table {file} cannot be read: {words}") from error


def _need(rows: pd.DataFrame, columns: Sequence[str], file: Path) -> None:
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise DataError(
            f"the table {file} has no column '{missing[0]}'; it has: {choices(rows.columns)}"
        )


def _answers(
    rows: pd.DataFrame, label: str, value: str, unit: str, classes: Sequence[str], file: Path
) -> tuple[tuple[str, ...], tuple[Target, ...]]:
    if value:
        numbers = pd.to_numeric(rows[value], errors="coerce").to_numpy(np.float64)
        if not np.isfinite(numbers).all():
            wrong = rows[value][~np.isfinite(numbers)].iloc[0]
            raise LabelError(f"the column '{value}' of {file} holds {wrong!r}, not a number")
        return (), tuple(SceneValue(float(number), unit) for number in numbers)
    given = rows[label].astype(str)
    names = tuple(classes) or tuple(sorted(given.unique()))
    codes = codes_of(names)
    unknown = sorted(set(given) - set(codes))
    if unknown:
        raise LabelError(f"{file} has the class '{unknown[0]}'; classes are: {choices(names)}")
    return names, tuple(SceneClasses((codes[name],)) for name in given)


def _groups(rows: pd.DataFrame, group: str, lon: str, lat: str, block: float) -> tuple[str, ...]:
    if group:
        return tuple(rows[group].astype(str))
    return tuple(block_of(x, y, block) for x, y in zip(rows[lon], rows[lat], strict=True))


def _corners(
    raster: Path, rows: pd.DataFrame, lon: str, lat: str, size: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """First row and column of each point's chip, and which lie wholly inside."""
    with opened(raster) as source:
        if source.crs is None:
            raise DataError(f"the raster {raster} has no CRS, so points have no place in it")
        x, y = rasterio.warp.transform(
            "EPSG:4326", source.crs, rows[lon].to_list(), rows[lat].to_list()
        )
        inverse, shape = ~source.transform, source.shape
    x, y = np.asarray(x), np.asarray(y)
    col = np.floor(inverse.a * x + inverse.b * y + inverse.c) - size // 2
    row = np.floor(inverse.d * x + inverse.e * y + inverse.f) - size // 2
    inside = (row >= 0) & (col >= 0) & (row + size <= shape[0]) & (col + size <= shape[1])
    corners = np.stack([np.where(inside, row, 0), np.where(inside, col, 0)], axis=-1)
    return corners.astype(np.int64), inside
