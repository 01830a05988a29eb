"""Windows that cover a grid, and windows round points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox

from earthloom.errors import DataError
from earthloom.grid.boxes import crs_wkt
from earthloom.sample import Shape2d, Window

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True)
class PointWindows:
    """The windows round points."""

    windows: tuple[Window, ...]
    rows: tuple[int, ...]
    """Of each window: which row of the points' table it belongs to, from 0."""
    outside: int
    """How many points do not lie on the grid, and have no window."""


def cover(shape: Shape2d, size: int, stride: int | None = None) -> Iterator[Window]:
    """Square windows, row by row, that together cover a grid; the last reach over its edges."""
    stride = stride or size
    for row in _starts(shape.rows, size, stride):
        for col in _starts(shape.cols, size, stride):
            yield Window(row, col, Shape2d(size, size))


def window_around(box: GeoBox, x: float, y: float, size: int, multiple: int = 1) -> Window:
    """The square window of `size` pixels whose middle is nearest to a point in the grid's CRS.

    Its edges lie on multiples of `multiple` pixels, so that it is a whole window in coarser
    layers as well; it may reach over the grid's edges. With an odd size and `multiple` 1 the
    point lies in the middle pixel. DataError if `size` is no multiple of `multiple`.
    """
    if size < 1 or size % multiple:
        raise DataError(
            f"a window of {size} pixels does not fit the layers of the grid: its size must be a "
            f"multiple of {multiple}"
        )
    col, row = ~box.affine * (x, y)
    top, left = (math.floor((at - size / 2) / multiple + 0.5) * multiple for at in (row, col))
    return Window(top, left, Shape2d(size, size))


def windows_of_points(
    box: GeoBox, points: gpd.GeoDataFrame, size: int, multiple: int = 1
) -> PointWindows:
    """The window of each point that lies on a grid, in the order of the table (any CRS).

    DataError if the table has no CRS, or if it holds anything but points.
    """
    if points.crs is None:
        raise DataError("the points have no CRS; save them with one, such as EPSG:4326")
    kinds = set(points.geom_type.dropna()) - {"Point"}
    if kinds:
        raise DataError(f"a window is made round a point; the table has {sorted(kinds)[0]} too")
    moved = points.geometry.to_crs(crs_wkt(box))
    x, y = moved.x.to_numpy(), moved.y.to_numpy()
    cols, rows = (np.asarray(axis) for axis in ~box.affine * (x, y))
    on_grid = (cols >= 0) & (cols < box.shape.x) & (rows >= 0) & (rows < box.shape.y)
    kept = np.flatnonzero(on_grid)
    return PointWindows(
        windows=tuple(window_around(box, float(x[n]), float(y[n]), size, multiple) for n in kept),
        rows=tuple(int(n) for n in kept),
        outside=len(points) - len(kept),
    )


def _starts(length: int, size: int, stride: int) -> range:
    """Where windows start along one axis, so that the last one reaches the end."""
    return range(0, max(length - size, 0) + stride, stride)
