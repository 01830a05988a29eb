"""Tables of samples as people have them: CSV of any separator, Parquet, GeoJSON, GeoPackage."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError

from earthloom.chips.label_vocabulary import as_text
from earthloom.datasets.layouts.items import codes_of
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample.target import SceneClasses, SceneValue, Target

_MAPS = (".geojson", ".json", ".gpkg", ".shp", ".fgb")
NO_NUMBERS = (-9999.0, -99999.0, -32768.0)
"""What is written where there is no number."""
_SEPARATORS = ",;\t|"
_LON, _LAT = ("lon", "longitude", "lng", "long", "x"), ("lat", "latitude", "y")
_GEOMETRY = ("geometry", "wkt", "geom", ".geo")


def read_table(file: Path) -> pd.DataFrame:
    """The rows of a table; a GeoDataFrame where the file has geometries. Names of columns are
    without spaces around them. DataError if it cannot be read."""
    try:
        if file.suffix.lower() in _MAPS:
            rows: pd.DataFrame = gpd.read_file(file)
        elif file.suffix.lower() == ".parquet":
            with_places = b"geo" in (pq.read_schema(file).metadata or {})
            rows = gpd.read_parquet(file) if with_places else pd.read_parquet(file)
        else:
            rows = _csv(file)
    except (OSError, UnicodeError, ValueError, csv.Error) as error:
        words = " ".join(str(error).split())
        raise DataError(
            f"the table {file} cannot be read: {words}; tables are CSV, Parquet, {choices(_MAPS)}"
        ) from error
    return rows.rename(columns=lambda name: str(name).strip())


def need(rows: pd.DataFrame, columns: Sequence[str], file: Path) -> None:
    """DataError if the table lacks a column."""
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise DataError(
            f"the table {file} has no column '{missing[0]}'; it has: {choices(rows.columns)}"
        )


def numbers(rows: pd.DataFrame, column: str, file: Path) -> NDArray[np.float64]:
    """A column (N,) of numbers, NaN where it is empty; LabelError for what is no number."""
    found = pd.to_numeric(rows[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = (np.isnan(found) & rows[column].notna().to_numpy()) | np.isinf(found)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise LabelError(
            f"the column '{column}' of {file} holds '{rows[column].iloc[at]}' in row "
            f"{rows.index[at] + 1}, not a number"
        )
    return found


def classes_in(
    given: Sequence[Sequence[str]], classes: Sequence[str], file: Path
) -> tuple[tuple[str, ...], tuple[Target, ...]]:
    """The classes, and those of each row; in the order of the alphabet, or of their numbers,
    unless said. LabelError for one that is not among `classes`."""
    present = {name for each in given for name in each}
    numbered = all(name.isdigit() for name in present)
    names = tuple(classes) or tuple(sorted(present, key=int if numbered else str))
    codes = codes_of(names)
    unknown = sorted(present - set(codes))
    if unknown:
        raise LabelError(f"{file} has the class '{unknown[0]}'; classes are: {choices(names)}")
    found = (tuple(sorted({codes[name] for name in each})) for each in given)
    return names, tuple(SceneClasses(each) for each in found)


def values_in(rows: pd.DataFrame, column: str, unit: str, file: Path) -> tuple[Target, ...]:
    """The number of each row; LabelError for one that stands for no number."""
    found = numbers(rows, column, file)
    none = [each for each in NO_NUMBERS if (found == each).any()]
    if none:
        raise LabelError(
            f"the column '{column}' of {file} holds {none[0]:g} in {int((found == none[0]).sum())} "
            "row(s), which stands for no number; leave those cells empty"
        )
    return tuple(SceneValue(float(each), unit) for each in found)


def words_in(cell: object, between: str) -> list[str]:
    """The words of a cell: a list, a list as Python or numpy write it, or text with `between`
    between them, if that is not empty."""
    if isinstance(cell, list | tuple | np.ndarray):
        return [as_text(each) for each in cell]
    text = as_text(cell).strip()
    if is_list(cell):
        quoted = re.findall(r"'([^']*)'|\"([^\"]*)\"", text)
        bare = text[1:-1].split(between or ",")
        return [one or other for one, other in quoted] or [each.strip() for each in bare]
    return [each.strip() for each in text.split(between)] if between else [text]


def is_list(cell: object) -> bool:
    """Whether a cell is a list, or text such as `['a', 'b']`."""
    if isinstance(cell, str):
        return cell.strip().startswith("[") and cell.strip().endswith("]")
    return isinstance(cell, list | tuple | np.ndarray)


def texts(rows: pd.DataFrame, column: str) -> list[str]:
    """A column as text; 3.0, which 3 becomes beside an empty cell, is `3`."""
    return [as_text(each) for each in rows[column]]


def places_of(
    rows: pd.DataFrame, file: Path, lon: str, lat: str, crs: str
) -> NDArray[np.float64] | None:
    """(N, 2) longitude and latitude in degrees; NaN where a row has no place on the Earth.

    They come from the file's geometries, from columns of well-known names or `lon` and `lat`, or
    from a column of WKT or GeoJSON; in `crs`. None if there are none of these.
    """
    if isinstance(rows, gpd.GeoDataFrame):
        x, y = _of_points(rows.geometry.to_numpy(), file)
        source = rows.crs.to_wkt() if rows.crs is not None else crs
    elif (columns := _columns(rows, lon, lat, file)) is not None:
        x, y = (numbers(rows, column, file) for column in columns)
        source = crs
    elif (column := known_column(rows, _GEOMETRY)) is not None:
        x, y = _of_points(_parsed(rows[column], file, column), file)
        source = crs
    else:
        return None
    try:
        x, y = Transformer.from_crs(source, "EPSG:4326", always_xy=True).transform(x, y)
    except ProjError as error:
        raise DataError(f"the 'crs' of {file} is unknown: {source}") from error
    there = (np.abs(x) <= 180) & (np.abs(y) <= 90)
    return np.where(there[:, None], np.stack([x, y], axis=-1), np.nan)


def _csv(file: Path) -> pd.DataFrame:
    """A CSV by the separator that its first line has most often, with `.` or `,` in numbers."""
    with file.open(encoding="utf-8-sig", newline="") as source:
        head = source.readline()
    separator = max(_SEPARATORS, key=head.count)
    rows = pd.read_csv(file, sep=separator, encoding="utf-8-sig")
    if separator != ";":
        return rows
    other = pd.read_csv(file, sep=separator, encoding="utf-8-sig", decimal=",")
    counted = [len(each.select_dtypes("number").columns) for each in (rows, other)]
    return other if counted[1] > counted[0] else rows


def _columns(rows: pd.DataFrame, lon: str, lat: str, file: Path) -> tuple[str, str] | None:
    """The columns of longitude and latitude."""
    need(rows, [name for name in (lon, lat) if name], file)
    found = lon or known_column(rows, _LON), lat or known_column(rows, _LAT)
    return (found[0], found[1]) if found[0] and found[1] else None


def known_column(rows: pd.DataFrame, names: Sequence[str]) -> str | None:
    """The first column that is called as one of some names, in whatever case."""
    small = {str(column).lower(): str(column) for column in reversed(rows.columns)}
    return next((small[name] for name in names if name in small), None)


def _parsed(column: pd.Series, file: Path, name: str) -> NDArray[np.object_]:
    """Geometries of a column of WKT or GeoJSON."""
    try:
        return np.array(
            [
                None
                if pd.isna(text)
                else shapely.from_geojson(text)
                if str(text).lstrip().startswith("{")
                else shapely.from_wkt(str(text).rpartition(";")[2])
                for text in column
            ],
            dtype=object,
        )
    except shapely.errors.GEOSException as error:
        words = " ".join(str(error).split())
        raise LabelError(
            f"the column '{name}' of {file} is neither WKT nor GeoJSON: {words}"
        ) from error


def _of_points(
    shapes: NDArray[np.object_], file: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y (N,) of points; NaN where there is none."""
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    kinds = shapely.get_type_id(shapes)
    wrong = there & (kinds != shapely.GeometryType.POINT)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise LabelError(
            f"{file}: the geometry of row {at + 1} is a {shapes[at].geom_type}, but points are read"
        )
    return shapely.get_x(shapes), shapely.get_y(shapes)
