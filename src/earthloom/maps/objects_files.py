"""Things as files: GeoParquet, GeoPackage and FlatGeobuf."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyproj import CRS

from earthloom.errors import DataError, choices
from earthloom.maps.polygon_files import (
    GeoParquetWriter,
    Writer,
    geoparquet,
    write_flatgeobuf,
    write_geopackage,
)

COLUMNS = pa.schema(
    [
        ("geometry", pa.binary()),
        ("id", pa.int64()),
        ("code", pa.int16()),
        ("name", pa.string()),
        ("score", pa.float32()),
        ("area_m2", pa.float64()),
        ("joined", pa.bool_()),
    ]
)
"""What is said of a thing: `id` counts from 1 in the order of place, `joined` is true of what no
window saw whole."""
_KIND = "MultiPolygon"
_ROWS = 16_384
"""Things of a row group."""


def thing_writer(path: Path, crs: CRS) -> AbstractContextManager[GeoParquetWriter]:
    """A GeoParquet file of things, which is whole when the block ends."""
    return geoparquet(path, crs, _KIND, COLUMNS, _ROWS)


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    file: str
    convert: Writer | None
    """Makes it of the GeoParquet file; None for that itself."""


FORMATS: Mapping[str, Format] = {
    "parquet": Format("things.parquet", None),
    "gpkg": Format("things.gpkg", write_geopackage),
    "fgb": Format("things.fgb", write_flatgeobuf),
}


def write_formats(base: Path, formats: tuple[str, ...], crs: CRS) -> tuple[str, ...]:
    """Makes the other formats of the GeoParquet file `base` beside it, which stays if it is one of
    them; names of the files."""
    for name in formats:
        chosen = FORMATS[name]
        if chosen.convert is not None:
            target = base.with_name(chosen.file)
            chosen.convert(base, target, crs, _KIND, "things", COLUMNS)
    if "parquet" not in formats:
        base.unlink()
    return tuple(FORMATS[name].file for name in formats)


def check_formats(formats: tuple[str, ...]) -> None:
    """DataError for a format that there is not, or for none at all."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise DataError(f"no format of things '{', '.join(unknown)}'; valid: {choices(FORMATS)}")
