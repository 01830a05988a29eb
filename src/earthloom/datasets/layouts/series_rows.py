"""Tables of pixel series in long form: a row a date of a series, its bands in columns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earthloom.chips.series import SeriesSamples
from earthloom.datasets.imagery import Imagery, plain_name
from earthloom.datasets.layouts.tables import known_column, need, numbers, places_of, texts
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample.place import block_of

_ID = ("id", "point_id", "sample_id", "pixel_id", "plot_id", "parcel_id", "fid")
_DATE = ("date", "time", "datetime", "day")
_LABEL = ("label", "class", "class_name", "crop", "y")


def classes_of_rows(rows: pd.DataFrame, file: Path) -> tuple[str, ...]:
    """All classes, in the order of the alphabet."""
    label = _called(rows, _LABEL, file)
    return tuple(sorted(set(texts(rows.dropna(subset=[label]), label))))


def series_of_rows(
    rows: pd.DataFrame, file: Path, imagery: Imagery, codes: Mapping[str, int], block: float
) -> SeriesSamples:
    """The series of a long table, each in the order of its dates.

    Columns are those of well-known names: of the series, the date, the class and the place; and the
    bands by their names. Numbers are as files store them, and an empty cell is not seen. A series
    with fewer dates than others ends with dates that are not seen. DataError for a missing column,
    LabelError for a series of two classes and for a date that is none.
    """
    name, date, label = (_called(rows, known, file) for known in (_ID, _DATE, _LABEL))
    imagery, columns = _bands(rows, file, imagery)
    rows = rows.dropna(subset=[name, label]).reset_index(drop=True)
    days = _days(rows[date], date, file)
    rows = rows.assign(**{date: days}).sort_values([name, date], kind="stable")
    first = rows.groupby(name, sort=False)[label]
    mixed = first.nunique()[lambda count: count > 1]
    if len(mixed):
        raise LabelError(f"{file}: the series '{mixed.index[0]}' is of {mixed.iloc[0]} classes")
    member = rows.groupby(name, sort=False).ngroup().to_numpy()
    step = rows.groupby(name, sort=False).cumcount().to_numpy()
    count, times = int(member.max(initial=-1)) + 1, int(step.max(initial=-1)) + 1
    if not count:
        raise DataError(f"{file} holds no series with a class")
    stored = np.full((len(columns), count, times), np.nan)
    for at, column in enumerate(columns):
        stored[at, member, step] = numbers(rows, column, file)
    layer = imagery.layer(stored)
    pixels, valid = np.moveaxis(layer.pixels[0], 0, -1), layer.valid[0]
    when = np.zeros((count, times), np.int32)
    when[member, step] = rows[date]
    when = np.maximum.accumulate(when, axis=1)  # dates that are not there repeat the last one
    heads = rows.drop_duplicates(name)
    places = _places(heads, file)
    dates = tuple(f"{number + 1:02d}" for number in range(times))
    return SeriesSamples(
        spec=replace(imagery.spec, dates=dates),
        pixels=pixels,
        valid=valid,
        days=when,
        codes=_codes(texts(heads, label), codes, file),
        lon=places[:, 0],
        lat=places[:, 1],
        groups=tuple(block_of(x, y, block) for x, y in places.tolist()),
    )


def _called(rows: pd.DataFrame, known: Sequence[str], file: Path) -> str:
    found = known_column(rows, known)
    if found is None:
        raise DataError(
            f"the table of series {file} has no column {choices(known)}; it has: "
            f"{choices(rows.columns)}"
        )
    return found


def _bands(rows: pd.DataFrame, file: Path, imagery: Imagery) -> tuple[Imagery, list[str]]:
    """The imagery of the bands that the table has, and their columns."""
    there = {plain_name(str(column)): str(column) for column in rows.columns}
    wanted = imagery.spec.bands
    found = [name for name in wanted if plain_name(name) in there]
    if imagery.chosen:
        need(rows, [there.get(plain_name(name), name) for name in wanted], file)
    if not found:
        raise DataError(
            f"{file} has no column of a band of {imagery.sensor.name}: {choices(wanted)}; it has: "
            f"{choices(rows.columns)}"
        )
    gsd = imagery.spec.gsd if imagery.chosen else None
    return Imagery.of(imagery.sensor, found, gsd), [there[plain_name(name)] for name in found]


def _days(column: pd.Series, name: str, file: Path) -> NDArray[np.int32]:
    """Days since 1970-01-01."""
    try:
        found = pd.to_datetime(column.astype(str), utc=True, format="ISO8601")
    except ValueError as error:
        raise LabelError(f"the column '{name}' of {file} must hold YYYY-MM-DD: {error}") from error
    return found.dt.tz_localize(None).to_numpy().astype("datetime64[D]").astype(np.int32)


def _places(rows: pd.DataFrame, file: Path) -> NDArray[np.float64]:
    places = places_of(rows, file, "", "", "EPSG:4326")
    if places is None or not np.isfinite(places).all():
        raise DataError(
            f"the table of series {file} must say longitude and latitude of each series, in "
            f"columns such as lon and lat; it has: {choices(rows.columns)}"
        )
    return places


def _codes(names: Sequence[str], codes: Mapping[str, int], file: Path) -> NDArray[np.uint8]:
    unknown = sorted(set(names) - set(codes))
    if unknown:
        raise LabelError(f"{file} has the class '{unknown[0]}'; classes are: {choices(codes)}")
    return np.array([codes[name] for name in names], np.uint8)
