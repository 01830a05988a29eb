"""Coordinates and columns of point files, a batch of rows at a time: CSV, Parquet, GDAL layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError

from earthloom.errors import LabelError, choices
from earthloom.project import Labels as LabelSettings

ROWS = 1 << 18
"""Of a batch."""

_BLOCK = 1 << 23
"""Bytes of a batch of text."""

_NAMES = (("lon", "lat"), ("longitude", "latitude"), ("x", "y"))
"""What columns of coordinates are called; the first two pairs are degrees (EPSG:4326)."""


GDAL_ERRORS = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    shapely.GEOSException,
    CRSError,
)
"""What damaged vector files raise."""


@dataclass(frozen=True)
class Batch:
    """Rows of a point file."""

    x: NDArray[np.float64]
    """(N,) easting or longitude; NaN where there is none."""
    y: NDArray[np.float64]
    columns: pd.DataFrame
    """Those columns that were asked for, N rows."""


@dataclass(frozen=True)
class CoordinateColumns:
    """Which columns of a table say where its rows are, and in which CRS."""

    x: str
    y: str
    crs: str

    @staticmethod
    def of(columns: Sequence[str], path: Path, settings: LabelSettings) -> "CoordinateColumns":
        """The columns that the settings name, or those of a usual name; LabelError for none."""
        folded = {column.casefold(): column for column in columns}
        if settings.x is not None and settings.y is not None:
            pairs: Sequence[tuple[str, str]] = ((settings.x.casefold(), settings.y.casefold()),)
        else:
            pairs = _NAMES
        for x, y in pairs:
            if x in folded and y in folded:
                degrees = "EPSG:4326" if (x, y) in _NAMES[:2] else None
                crs = settings.crs or degrees
                if crs is None:
                    raise LabelError(
                        f"the labels {path} have no CRS; their columns '{folded[x]}' and "
                        f"'{folded[y]}' need one: set 'crs' under 'labels', such as EPSG:32632"
                    )
                return CoordinateColumns(folded[x], folded[y], crs)
        wanted = " or ".join(f"{x} and {y}" for x, y in pairs)
        raise LabelError(
            f"the labels {path} have no columns {wanted}, which say where they are; they have: "
            f"{choices(columns)}; others can be named under 'labels' as 'x' and 'y'"
        )


def csv_columns(path: Path) -> list[str]:
    """The columns of a CSV; LabelError if it cannot be read."""
    with _readable(path), pa.csv.open_csv(path, parse_options=_parsing(path)) as reader:
        return list(reader.schema.names)


def csv_batches(
    path: Path, where: CoordinateColumns, wanted: Sequence[str], texts: Sequence[str]
) -> Iterator[Batch]:
    """The rows of a CSV with `,`, `;` or tabs; `texts` are columns that are never numbers."""
    kinds = {where.x: pa.float64(), where.y: pa.float64()} | dict.fromkeys(texts, pa.string())
    convert = pa.csv.ConvertOptions(
        column_types=kinds,
        include_columns=list(dict.fromkeys((where.x, where.y, *wanted))),
        strings_can_be_null=True,
    )
    reading = pa.csv.ReadOptions(block_size=_BLOCK, use_threads=False)
    with (
        _readable(path),
        pa.csv.open_csv(
            path, read_options=reading, parse_options=_parsing(path), convert_options=convert
        ) as reader,
    ):
        for batch in reader:
            yield _batch_of(batch, where, wanted)


def parquet_columns(path: Path) -> tuple[list[str], bool]:
    """The columns of a Parquet file, and whether it is a GeoParquet; LabelError if it is none."""
    with _readable(path), pa.parquet.ParquetFile(path) as file:
        return list(file.schema_arrow.names), b"geo" in (file.schema_arrow.metadata or {})


def parquet_batches(path: Path, where: CoordinateColumns, wanted: Sequence[str]) -> Iterator[Batch]:
    """The rows of a Parquet file with columns of coordinates."""
    columns = list(dict.fromkeys((where.x, where.y, *wanted)))
    with _readable(path), pa.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS, columns=columns):
            yield _batch_of(batch, where, wanted)


def geoparquet_batches(path: Path, geometry: str, wanted: Sequence[str]) -> Iterator[Batch]:
    """The rows of a GeoParquet of points in WKB."""
    with _readable(path), pa.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS, columns=[geometry, *wanted]):
            yield _batch_of_wkb(batch, geometry, wanted)


def layer_batches(path: Path, layer: str, wanted: Sequence[str]) -> Iterator[Batch]:
    """The rows of a layer of points that GDAL reads."""
    with (
        _readable(path),
        pyogrio.open_arrow(
            path, layer=layer, columns=list(wanted), batch_size=ROWS, use_pyarrow=True
        ) as (meta, reader),
    ):
        name = meta["geometry_name"] or "wkb_geometry"
        for batch in reader:
            yield _batch_of_wkb(batch, name, wanted)


class _readable:  # noqa: N801
    """Turns what libraries raise on a damaged file into a LabelError of one line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (pa.ArrowException, OSError, ValueError, KeyError, *GDAL_ERRORS)):
            words = " ".join(str(error).split())
            raise LabelError(f"the labels {self._path} cannot be read: {words}") from error


def _parsing(path: Path) -> pa.csv.ParseOptions:
    """The delimiter that the first line has most of."""
    with path.open("rb") as file:
        line = file.readline(1 << 16)
    return pa.csv.ParseOptions(delimiter=max(",;\t", key=lambda mark: line.count(mark.encode())))


def _batch_of(batch: pa.RecordBatch, where: CoordinateColumns, wanted: Sequence[str]) -> Batch:
    x, y = (_floats(batch.column(name)) for name in (where.x, where.y))
    return Batch(x, y, _columns_of(batch, wanted))


def _batch_of_wkb(batch: pa.RecordBatch, geometry: str, wanted: Sequence[str]) -> Batch:
    shapes = shapely.from_wkb(batch.column(geometry).to_numpy(zero_copy_only=False))
    # Coordinates of None and of an empty point are NaN.
    return Batch(shapely.get_x(shapes), shapely.get_y(shapes), _columns_of(batch, wanted))


def _columns_of(batch: pa.RecordBatch, wanted: Sequence[str]) -> pd.DataFrame:
    # What pandas once wrote beside the columns is not needed, and may be damaged.
    chosen = batch.select(list(wanted)).replace_schema_metadata(None)
    chosen.validate(full=True)
    # Texts are shared, so that a batch holds each class once.
    table = pa.Table.from_batches([chosen])
    frame: pd.DataFrame = table.to_pandas(deduplicate_objects=True)
    return frame


def _floats(column: pa.Array) -> NDArray[np.float64]:
    try:
        numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise pa.ArrowInvalid(f"coordinates must be numbers: {error}") from error
    return np.asarray(numbers, np.float64)
