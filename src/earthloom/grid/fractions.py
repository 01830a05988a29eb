"""Polygons to pixels: a mask of pixel centres, and the share of each pixel that is covered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError
from earthloom.grid.boxes import crs_wkt

if TYPE_CHECKING:
    from geopandas import GeoSeries

_NOTHING = 1e-9
"""A smaller share of a pixel is what rounding leaves in sums that should be 0."""


def mask_of(polygons: GeoSeries, box: GeoBox, all_touched: bool = False) -> NDArray[np.bool_]:
    """Where pixels have their centre in a polygon, or touch one; (H, W). Polygons in any CRS."""
    shape = (box.shape.y, box.shape.x)
    shapes = [polygon for polygon in on_grid(polygons, box) if not polygon.is_empty]
    if not shapes:
        return np.zeros(shape, np.bool_)
    burned = rasterize(
        shapes, out_shape=shape, transform=box.affine, all_touched=all_touched, dtype="uint8"
    )
    mask = np.asarray(burned, np.bool_)
    # GDAL leaves out pixels that a polygon covers in part along its own corner.
    return mask | (fraction_of(polygons, box) > 0) if all_touched else mask


def fraction_of(polygons: GeoSeries, box: GeoBox) -> NDArray[np.float32]:
    """The share of each pixel's area, 0 to 1, that polygons cover together; (H, W).

    It is exact: each pixel on an edge is cut. Polygons in any CRS. DataError if they have none.
    """
    whole = shapely.union_all(shapely.make_valid(on_grid(polygons, box)))
    return cut_pixels(whole, box)


def cut_pixels(polygon: BaseGeometry, box: GeoBox) -> NDArray[np.float32]:
    """As `fraction_of`, for one valid polygon in the CRS of the grid.

    Edges are cut where they pass from pixel to pixel. Each piece adds what lies to its right in
    its row, upward pieces with one sign and downward ones with the other, and sums along rows
    leave what lies between (as in exact font rendering).
    """
    rows, cols = box.shape
    pixels = shapely.transform(polygon, lambda points: np.column_stack(~box.affine * points.T))
    inside = shapely.intersection(pixels, shapely.box(0, 0, cols, rows))
    starts, ends = _pieces(*_edges(inside))
    middle = (starts + ends) / 2
    row, col = (np.floor(middle[:, axis]).astype(np.intp) for axis in (1, 0))
    height = ends[:, 1] - starts[:, 1]
    passed = middle[:, 0] - col
    sums = np.zeros((rows, cols + 2))
    # A piece on the last edge has its pixel beyond the grid: it adds to nothing that is kept.
    kept = (height != 0) & (row >= 0) & (row < rows) & (col >= 0) & (col <= cols)
    row, col, height, passed = row[kept], col[kept], height[kept], passed[kept]
    np.add.at(sums, (row, col), height * (1 - passed))
    np.add.at(sums, (row, col + 1), height * passed)
    shares = np.cumsum(sums, axis=1)[:, :cols]
    shares[shares < _NOTHING] = 0
    return np.clip(shares, 0, 1).astype(np.float32)


def on_grid(polygons: GeoSeries, box: GeoBox) -> NDArray[np.object_]:
    """Geometries in the CRS of a grid, missing ones left out; DataError if they have no CRS."""
    if polygons.crs is None:
        raise DataError("the polygons have no CRS; save them with one, such as EPSG:4326")
    return np.asarray(polygons.dropna().to_crs(crs_wkt(box)).to_numpy(), np.object_)


def _edges(outline: BaseGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Starts and ends (E, 2) of all edges of polygons, the outer ones clockwise."""
    parts = shapely.get_parts(outline)
    polygons = parts[shapely.area(parts) > 0]
    rings = shapely.get_rings(shapely.orient_polygons(polygons, exterior_cw=True))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    return points[:-1][same], points[1:][same]


def _pieces(
    starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges (E, 2), cut where a coordinate is a whole number; their pieces in order."""
    edges = np.arange(len(starts))
    owners, shares = [edges, edges], [np.zeros(len(edges)), np.ones(len(edges))]
    for axis in (0, 1):
        low = np.ceil(np.minimum(starts[:, axis], ends[:, axis]))
        high = np.floor(np.maximum(starts[:, axis], ends[:, axis]))
        count = np.maximum(high - low + 1, 0).astype(np.intp)
        count[starts[:, axis] == ends[:, axis]] = 0
        owner = np.repeat(edges, count)
        line = low[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        owners.append(owner)
        shares.append((line - starts[owner, axis]) / (ends[owner, axis] - starts[owner, axis]))
    owner, share = np.concatenate(owners), np.concatenate(shares)
    order = np.lexsort((share, owner))
    owner, share = owner[order], share[order, None]
    points = starts[owner] + share * (ends[owner] - starts[owner])
    same = owner[1:] == owner[:-1]
    return points[:-1][same], points[1:][same]
