"""What fields say of each other and of examples: cosines and angles, window by window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from earthloom.errors import ContractError, DataError
from earthloom.grid import crs_wkt
from earthloom.maps import ITEM
from earthloom.maps.cog import StripWriter
from earthloom.maps.embedding.field import MADE_OF, Field, directions, own_folder
from earthloom.maps.embedding.item import About, write_raster_item
from earthloom.maps.outputs import Values
from earthloom.sample import Shape2d, Window

if TYPE_CHECKING:
    import geopandas as gpd

SIMILARITY = "similarity.tif"
CHANGE = "change.tif"

_EXAMPLES = 16
"""Examples that a window is compared with at a time."""
_FROM = "earthloom:derived_from"


def directions_at(field: Field, examples: gpd.GeoDataFrame) -> NDArray[np.float32]:
    """(N, D) the direction at each example (any CRS): of a point its pixel's, of a polygon the mean
    of the pixels whose centres it holds.

    Examples without any pixel that was seen are left out; DataError if none is left, or if the
    table has no CRS.
    """
    if examples.crs is None:
        raise DataError("the examples have no CRS; save them with one, such as EPSG:4326")
    found = [_direction_of(field, shape) for shape in examples.geometry.to_crs(crs_wkt(field.box))]
    known = [each for each in found if each is not None]
    if not known:
        raise DataError(
            f"none of the {len(examples)} examples lies on a pixel of field {field.item_id} that "
            "was seen"
        )
    return np.stack(known)


def write_similarity(field: Field, vectors: NDArray[np.float32], folder: Path) -> Path:
    """Writes `similarity.tif` and its Item: the cosine of each pixel to the nearest of example
    directions (N, D), from -1 to 1; NaN where the field has no data.

    ContractError for directions of another length D. The folder is one of
    its own, not that of a field.
    """
    if vectors.ndim != 2 or vectors.shape[1] != field.dimensions or not len(vectors):
        raise ContractError(
            f"examples of shape {vectors.shape} do not fit field {field.item_id}; valid are "
            f"(N, {field.dimensions})"
        )
    if not np.isfinite(vectors).all() or not (vectors != 0).any(axis=1).all():
        raise ContractError("an example is no direction: it holds NaN, or zeros alone")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def nearest(window: Window) -> NDArray[np.float32]:
        return _nearest(directions(field.read(window)), unit.astype(np.float32))

    output = Values(("similarity",), file=SIMILARITY, unit="1")
    about = _about(field, "Cosine to the nearest example", f"{field.item_id}-similarity", field)
    return _write(field, output, about, folder, nearest)


def write_change(before: Field, after: Field, folder: Path) -> Path:
    """Writes `change.tif` and its Item: the angle between two dates' directions in degrees, from 0
    to 180; NaN where either has no data.

    Rounding to int8 turns a direction of 64 numbers by about one degree. ContractError for fields
    of different encoders, projections or grids.
    """
    before.check_comparable(after)

    def angle(window: Window) -> NDArray[np.float32]:
        return angle_between(directions(before.read(window)), directions(after.read(window)))

    output = Values(("angle",), file=CHANGE, unit="degree")
    name = f"{before.item_id}-{after.item_id}-change"
    about = _about(before, "Angle between two dates", name, after)
    return _write(before, output, about, folder, angle)


def angle_between(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """(...) degrees between unit vectors (D, ...); exact for small angles too, where an arc cosine
    loses its digits (Kahan 2006)."""
    apart = np.linalg.norm(one - other, axis=0)
    along = np.linalg.norm(one + other, axis=0)
    degrees: NDArray[np.float32] = np.degrees(2 * np.arctan2(apart, along)).astype(np.float32)
    return degrees


def _nearest(unit: NDArray[np.float32], examples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) the largest cosine of unit vectors (D, H, W) to examples (N, D)."""
    flat = unit.reshape(len(unit), -1)
    best = np.full(flat.shape[1], -np.inf, np.float32)
    for first in range(0, len(examples), _EXAMPLES):
        best = np.maximum(best, (examples[first : first + _EXAMPLES] @ flat).max(axis=0))
    return best.clip(-1, 1).reshape(unit.shape[1:])


def _direction_of(field: Field, shape: BaseGeometry) -> NDArray[np.float32] | None:
    """(D,) of a geometry in the field's CRS; None where no pixel of it was seen."""
    if shape is None or shape.is_empty:
        return None
    total = np.zeros(field.dimensions)
    for window in _windows_under(field, shape):
        unit = directions(field.read(window))
        inside = ~np.isnan(unit[0])
        if shape.geom_type != "Point":
            place = field.box.affine * field.box.affine.translation(window.col, window.row)
            inside &= ~geometry_mask([shape], tuple(window.shape), place)
        total += unit[:, inside].sum(axis=1, dtype=np.float64)
    length = np.linalg.norm(total)
    return None if length == 0 else (total / length).astype(np.float32)


def _windows_under(field: Field, shape: BaseGeometry) -> list[Window]:
    """The field's windows cut to the bounds of a geometry; of a point its pixel."""
    west, south, east, north = shape.bounds
    corners = [(x, y) for x in (west, east) for y in (south, north)]
    places = np.floor([~field.box.affine * corner for corner in corners]).astype(int)
    (left, top), (right, bottom) = places.min(axis=0), places.max(axis=0) + 1
    found = []
    for each in field.windows():
        first = max(each.row, top), max(each.col, left)
        last = min(each.row + each.shape.rows, bottom), min(each.col + each.shape.cols, right)
        if first[0] < last[0] and first[1] < last[1]:
            size = Shape2d(int(last[0] - first[0]), int(last[1] - first[1]))
            found.append(Window(int(first[0]), int(first[1]), size))
    return found


def _about(field: Field, title: str, name: str, last: Field) -> About:
    dates = min(field.dates[0], last.dates[0]), max(field.dates[1], last.dates[1])
    names = list(dict.fromkeys((field.item_id, last.item_id)))
    properties = {MADE_OF: field.made_of, _FROM: names}
    return About(name, title, field.outline, dates, properties)


def _write(
    field: Field,
    output: Values,
    about: About,
    folder: Path,
    numbers: Callable[[Window], NDArray[np.float32]],
) -> Path:
    """Writes numbers (H, W) of each window as a COG of one band, and its Item; its path."""
    folder = own_folder(folder)
    path = folder / output.file
    partial = path.with_suffix(".partial.tif")
    writer = StripWriter(partial, field.box, output.bands, output.nodata, output.dtype, output.unit)
    for window in field.windows():
        writer.write(window.row, numbers(window)[None], window.col)
    writer.finish(output.overviews)
    partial.replace(path)
    write_raster_item(folder / ITEM, about, field.box, (output,))
    return path
