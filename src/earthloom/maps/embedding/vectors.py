"""Vectors of pieces of a field, as GeoParquet with the columns of Major TOM's embeddings.

Czerkawski, Kluczek and Bojanowski (2024), "Global and Dense Embeddings of Earth: Major TOM Floating
in the Latent Space", arXiv:2412.05600. Theirs are float32; here a vector is int8, as in a field.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from earthloom.errors import DataError
from earthloom.grid import cell_at, middle_of, outline_of, place_of, window_box
from earthloom.maps.embedding.field import MADE_OF, Field, directions, stored_directions
from earthloom.maps.outputs import FEATURE_SCALE
from earthloom.maps.tiling import Tiling
from earthloom.sample import Shape2d, Window

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

SCALE = "earthloom:scale"


@dataclass(frozen=True)
class _Piece:
    window: Window
    vector: NDArray[np.int8]
    """(D,)."""
    seen: float
    """Share of its pixels."""


def write_vectors(field: Field, path: Path, size: int = 224, distance_km: float = 10.0) -> int:
    """Writes one row for each piece of `size` pixels of which anything was seen; returns how many.

    A vector is the mean direction of the piece's pixels. Pieces lie side by side; the last of a row
    or column ends where the field does. `grid_cell` is the Major TOM cell of `distance_km` that
    holds the piece's middle, and `pixel_bbox` its columns and rows in the field: first column,
    first row, and those behind the last. `seen`, which Major TOM has not, is the share of pixels
    that the mean was taken over. DataError where nothing was seen at all.
    """
    import pyarrow.parquet as pq

    pieces = _pieces(field, size)
    if not pieces:
        raise DataError(f"nothing was seen in field {field.item_id}; there are no vectors of it")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    pq.write_table(_table(field, pieces, distance_km), partial, compression="zstd")
    partial.replace(path)
    return len(pieces)


def read_vectors(path: Path) -> tuple[gpd.GeoDataFrame, NDArray[np.float32]]:
    """The table without its column `embedding`, and the directions (N, D) float32."""
    import geopandas as gpd
    import pyarrow.parquet as pq

    column = pq.read_table(path, columns=["embedding"])["embedding"].combine_chunks()
    stored = column.flatten().to_numpy().reshape(len(column), -1).astype(np.int8)
    names = [name for name in pq.read_schema(path).names if name != "embedding"]
    return gpd.read_parquet(path, columns=names), np.ascontiguousarray(directions(stored.T).T)


def _pieces(field: Field, size: int) -> list[_Piece]:
    side = Shape2d(min(size, field.shape.rows), min(size, field.shape.cols))
    found = []
    for row in Tiling(side.rows, side.rows).axis(field.shape.rows).starts:
        for col in Tiling(side.cols, side.cols).axis(field.shape.cols).starts:
            window = Window(row, col, side)
            unit = directions(field.read(window))
            seen = ~np.isnan(unit[0])
            total = unit[:, seen].sum(axis=1, dtype=np.float64)
            length = np.linalg.norm(total)
            if length > 0:
                vector = stored_directions((total / length).astype(np.float32))
                found.append(_Piece(window, vector, float(seen.mean())))
    return found


def _table(field: Field, pieces: list[_Piece], distance_km: float) -> pa.Table:
    import pyarrow as pa

    boxes = [window_box(field.box, piece.window) for piece in pieces]
    outlines = [outline_of(box) for box in boxes]
    middles = [middle_of(outline) for outline in outlines]
    cells = [cell_at(lon, lat, distance_km) for lon, lat in middles]
    when = "/".join(dict.fromkeys(day.isoformat() for day in field.dates))
    wkb = [shapely.to_wkb(outline) for outline in outlines]
    vectors = np.stack([piece.vector for piece in pieces])
    columns: dict[str, Any] = {
        "unique_id": [_unique(field, each, when) for each in wkb],
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.ravel(), pa.int8()), field.dimensions
        ),
        "timestamp": [when] * len(pieces),
        "product_id": [field.item_id] * len(pieces),
        "grid_cell": [cell.name for cell in cells],
        "grid_row_u": pa.array([cell.row for cell in cells], pa.int16()),
        "grid_col_r": pa.array([cell.col for cell in cells], pa.int16()),
        "geometry": wkb,
        "centre_lat": pa.array([lat for _, lat in middles], pa.float32()),
        "centre_lon": pa.array([lon for lon, _ in middles], pa.float32()),
        "utm_footprint": [shapely.to_wkt(box.extent.geom, rounding_precision=3) for box in boxes],
        "utm_crs": [place_of(field.box).crs] * len(pieces),
        "pixel_bbox": pa.array(
            [_corners(piece.window) for piece in pieces], pa.list_(pa.int32(), 4)
        ),
        "seen": pa.array([piece.seen for piece in pieces], pa.float32()),
    }
    about = {"geo": _geo(outlines), MADE_OF: field.made_of, SCALE: repr(FEATURE_SCALE)}
    return pa.table(columns).replace_schema_metadata(about)


def _corners(window: Window) -> list[int]:
    rows, cols = window.shape
    return [window.col, window.row, window.col + cols, window.row + rows]


def _unique(field: Field, wkb: bytes, when: str) -> str:
    """A hash of geometry, time, product and encoder."""
    return hashlib.sha256(wkb + f"{when} {field.item_id} {field.made_of}".encode()).hexdigest()


def _geo(outlines: list[Any]) -> str:
    """The file's metadata as GeoParquet 1.1 has it; without a CRS it is longitude and latitude."""
    column = {
        "encoding": "WKB",
        "geometry_types": sorted({outline.geom_type for outline in outlines}),
        "bbox": list(shapely.total_bounds(outlines)),
    }
    return json.dumps(
        {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    )
