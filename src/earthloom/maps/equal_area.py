"""Areas on the ellipsoid of what lies on a map's grid."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

_LONGEST_EDGE = 100.0
"""Pixels: a longer edge is bent, in parts, as what is straight in one projection is not in
another."""


@dataclass(frozen=True)
class EqualArea:
    """Where a grid lies, and an equal-area projection about its middle.

    Of a projected CRS it is Lambert's azimuthal equal-area projection on the WGS84 ellipsoid about
    the middle of the grid, of one in degrees the cylindrical one of EASE-Grid 2.0 (EPSG:6933),
    where parallels stay straight. Areas in either are those on the ellipsoid.
    """

    crs: CRS
    """Of the grid."""
    affine: Affine
    """From column and row to the CRS."""
    shape: tuple[int, int]
    """Rows and columns."""

    @cached_property
    def projection(self) -> str:
        """The equal-area CRS, as PROJ reads it."""
        if self.crs.is_geographic:
            return "EPSG:6933"
        rows, cols = self.shape
        to_degrees = Transformer.from_crs(self.crs, 4326, always_xy=True)
        middle = on_grid(self.affine, np.array([[cols / 2, rows / 2]]))
        lon, lat = to_degrees.transform(*middle[0])
        return f"+proj=laea +lat_0={lat:.2f} +lon_0={lon:.2f} +datum=WGS84 +units=m +no_defs"

    @cached_property
    def _transformer(self) -> Transformer:
        return Transformer.from_crs(self.crs, self.projection, always_xy=True)

    def of_polygons(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        """(N,): square metres of polygons whose x and y count columns and rows."""
        bent = shapely.segmentize(polygons, _LONGEST_EDGE)
        return np.asarray(shapely.area(shapely.transform(bent, self._project)))

    def of_rows(self) -> NDArray[np.float64]:
        """(H,): square metres of a pixel of each row, in the middle column."""
        rows, cols = self.shape
        y = np.arange(rows + 1, dtype=np.float64)
        left = self._project(np.column_stack([np.full(rows + 1, cols // 2), y]))
        right = self._project(np.column_stack([np.full(rows + 1, cols // 2 + 1), y]))
        corners = np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)
        return np.asarray(shapely.area(shapely.polygons(corners)))

    def _project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = self._transformer.transform(*on_grid(self.affine, points).T)
        return np.column_stack([x, y])


def on_grid(affine: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns and rows (N, 2) as coordinates of the grid's CRS; alike in, alike out."""
    x, y = points[:, 0], points[:, 1]
    return np.column_stack(
        [affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f]
    )
