"""A field as Zarr, beside its COG: for readers that work on arrays by chunks."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pyproj import CRS
from zarr.codecs import BloscCodec

from earthloom.cube.metadata import geozarr
from earthloom.grid import crs_wkt
from earthloom.maps.embedding.field import MADE_OF, Field
from earthloom.maps.outputs import FEATURE_NODATA, FEATURE_SCALE

_CHUNK = 256


def write_zarr(field: Field, path: Path) -> None:
    """Writes a Zarr v3 group with `embedding` (dimension, y, x) int8 in chunks of whole vectors,
    the coordinates `x` and `y` of pixel centres, and the CRS as CF and as GeoZarr say it.

    The same numbers as the COG, window by window; whole or not at all.
    """
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    root = zarr.open_group(partial, mode="w", zarr_format=3)
    root.attrs.update({**geozarr(field.box), MADE_OF: field.made_of})
    rows, cols = field.shape
    array = root.create_array(
        "embedding",
        shape=(field.dimensions, rows, cols),
        chunks=(field.dimensions, min(_CHUNK, rows), min(_CHUNK, cols)),
        dtype="int8",
        fill_value=FEATURE_NODATA,
        dimension_names=("dimension", "y", "x"),
        compressors=BloscCodec(cname="zstd", clevel=5),
        attributes={
            "_FillValue": FEATURE_NODATA,
            "scale_factor": FEATURE_SCALE,
            "grid_mapping": "spatial_ref",
        },
    )
    for window in field.windows():
        here = slice(window.row, window.row + window.shape.rows)
        there = slice(window.col, window.col + window.shape.cols)
        array[:, here, there] = field.read(window)
    _write_coordinates(root, field)
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)


def _write_coordinates(root: zarr.Group, field: Field) -> None:
    a, _, c, _, e, f = tuple(field.box.affine)[:6]
    values: dict[str, tuple[Any, dict[str, Any]]] = {
        "x": (c + a * (np.arange(field.shape.cols) + 0.5), {"axis": "X"}),
        "y": (f + e * (np.arange(field.shape.rows) + 0.5), {"axis": "Y"}),
    }
    for name, (numbers, attributes) in values.items():
        root.create_array(name, data=numbers, dimension_names=(name,), attributes=attributes)
    wkt = crs_wkt(field.box)
    grid = {**CRS.from_wkt(wkt).to_cf(), "crs_wkt": wkt}
    root.create_array("spatial_ref", data=np.array(0, np.int32), attributes=grid)
