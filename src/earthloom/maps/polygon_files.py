"""Polygons as files: GeoParquet, GeoPackage and FlatGeobuf."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_NOTHING = (np.inf, np.inf, -np.inf, -np.inf)

_BBOX = pa.struct([(side, pa.float64()) for side in _SIDES])

COLUMNS = pa.schema(
    [
        ("geometry", pa.binary()),
        ("id", pa.int64()),
        ("code", pa.int16()),
        ("name", pa.string()),
        ("area_m2", pa.float64()),
        ("probability", pa.float32()),
    ]
)
"""What a polygon says; `probability` is null where there is none."""


class GeoParquetWriter:
    """A GeoParquet 1.1 file that grows batch by batch (geoparquet.org/releases/v1.1.0).

    Geometries are WKB with x before y, exteriors counter-clockwise. Each row has its bounds as the
    column `bbox`, by which readers pass over rows that lie elsewhere.
    """

    def __init__(
        self, path: Path, crs: CRS, kind: str, columns: pa.Schema = COLUMNS, group: int = 1
    ) -> None:
        """`columns`: the schema, its first the geometry. `group`: rows that are gathered before
        they are written as a row group; 1 for one row group a batch."""
        self._crs, self._kind, self._group = crs, kind, group
        self._bounds = np.array(_NOTHING)
        self._schema = columns.append(pa.field("bbox", _BBOX))
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def write(self, geometry: NDArray[np.object_], columns: dict[str, pa.Array]) -> None:
        """Adds rows; `columns` are those of the schema without the geometry."""
        if not len(geometry):
            return
        bounds = shapely.bounds(geometry)
        self._bounds[:2] = np.minimum(self._bounds[:2], bounds[:, :2].min(axis=0))
        self._bounds[2:] = np.maximum(self._bounds[2:], bounds[:, 2:].max(axis=0))
        arrays = {"geometry": pa.array(shapely.to_wkb(geometry), pa.binary())} | columns
        arrays["bbox"] = pa.StructArray.from_arrays(
            [pa.array(side) for side in bounds.T.copy()], names=list(_SIDES)
        )
        self._waiting.append(pa.table(arrays, schema=self._schema))
        self._rows += len(geometry)
        if self._rows >= self._group:
            self._flush()

    def finish(self) -> None:
        """Writes what is known of the whole, and closes the file."""
        self._flush()
        column = {
            "encoding": "WKB",
            "geometry_types": [self._kind],
            "crs": self._crs.to_json_dict(),
            "orientation": "counterclockwise",
            "edges": "planar",
            "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
        }
        if np.isfinite(self._bounds).all():
            column["bbox"] = self._bounds.tolist()
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        self._writer.add_key_value_metadata({"geo": json.dumps(geo, sort_keys=True)})
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._rows = [], 0


@contextmanager
def geoparquet(
    path: Path, crs: CRS, kind: str, columns: pa.Schema = COLUMNS, group: int = 1
) -> Iterator[GeoParquetWriter]:
    """A file that is whole when the block ends; `kind` is `Polygon` or `MultiPolygon`."""
    writer = GeoParquetWriter(path, crs, kind, columns, group)
    try:
        yield writer
    finally:
        writer.finish()


def write_geopackage(
    source: Path, target: Path, crs: CRS, kind: str, layer: str, columns: pa.Schema = COLUMNS
) -> None:
    """A GeoParquet file of ours as a GeoPackage, row group by row group, with a spatial index.

    It is of version 1.3, which programs of a few years ago read without a warning.
    """
    # GDAL would write the time of day into the file.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
    _write(source, target, "GPKG", crs, kind, layer, columns, {"VERSION": "1.3"})


def write_flatgeobuf(
    source: Path, target: Path, crs: CRS, kind: str, layer: str, columns: pa.Schema = COLUMNS
) -> None:
    """The same as FlatGeobuf, which has its spatial index in front; in the CRS of the map."""
    _write(source, target, "FlatGeobuf", crs, kind, layer, columns)


class Writer(Protocol):
    """Makes another format of a GeoParquet file of ours."""

    def __call__(
        self,
        source: Path,
        target: Path,
        crs: CRS,
        kind: str,
        layer: str,
        columns: pa.Schema = COLUMNS,
    ) -> None:
        """`columns` are the schema that the file was written with."""
        ...


FORMATS: dict[str, tuple[str, Writer | None]] = {
    "parquet": ("polygons.parquet", None),
    "gpkg": ("polygons.gpkg", write_geopackage),
    "fgb": ("polygons.fgb", write_flatgeobuf),
}
"""The file of each format, and what makes it of the GeoParquet file."""


def _write(
    source: Path,
    target: Path,
    driver: str,
    crs: CRS,
    kind: str,
    layer: str,
    columns: pa.Schema,
    options: dict[str, str] | None = None,
) -> None:
    with pq.ParquetFile(source) as file:
        batches = file.iter_batches(batch_size=16_384, columns=columns.names)
        # Without the note that these columns are GeoParquet's, which GDAL would read.
        plain = (pa.RecordBatch.from_arrays(batch.columns, schema=columns) for batch in batches)
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(columns, plain),
            target,
            layer=layer,
            driver=driver,
            geometry_name="geometry",
            geometry_type=kind,
            crs=crs_text(crs),
            dataset_options=options,
        )


def crs_text(crs: CRS) -> str:
    """A CRS as its code, where it has one, else as WKT."""
    code = crs.to_authority(min_confidence=100)
    return f"{code[0]}:{code[1]}" if code else crs.to_wkt()
