"""The columns of the chip index, as GeoParquet 1.1 (ogc.org) has them, and how rows become them."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyproj import Transformer

from earthloom.errors import ContractError, DataError
from earthloom.sample import Place

Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
"""Longitude and latitude in degrees of a chip's corners, in the order of its outline."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
        pa.field("area", pa.string(), nullable=False),
        pa.field("layers", pa.list_(pa.string()), nullable=False),
        pa.field("first_day", pa.date32()),
        pa.field("last_day", pa.date32()),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("col", pa.int32(), nullable=False),
        pa.field("size", pa.int32(), nullable=False),
        pa.field("valid_fraction", pa.float32()),
        pa.field("label_codes", pa.list_(pa.int32()), nullable=False),
        pa.field("label_counts", pa.list_(pa.int64()), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field(
            "bbox",
            pa.struct([(edge, pa.float64()) for edge in ("xmin", "ymin", "xmax", "ymax")]),
        ),
        pa.field("geometry", pa.binary()),
    ]
)
"""`number` counts the chips in the order in which they were added: their place in a chip store.
A chip over the date line has `xmin` above `xmax`, as GeoJSON (RFC 7946) has it."""

_BITS = 16


@dataclass(frozen=True, slots=True)
class ChipRow:
    """What the index keeps of one chip."""

    id: str
    area: str
    layers: tuple[str, ...]
    """Keys of the layers that the chip has."""
    row: int
    """Of its first pixel in the area's base grid."""
    col: int
    size: int
    """Rows and columns of the base grid."""
    valid_fraction: float
    """Part of its pixels that were seen, over all layers and dates."""
    first_day: int | None = None
    """Days since 1970-01-01; None where time plays no part."""
    last_day: int | None = None
    label_counts: Mapping[int, int] | None = None
    """Labelled pixels of each class code."""
    group: str = ""
    split: str = ""
    """Empty until it is assigned."""
    source: str = ""
    """Digest of what the chip was cut from."""
    weight: float = 1.0
    corners: Corners | None = None
    """None for a chip without georeference."""


def corners_of_place(place: Place) -> Corners:
    """Corners in degrees of a chip's place; DataError where they are not on the Earth."""
    rows, cols = place.shape
    a, b, c, d, e, f = place.transform
    outline = [(0, 0), (cols, 0), (cols, rows), (0, rows)]
    x = [a * col + b * row + c for col, row in outline]
    y = [d * col + e * row + f for col, row in outline]
    lon, lat = _to_degrees(place.crs).transform(x, y)
    if not np.isfinite([*lon, *lat]).all():
        raise DataError(f"the chip at x {c:g}, y {f:g} of {place.crs} does not lie on the Earth")
    first, second, third, fourth = zip(((np.array(lon) + 180) % 360 - 180).tolist(), lat)
    return first, second, third, fourth


@lru_cache(maxsize=256)
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def to_columns(rows: Sequence[ChipRow], first_number: int) -> pa.Table:
    """Rows as a table of `SCHEMA`."""
    counts = [
        {code: count for code, count in sorted((row.label_counts or {}).items()) if count > 0}
        for row in rows
    ]
    corners = np.full((len(rows), 4, 2), np.nan)
    for number, row in enumerate(rows):
        if row.corners is not None:
            corners[number] = row.corners
    columns = {
        name: [getattr(row, name) for row in rows]
        for name in SCHEMA.names
        if name not in ("number", "label_codes", "label_counts", "bbox", "geometry")
    }
    columns["number"] = list(range(first_number, first_number + len(rows)))
    columns["label_codes"] = [list(each) for each in counts]
    columns["label_counts"] = [list(each.values()) for each in counts]
    arrays = [
        pa.array(columns[field.name], type=field.type)
        for field in SCHEMA
        if field.name not in ("bbox", "geometry")
    ]
    try:
        boxes = bounds(corners)
    except ContractError as error:
        raise ContractError(f"chips {rows[0].id} to {rows[-1].id}: {error}") from error
    return pa.Table.from_arrays([*arrays, _box_column(boxes), _outlines(corners)], schema=SCHEMA)


def bounds(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 4) xmin, ymin, xmax, ymax of corners (n, 4, 2); xmax is above 180 over the date line.

    Corners more than 180 degrees apart are taken as on both sides of the date line. NaN without a
    place; ContractError for what is not on the Earth.
    """
    off = (np.abs(corners[..., 1]) > 90) | (np.abs(corners[..., 0]) > 180)
    if off.any():
        lon, lat = corners[off][0]
        raise ContractError(
            f"a corner at longitude {lon:g}, latitude {lat:g} is not on the Earth; valid: -180 to "
            "180 and -90 to 90 degrees"
        )
    placed = ~np.isnan(corners).any(axis=(1, 2))
    boxes = np.full((len(corners), 4), np.nan)
    x, y = unrolled(corners[placed])[..., 0], corners[placed][..., 1]
    boxes[placed] = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1)
    return boxes


def unrolled(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners (n, 4, 2) with longitudes that go on beyond 180 over the date line."""
    lon = corners[..., 0]
    over = np.ptp(lon, axis=1) > 180 if len(lon) else np.zeros(0, np.bool_)
    moved = np.where(over[:, None] & (lon < 0), lon + 360, lon)
    return np.stack([moved, corners[..., 1]], axis=-1)


def hilbert(boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) positions of the boxes' (n, 4) middles along a Hilbert curve over the Earth.

    Hilbert (1891), by the turns of each quadrant. What has no place comes last.
    """
    placed = ~np.isnan(boxes[:, 0])
    x, y = (boxes[placed, 0] + boxes[placed, 2]) / 2, (boxes[placed, 1] + boxes[placed, 3]) / 2
    side = 1 << _BITS
    x = np.clip((((x + 180) % 360) / 360 * side).astype(np.int64), 0, side - 1)
    y = np.clip(((y + 90) / 180 * side).astype(np.int64), 0, side - 1)
    found = np.zeros(len(x), np.int64)
    step = side >> 1
    while step:
        right, up = ((x & step) > 0).astype(np.int64), ((y & step) > 0).astype(np.int64)
        found += step * step * ((3 * right) ^ up)
        flip = (up == 0) & (right == 1)
        x, y = np.where(flip, side - 1 - x, x), np.where(flip, side - 1 - y, y)
        x, y = np.where(up == 0, y, x), np.where(up == 0, x, y)
        step >>= 1
    keys = np.full(len(boxes), np.iinfo(np.int64).max)
    keys[placed] = found
    return keys


def geo_metadata(boxes: NDArray[np.float64]) -> dict[bytes, bytes]:
    """The file's `geo` entry: WKB polygons in longitude and latitude, with a covering box."""
    covering = {edge: ["bbox", edge] for edge in ("xmin", "ymin", "xmax", "ymax")}
    column: dict[str, object] = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"] if (boxes[:, 2] > 180).any() else ["Polygon"],
        "covering": {"bbox": covering},
    }
    if not np.isnan(boxes[:, 0]).all() and not (boxes[:, 2] > 180).any():
        west, south = np.nanmin(boxes[:, :2], axis=0)
        east, north = np.nanmax(boxes[:, 2:], axis=0)
        column["bbox"] = [float(west), float(south), float(east), float(north)]
    value = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {b"geo": json.dumps(value, sort_keys=True).encode()}


def boxes_of(table: pa.Table) -> NDArray[np.float64]:
    """(n, 4) of the `bbox` column, xmax above 180 over the date line, NaN without a place."""
    column = table.column("bbox").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    edges = [each.to_numpy(zero_copy_only=False) for each in column.flatten()]
    boxes = np.stack([edge.astype(np.float64) for edge in edges], axis=1)
    boxes[boxes[:, 2] < boxes[:, 0], 2] += 360
    return boxes


def _box_column(boxes: NDArray[np.float64]) -> pa.Array:
    east = np.where(boxes[:, 2] > 180, boxes[:, 2] - 360, boxes[:, 2])
    edges = [pa.array(edge) for edge in (boxes[:, 0], boxes[:, 1], east, boxes[:, 3])]
    fields = list(SCHEMA.field("bbox").type)
    return pa.StructArray.from_arrays(edges, fields=fields, mask=pa.array(np.isnan(boxes[:, 0])))


def _outlines(corners: NDArray[np.float64]) -> pa.Array:
    """The outlines as WKB, cut in two at the date line; null without a place."""
    flat = unrolled(corners)
    head = struct.pack("<BIII", 1, 3, 1, 5)
    rings = np.concatenate([flat, flat[:, :1]], axis=1).astype("<f8")
    texts: list[bytes | None] = []
    for ring, outline in zip(rings, flat):
        if np.isnan(outline).any():
            texts.append(None)
        elif outline[:, 0].max() > 180:
            texts.append(_cut_outline(outline))
        else:
            texts.append(head + ring.tobytes())
    return pa.array(texts, type=pa.binary())


def _cut_outline(outline: NDArray[np.float64]) -> bytes:
    """Both halves of an outline over the date line, which few chips are: with shapely."""
    import shapely

    whole = shapely.Polygon(outline)
    west = shapely.intersection(whole, shapely.box(-180, -90, 180, 90))
    east = shapely.intersection(whole, shapely.box(180, -90, 540, 90))
    moved = shapely.transform(east, lambda points: points - [360.0, 0.0])
    return bytes(shapely.to_wkb(shapely.multipolygons([west, moved]), byte_order=1))
