"""Points with a class each, as plain arrays: many millions of them without a geometry object."""

from dataclasses import dataclass
from functools import lru_cache

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from earthloom.chips.label_attributes import Attributes
from earthloom.chips.label_burn import Burned, burn_pixels, nothing
from earthloom.chips.label_dates import Period
from earthloom.grid import crs_wkt


@dataclass(frozen=True)
class PointLabels:
    """N labelled points in one CRS, in the order of `y`."""

    x: NDArray[np.float64]
    """(N,) easting or longitude."""
    y: NDArray[np.float64]
    """(N,) northing or latitude, rising."""
    crs: CRS
    attributes: Attributes

    @staticmethod
    def sorted(
        x: NDArray[np.float64], y: NDArray[np.float64], crs: CRS, attributes: Attributes
    ) -> "PointLabels":
        """Points in any order."""
        order = np.argsort(y, kind="stable")
        return PointLabels(x[order], y[order], crs, attributes.take(order))

    def __len__(self) -> int:
        return len(self.x)

    def to(self, box: GeoBox) -> "PointLabels":
        """The same points in the CRS of a grid; those that have no place in it are left out."""
        crs = crs_of(box)
        if crs == self.crs:
            return self
        x, y = transform(self.x, self.y, self.crs, crs)
        there = np.isfinite(x) & np.isfinite(y)
        return PointLabels.sorted(x[there], y[there], crs, self.attributes.take(there))

    def burn(self, box: GeoBox, period: Period | None, buffer_m: float) -> Burned:
        """The pixel that holds a point has its label, and those whose centre is within the buffer.

        The points must be in the grid's CRS, and the buffer is in its unit.
        """
        shape = (box.shape.y, box.shape.x)
        pixel, attributes = self.labelled(box, period, buffer_m)
        if not len(pixel):
            return nothing(shape)
        return burn_pixels(pixel, attributes.classes, attributes.weight, shape)

    def labelled(
        self, box: GeoBox, period: Period | None, buffer_m: float
    ) -> tuple[NDArray[np.int64], Attributes]:
        """Positions (M,) in the flat grid of the pixels that points label, see `burn`, and what
        the point of each says; a pixel that several points label stands there several times."""
        bounds = box.boundingbox
        start = int(np.searchsorted(self.y, bounds.bottom - buffer_m, "left"))
        stop = int(np.searchsorted(self.y, bounds.top + buffer_m, "right"))
        rows = slice(start, stop)
        x, y = self.x[rows], self.y[rows]
        near = (x >= bounds.left - buffer_m) & (x <= bounds.right + buffer_m)
        attributes = self.attributes.take(np.arange(start, stop))
        near &= attributes.meets(period)
        x, y, attributes = x[near], y[near], attributes.take(near)
        pixel, which = _pixels(x, y, box, buffer_m)
        return pixel, attributes.take(which)

    def table(self) -> gpd.GeoDataFrame:
        """The points as a table of `geometry` and `code`."""
        geometry = gpd.points_from_xy(self.x, self.y, crs=self.crs)
        return gpd.GeoDataFrame({"code": self.attributes.code}, geometry=geometry, crs=self.crs)


def crs_of(box: GeoBox) -> CRS:
    """The CRS of a grid."""
    return _parsed(crs_wkt(box))


@lru_cache(maxsize=64)
def _parsed(wkt: str) -> CRS:
    # Parsing takes as long as burning a window, and all windows of an area have one CRS.
    return CRS(wkt)


def transform(
    x: NDArray[np.float64], y: NDArray[np.float64], crs: CRS, into: CRS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (N,) in another CRS, easting or longitude first; infinite where there is none."""
    if crs == into:
        return x, y
    transformer = Transformer.from_crs(crs, into, always_xy=True)
    moved_x, moved_y = transformer.transform(x, y)
    return np.asarray(moved_x, np.float64), np.asarray(moved_y, np.float64)


def pixels_of(
    x: NDArray[np.float64], y: NDArray[np.float64], box: GeoBox
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions (N,) in the flat grid of the pixels that hold points, and which points have one."""
    inverse = ~box.affine
    with np.errstate(invalid="ignore"):
        col = np.floor(inverse.a * x + inverse.b * y + inverse.c)
        row = np.floor(inverse.d * x + inverse.e * y + inverse.f)
        inside = (col >= 0) & (col < box.shape.x) & (row >= 0) & (row < box.shape.y)
    flat = np.where(inside, row * box.shape.x + col, 0)
    return flat.astype(np.int64), inside


def thinned(pixel: NDArray[np.int64], given: Attributes) -> NDArray[np.int64]:
    """Positions of the points that stay where those of one pixel, class and time are one.

    The one of the greatest weight stays: so memory is bounded by the pixels of an area.
    """
    table = pd.DataFrame(
        {"pixel": pixel, "code": given.code, "first": given.first, "last": given.last}
    )
    if len(table) and given.weight.min() != given.weight.max():
        table = table.iloc[np.argsort(-given.weight, kind="stable")]
    return np.sort(table.drop_duplicates().index.to_numpy(np.int64))


def _pixels(
    x: NDArray[np.float64], y: NDArray[np.float64], box: GeoBox, buffer_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of points and of their surroundings, and the point that each of them is of."""
    pixel, inside = pixels_of(x, y, box)
    found, which = [pixel[inside]], [np.flatnonzero(inside)]
    if buffer_m:
        inverse = ~box.affine
        col = np.floor(inverse.a * x + inverse.b * y + inverse.c)
        row = np.floor(inverse.d * x + inverse.e * y + inverse.f)
        for down, right in _offsets(box, buffer_m):
            at_col, at_row = col + right + 0.5, row + down + 0.5
            centre_x = box.affine.a * at_col + box.affine.b * at_row + box.affine.c
            centre_y = box.affine.d * at_col + box.affine.e * at_row + box.affine.f
            near = np.hypot(centre_x - x, centre_y - y) <= buffer_m
            pixel, inside = pixels_of(centre_x, centre_y, box)
            found.append(pixel[near & inside])
            which.append(np.flatnonzero(near & inside))
    return np.concatenate(found), np.concatenate(which)


def _offsets(box: GeoBox, buffer_m: float) -> list[tuple[int, int]]:
    """Rows and columns from a pixel to those that a buffer may reach."""
    step = min(abs(float(box.resolution.x)), abs(float(box.resolution.y)))
    reach = int(np.ceil(buffer_m / step)) + 1
    around = range(-reach, reach + 1)
    return [(down, right) for down in around for right in around]
