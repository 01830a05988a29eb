"""Labels onto a grid: points, lines, polygons, tables or rasters become class codes of pixels.

read_labels ──> Vocabulary    what values mean: label_vocabulary, over schemes
read_values ──> Numbers       that they are numbers: label_values
            ├─> VectorLabels  label_vector, of features (Judge, Attributes: label_attributes)
            │                 and of points (label_batches, label_collect, label_points)
            └─> RasterLabels  label_raster
            VectorValues, RasterValues: the same files, where they hold numbers
.onto(box)  ──> class codes (H, W); .burn(box) has weights and `IGNORE` as well (label_burn)
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import geopandas as gpd
import numpy as np
import pyarrow.parquet
import pyogrio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from pyproj.exceptions import CRSError

from earthloom.chips.label_attributes import Meaning, attribute_columns, check_columns
from earthloom.chips.label_batches import (
    GDAL_ERRORS,
    CoordinateColumns,
    csv_batches,
    csv_columns,
    geoparquet_batches,
    layer_batches,
    parquet_batches,
    parquet_columns,
)
from earthloom.chips.label_burn import Burned
from earthloom.chips.label_collect import ALL, collect_points, parse_crs_of
from earthloom.chips.label_dates import Period
from earthloom.chips.label_points import PointLabels
from earthloom.chips.label_raster import RasterLabels, read_raster
from earthloom.chips.label_report import LabelReport
from earthloom.chips.label_value_raster import RasterValues, read_value_raster
from earthloom.chips.label_values import Numbers, Valued, VectorValues
from earthloom.chips.label_vector import VectorLabels, features_of
from earthloom.chips.label_vocabulary import IGNORE, Vocabulary
from earthloom.errors import LabelError
from earthloom.project import Labels as LabelSettings
from earthloom.project import LandClass

__all__ = [
    "IGNORE",
    "Burned",
    "LabelReport",
    "Labels",
    "Period",
    "RasterLabels",
    "RasterValues",
    "ValueLabels",
    "Valued",
    "VectorLabels",
    "VectorValues",
    "Vocabulary",
    "onto_steps",
    "read_label_table",
    "read_labels",
    "read_values",
]

VALUE_COLUMN = "value"
"""Of numbers, where the project file names no column."""

_RASTERS = (".tif", ".tiff", ".vrt", ".img")
_TEXTS = (".csv", ".tsv", ".txt")
_PARQUETS = (".parquet", ".geoparquet", ".pq")


class Labels(Protocol):
    """Where classes are known."""

    @property
    def report(self) -> LabelReport:
        """What became of the features that were read."""
        ...

    def during(self, period: Period | None) -> "Labels":
        """Those that are true on a day of a period; None is all times."""
        ...

    def onto(self, box: GeoBox) -> NDArray[np.uint8]:
        """Class codes (H, W) on a grid, `UNLABELLED` where there is no label that may be used."""
        ...

    def burn(self, box: GeoBox) -> Burned:
        """The same with weights, and with `IGNORE` told from `UNLABELLED`."""
        ...


class ValueLabels(Protocol):
    """Where numbers are known."""

    @property
    def report(self) -> LabelReport:
        """What became of the features that were read."""
        ...

    def during(self, period: Period | None) -> "ValueLabels":
        """Those that are true on a day of a period; None is all times."""
        ...

    def onto(self, box: GeoBox) -> NDArray[np.float32]:
        """Numbers (H, W) on a grid, NaN where none is known."""
        ...

    def burn(self, box: GeoBox) -> Valued:
        """The same, with their unit."""
        ...


def read_labels(
    path: Path, settings: LabelSettings, classes: tuple[LandClass, ...], base: GeoBox
) -> RasterLabels | VectorLabels:
    """Opens a label file of any kind for an area's base grid; LabelError says what is wrong."""
    if not path.exists():
        raise LabelError(f"the label file {path} does not exist")
    vocabulary = Vocabulary.of(settings, classes)
    if path.suffix.lower() in _RASTERS:
        return read_raster(path, settings, vocabulary, base)
    return _features(path, settings, vocabulary, base)


def read_values(
    path: Path, settings: LabelSettings, unit: str, base: GeoBox
) -> RasterValues | VectorValues:
    """Opens a label file that holds numbers in a unit; LabelError says what is wrong."""
    if not path.exists():
        raise LabelError(f"the label file {path} does not exist")
    numbers = Numbers.of(settings)
    if path.suffix.lower() in _RASTERS:
        return read_value_raster(path, settings, numbers, unit, base)
    if "column" not in settings.model_fields_set:
        settings = settings.model_copy(update={"column": VALUE_COLUMN})
    return VectorValues(_features(path, settings, numbers, base), unit)


def _features(path: Path, settings: LabelSettings, meaning: Meaning, base: GeoBox) -> VectorLabels:
    """A table or a vector file of any kind."""
    suffix = path.suffix.lower()
    if suffix in _TEXTS:
        found = _text(path, settings, meaning, base)
    elif suffix in _PARQUETS:
        found = _parquet(path, settings, meaning, base)
    else:
        found = _layers(path, settings, meaning, base)
    if not found.report.read:
        raise LabelError(f"the labels {path} hold no features")
    return found


def onto_steps(labels: Labels, box: GeoBox, periods: Sequence[Period]) -> NDArray[np.uint8]:
    """Class codes (T, H, W): for each time step the labels that are true on one of its days."""
    return np.stack([labels.during(period).onto(box) for period in periods])


def read_label_table(path: Path, column: str, classes: tuple[LandClass, ...]) -> gpd.GeoDataFrame:
    """All layers of a vector file as one table of `geometry` and `code`."""
    settings = LabelSettings(column=column)
    found = _layers(path, settings, Vocabulary.of(settings, classes), None)
    if not found.report.read:
        raise LabelError(f"the labels {path} hold no features")
    return found.table


def _text(path: Path, settings: LabelSettings, meaning: Meaning, base: GeoBox) -> VectorLabels:
    columns = csv_columns(path)
    check_columns(columns, path, settings)
    where = CoordinateColumns.of(columns, path, settings)
    texts = [c for c in (settings.column, settings.date_column, settings.end_column) if c]
    crs = parse_crs_of(where.crs, path)
    batches = csv_batches(path, where, attribute_columns(settings), texts)
    points, report = collect_points(batches, crs, path, settings, meaning, base)
    return _only_points(points, report, settings, meaning)


def _parquet(path: Path, settings: LabelSettings, meaning: Meaning, base: GeoBox) -> VectorLabels:
    columns, has_geometry = parquet_columns(path)
    check_columns(columns, path, settings)
    wanted = attribute_columns(settings)
    if not has_geometry:
        where = CoordinateColumns.of(columns, path, settings)
        crs, batches = parse_crs_of(where.crs, path), parquet_batches(path, where, wanted)
        points, report = collect_points(batches, crs, path, settings, meaning, base)
        return _only_points(points, report, settings, meaning)
    geometry, crs_given, plain = _geoparquet(path)
    if plain and crs_given is not None:
        batches = geoparquet_batches(path, geometry, wanted)
        points, report = collect_points(batches, crs_given, path, settings, meaning, base)
        return _only_points(points, report, settings, meaning)
    try:
        layer = gpd.read_parquet(path)
    except (OSError, ValueError, KeyError, *GDAL_ERRORS) as error:
        words = " ".join(str(error).split())
        raise LabelError(f"the labels {path} cannot be read: {words}") from error
    return features_of(_with_crs(layer, path, settings), path, settings, meaning, base)


def _geoparquet(path: Path) -> tuple[str, CRS | None, bool]:
    """Geometry column and CRS of a GeoParquet, and whether it holds points in WKB alone."""
    try:
        meta = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"geo"])
        name = meta["primary_column"]
        column = meta["columns"][name]
        # The specification's default is longitude and latitude; null is no CRS.
        crs = column.get("crs", "OGC:CRS84")
        kinds = set(column.get("geometry_types", []))
        plain = bool(kinds) and kinds <= {"Point", "Point Z"} and column["encoding"] == "WKB"
        parsed = CRS.from_user_input(crs) if crs is not None else None
    except (AttributeError, KeyError, TypeError, ValueError, CRSError) as error:
        words = " ".join(repr(error).split())
        raise LabelError(f"the labels {path} are no valid GeoParquet: {words}") from error
    return name, parsed, plain


def _only_points(
    points: PointLabels, report: LabelReport, settings: LabelSettings, meaning: Meaning
) -> VectorLabels:
    return VectorLabels.of_points(points, report, settings.buffer_m, meaning.fallback)


def _layers(
    path: Path, settings: LabelSettings, meaning: Meaning, base: GeoBox | None
) -> VectorLabels:
    """All layers of a vector file that have a geometry, as one."""
    try:
        infos = [
            pyogrio.read_info(path, layer=name, force_feature_count=True)
            for name, geometry in pyogrio.list_layers(path)
            if geometry is not None
        ]
        parts = [_layer(path, info, settings, meaning, base) for info in infos if info["features"]]
    except (ValueError, *GDAL_ERRORS) as error:
        words = " ".join(str(error).split())
        raise LabelError(f"the labels {path} cannot be read as vector data: {words}") from error
    if not parts:
        raise LabelError(f"the labels {path} hold no features")
    return VectorLabels.joined(parts)


def _layer(
    path: Path,
    info: dict[str, object],
    settings: LabelSettings,
    meaning: Meaning,
    base: GeoBox | None,
) -> VectorLabels:
    name, count = str(info["layer_name"]), info["features"]
    plain = info["geometry_type"] in ("Point", "Point Z", "2.5D Point")
    if base is not None and plain and isinstance(count, int) and count > ALL and info["crs"]:
        check_columns([str(each) for each in info["fields"]], path, settings)  # type: ignore[attr-defined]
        crs = CRS.from_user_input(info["crs"])
        batches = layer_batches(path, name, attribute_columns(settings))
        points, report = collect_points(batches, crs, path, settings, meaning, base)
        return _only_points(points, report, settings, meaning)
    layer = gpd.read_file(path, layer=name)
    return features_of(_with_crs(layer, path, settings), path, settings, meaning, base)


def _with_crs(layer: gpd.GeoDataFrame, path: Path, settings: LabelSettings) -> gpd.GeoDataFrame:
    """The layer with the CRS of the settings, where it has none itself."""
    if layer.crs is not None or settings.crs is None:
        return layer
    return layer.set_crs(parse_crs_of(settings.crs, path))
