"""Things as files: GeoParquet, GeoPackage and FlatGeobuf."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from earthloom.errors import DataError, choices
from earthloom.maps.polygon_files import GeoParquetWriter, crs_text

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
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BBOX = pa.struct([(side, pa.float64()) for side in _SIDES])
_KIND = "MultiPolygon"
_ROWS = 16_384
"""Things of a row group."""


class ThingWriter(GeoParquetWriter):
    """A GeoParquet 1.1 file of things, which grows as they come, with `bbox` as a column."""

    def __init__(self, path: Path, crs: CRS) -> None:
        self._crs, self._kind = crs, _KIND
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._writer = pq.ParquetWriter(path, _with_bounds(), compression="zstd")
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def write(self, geometry: NDArray[np.object_], columns: dict[str, pa.Array]) -> None:
        """Adds things; `columns` are those of `COLUMNS` without the geometry."""
        if not len(geometry):
            return
        bounds = shapely.bounds(geometry)
        self._bounds[:2] = np.minimum(self._bounds[:2], bounds[:, :2].min(axis=0))
        self._bounds[2:] = np.maximum(self._bounds[2:], bounds[:, 2:].max(axis=0))
        arrays = {"geometry": pa.array(shapely.to_wkb(geometry), pa.binary())} | columns
        sides = [pa.array(side) for side in bounds.T.copy()]
        arrays["bbox"] = pa.StructArray.from_arrays(sides, names=list(_SIDES))
        self._waiting.append(pa.table(arrays, schema=_with_bounds()))
        self._rows += len(geometry)
        if self._rows >= _ROWS:
            self._flush()

    def finish(self) -> None:
        """Writes what is known of the whole, and closes the file."""
        self._flush()
        super().finish()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._rows = [], 0


@contextmanager
def thing_writer(path: Path, crs: CRS) -> Iterator[ThingWriter]:
    """A file that is whole when the block ends."""
    writer = ThingWriter(path, crs)
    try:
        yield writer
    finally:
        writer.finish()


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    file: str
    convert: Callable[[Path, Path, CRS], None] | None
    """Makes it of the GeoParquet file; None for that itself."""


def _geopackage(source: Path, target: Path, crs: CRS) -> None:
    """GeoPackage 1.3, which programs of a few years ago read without a warning."""
    # GDAL would write the time of day into the file.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
    _converted(source, target, "GPKG", crs, {"VERSION": "1.3"})


def _flatgeobuf(source: Path, target: Path, crs: CRS) -> None:
    _converted(source, target, "FlatGeobuf", crs, None)


FORMATS: Mapping[str, Format] = {
    "parquet": Format("things.parquet", None),
    "gpkg": Format("things.gpkg", _geopackage),
    "fgb": Format("things.fgb", _flatgeobuf),
}


def write_formats(base: Path, formats: tuple[str, ...], crs: CRS) -> tuple[str, ...]:
    """Makes the other formats of the GeoParquet file `base` beside it, which stays if it is one of
    them; names of the files."""
    for name in formats:
        chosen = FORMATS[name]
        if chosen.convert is not None:
            chosen.convert(base, base.with_name(chosen.file), crs)
    if "parquet" not in formats:
        base.unlink()
    return tuple(FORMATS[name].file for name in formats)


def check_formats(formats: tuple[str, ...]) -> None:
    """DataError for a format that there is not, or for none at all."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise DataError(f"no format of things '{', '.join(unknown)}'; valid: {choices(FORMATS)}")


def _with_bounds() -> pa.Schema:
    return COLUMNS.append(pa.field("bbox", _BBOX))


def _converted(
    source: Path, target: Path, driver: str, crs: CRS, options: dict[str, str] | None
) -> None:
    with pq.ParquetFile(source) as file:
        batches = file.iter_batches(batch_size=_ROWS, columns=COLUMNS.names)
        # Without the note that these columns are GeoParquet's, which GDAL would read.
        plain = (pa.RecordBatch.from_arrays(batch.columns, schema=COLUMNS) for batch in batches)
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(COLUMNS, plain),
            target,
            layer="things",
            driver=driver,
            geometry_name="geometry",
            geometry_type=_KIND,
            crs=crs_text(crs),
            dataset_options=options,
        )
