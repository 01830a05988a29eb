"""Statistics of parcels: what a layer shows within each polygon of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError
from earthloom.grid.boxes import crs_wkt, window_box
from earthloom.grid.fractions import cut_pixels
from earthloom.sample import Shape2d, Window

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd


@dataclass(frozen=True)
class Statistics:
    """Weighted statistics of series along the last axis; NaN where nothing was seen."""

    mean: NDArray[np.float64]
    median: NDArray[np.float64]
    std: NDArray[np.float64]
    """Of the values as they are, divided by the sum of the weights."""


def weighted_statistics(values: NDArray[np.floating], weights: NDArray[np.floating]) -> Statistics:
    """Mean, median and standard deviation of values (..., K) with weights >= 0 of that shape.

    A value of weight 0 does not count, whatever it is. The median is where half of the weight
    lies on each side; where a value ends at just half, it is the mean of it and the next, so that
    equal weights give the ordinary median.
    """
    if values.shape[-1] == 0:
        nothing = np.full(values.shape[:-1], np.nan)
        return Statistics(nothing, nothing.copy(), nothing.copy())
    weights = weights.astype(np.float64)
    known: NDArray[np.float64] = np.where(weights > 0, values, 0.0).astype(np.float64)
    total: NDArray[np.float64] = np.asarray(weights.sum(axis=-1), np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (known * weights).sum(axis=-1) / total
        squares = (weights * (known - mean[..., None]) ** 2).sum(axis=-1) / total
    median = _weighted_median(known, weights.astype(np.float64), total)
    return Statistics(mean, median, np.sqrt(squares))


def parcel_statistics(
    parcels: gpd.GeoDataFrame,
    pixels: NDArray[np.floating],
    valid: NDArray[np.bool_],
    box: GeoBox,
    bands: Sequence[str],
    inset_m: float = 0.0,
) -> pd.DataFrame:
    """What a layer shows in each parcel: pixels (T, C, H, W) of a grid, valid (T, H, W).

    A pixel's weight is the share of it that the parcel covers, after its edge was drawn in by
    `inset_m` metres, which keeps pixels mixed with the neighbours out. A pixel that is not valid,
    or NaN in a band, does not count in that band.

    One row a parcel, time step and band: `parcel` (the table's index), `step` (from 0), `band`,
    `mean`, `median`, `std` (NaN where nothing was seen), `count` (pixels seen, in part or whole)
    and `seen` (the share of the parcel, as drawn in, that was seen; 0 where nothing is left of
    it). Medians of each parcel and date are what EuroCropsML (Reuss et al. 2025) is made of.
    DataError if the shapes do not fit or the parcels have no CRS.
    """
    import pandas as pd

    steps, channels, rows, cols = pixels.shape
    if (rows, cols) != tuple(box.shape) or valid.shape != (steps, rows, cols):
        raise DataError(
            f"pixels {pixels.shape} and valid {valid.shape} do not fit a grid of "
            f"{box.shape.y} x {box.shape.x}; (T, C, H, W) and (T, H, W) are needed"
        )
    if len(bands) != channels:
        raise DataError(f"{len(bands)} band names for {channels} bands of pixels")
    drawn = drawn_in(parcels, box, inset_m)
    found = [_one_parcel(polygon, pixels, valid, box) for polygon in drawn]
    each = steps * channels
    table = pd.DataFrame(
        {
            "parcel": np.repeat(drawn.index.to_numpy(), each),
            "step": np.tile(np.repeat(np.arange(steps), channels), len(drawn)),
            "band": np.tile(np.asarray(bands, np.object_), steps * len(drawn)),
        }
    )
    for name in ("mean", "median", "std", "count", "seen"):
        kind = np.int64 if name == "count" else np.float64
        columns = [getattr(one, name).ravel() for one in found]
        table[name] = np.concatenate(columns) if columns else np.zeros(0, kind)
    return table


_LEAST_INSET_M = 1e-3
"""Below a millimetre nothing is drawn in; GEOS makes nothing of a polygon at a hair's breadth."""


def drawn_in(parcels: gpd.GeoDataFrame, box: GeoBox, inset_m: float) -> gpd.GeoSeries:
    """Parcels in the CRS of a grid, their edges drawn in by metres on the ground.

    A parcel narrower than twice the inset is empty. DataError if they have no CRS, or if the inset
    is below 0.
    """
    if inset_m < 0:
        raise DataError(f"edges are drawn in by 0 metres or more, not by {inset_m:g}")
    if parcels.crs is None:
        raise DataError("the parcels have no CRS; save them with one, such as EPSG:4326")
    moved = parcels.geometry.to_crs(crs_wkt(box))
    moved = moved.fillna(shapely.Polygon()).make_valid()
    if inset_m < _LEAST_INSET_M:
        return moved
    crs = CRS.from_wkt(crs_wkt(box))
    if not crs.is_geographic:
        metres = crs.axis_info[0].unit_conversion_factor
        return moved.buffer(-inset_m / metres)
    local = parcels.geometry.to_crs(parcels.estimate_utm_crs())
    local = local.fillna(shapely.Polygon()).make_valid()
    return local.buffer(-inset_m).to_crs(crs)


@dataclass(frozen=True)
class _Seen(Statistics):
    """Of one parcel; all of shape (T, C)."""

    count: NDArray[np.int64]
    seen: NDArray[np.float64]


def _one_parcel(
    polygon: BaseGeometry, pixels: NDArray[np.floating], valid: NDArray[np.bool_], box: GeoBox
) -> _Seen:
    window = _pixels_about(polygon, box)
    rows = slice(window.row, window.row + window.shape.rows)
    cols = slice(window.col, window.col + window.shape.cols)
    shares = cut_pixels(polygon, window_box(box, window))
    covered = shares > 0
    values = pixels[:, :, rows, cols][..., covered]
    there = valid[:, rows, cols][..., covered][:, None] & np.isfinite(values)
    weights = np.where(there, shares[covered], 0.0)
    found = weighted_statistics(values, weights)
    area = polygon.area / abs(box.affine.determinant)
    seen = weights.sum(axis=-1) / area if area > 0 else np.zeros(values.shape[:2])
    count = there.sum(axis=-1, dtype=np.int64)
    return _Seen(found.mean, found.median, found.std, count, np.minimum(seen, 1))


def _pixels_about(polygon: BaseGeometry, box: GeoBox) -> Window:
    """The window of all pixels of a grid that a polygon may touch; empty if there is none."""
    if polygon.is_empty:
        return Window(0, 0, Shape2d(0, 0))
    west, south, east, north = polygon.bounds
    corners = [~box.affine * (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = zip(*corners, strict=True)
    top, bottom = _clipped(min(rows), max(rows), box.shape.y)
    left, right = _clipped(min(cols), max(cols), box.shape.x)
    return Window(top, left, Shape2d(bottom - top, right - left))


def _clipped(first: float, last: float, length: int) -> tuple[int, int]:
    start = min(max(math.floor(first), 0), length)
    return start, max(min(math.ceil(last), length), start)


def _weighted_median(
    values: NDArray[np.float64], weights: NDArray[np.float64], total: NDArray[np.float64]
) -> NDArray[np.float64]:
    values = np.where(weights > 0, values, np.inf)
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    passed = np.cumsum(np.take_along_axis(weights, order, axis=-1), axis=-1)
    half = total[..., None] / 2
    slack = 1e-9 * total[..., None]
    lower = (passed < half - slack).sum(axis=-1, keepdims=True)
    upper = (passed <= half + slack).sum(axis=-1, keepdims=True)
    last = values.shape[-1] - 1
    low = np.take_along_axis(ordered, np.minimum(lower, last), axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(upper, last), axis=-1)[..., 0]
    seen = total > 0
    return np.where(seen, (np.where(seen, low, 0) + np.where(seen, high, 0)) / 2, np.nan)
