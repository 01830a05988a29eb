"""GeoBoxes: making the base grid, and going from one grid to another."""

import math

import shapely
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry as OdcGeometry
from odc.geo.types import xy_
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError
from earthloom.grid.dateline import on_earth, unrolled, unwrapped
from earthloom.grid.reference import choose_crs, equator_y, parse_crs
from earthloom.sample import Place, Shape2d, Window

_LONGEST_EDGE = 0.25
"""Degrees; an edge is straight in degrees, and so it is bent, in parts, on a projected grid."""


def base_grid(
    outline: BaseGeometry,
    crs: str,
    resolution: float,
    multiple: int,
    anchor: tuple[float, float] = (0.0, 0.0),
) -> GeoBox:
    """The grid over an outline (EPSG:4326), snapped outward to whole groups of pixels.

    `crs` is a code, or `auto` (see `choose_crs`). Each edge lies on a multiple of `multiple`
    pixels, so that coarser layers fit in whole pixels, counted from `anchor` (x, y in units of the
    CRS; (15, 15) for the pixels of Landsat) and, in a southern UTM zone, from the equator.
    DataError for a grid in degrees over the date line.
    """
    chosen = choose_crs(outline).crs if crs == "auto" else parse_crs(crs)
    if chosen.is_geographic and unwrapped(outline).bounds[2] > 180:
        raise DataError(
            f"a grid in degrees ({crs}) cannot cross the date line; take 'auto' or a projected CRS"
        )
    projected = _projected(outline, chosen)
    if not all(map(math.isfinite, projected.boundingbox.bbox)):
        raise DataError(f"the area cannot be shown in the CRS '{crs}': it lies too far outside")
    step = resolution * multiple
    x, y = anchor[0] % step, (anchor[1] + equator_y(chosen)) % step
    # The tolerance is in pixels: the default one would cut an area by up to a hundredth of one.
    coarse = GeoBox.from_geopolygon(
        projected, resolution=step, crs=chosen, anchor=xy_(x / step, y / step), tol=1e-6
    )
    return coarse.zoom_out(1 / multiple) if multiple > 1 else coarse


def coarser(box: GeoBox, factor: int) -> GeoBox:
    """The grid of pixels `factor` times as wide, from the same corner, covering all of it."""
    if factor == 1:
        return box
    rows, cols = -(-box.shape.y // factor), -(-box.shape.x // factor)
    return GeoBox((rows, cols), box.affine * box.affine.scale(factor), box.crs)


def window_box(box: GeoBox, window: Window) -> GeoBox:
    """The grid of a window; the window may reach over the edges."""
    moved = box.affine * box.affine.translation(window.col, window.row)
    return GeoBox((window.shape.rows, window.shape.cols), moved, box.crs)


def place_of(box: GeoBox) -> Place:
    """A GeoBox in the plain numbers of the sample contract."""
    a, b, c, d, e, f = tuple(box.affine)[:6]
    crs = box.crs
    code = f"EPSG:{crs.epsg}" if crs is not None and crs.epsg else str(crs)
    return Place(code, (a, b, c, d, e, f), Shape2d(box.shape.y, box.shape.x))


def crs_wkt(box: GeoBox) -> str:
    """The CRS of a grid as WKT; a grid of ours always has one."""
    assert box.crs is not None
    return box.crs.to_wkt()


def project_outline(outline: BaseGeometry, box: GeoBox) -> BaseGeometry:
    """An outline in EPSG:4326 in the CRS of a grid."""
    return _projected(outline, CRS.from_wkt(crs_wkt(box))).geom


def outline_of(box: GeoBox) -> BaseGeometry:
    """The outline of a whole grid in EPSG:4326, cut at the date line, whole over a pole."""
    extent = box.extent.geom
    west, south, east, north = extent.bounds
    edges = shapely.segmentize(extent, max(east - west, north - south) / 32)
    if box.crs is not None and box.crs.geographic:
        return on_earth(extent)
    return unrolled(OdcGeometry(edges, box.crs).to_crs("EPSG:4326").geom)


def _projected(outline: BaseGeometry, crs: CRS) -> OdcGeometry:
    if crs.is_geographic:
        return OdcGeometry(outline, "EPSG:4326").to_crs(crs)
    projected = OdcGeometry(shapely.segmentize(outline, _LONGEST_EDGE), "EPSG:4326").to_crs(crs)
    if projected.is_valid:
        return projected
    parts = shapely.get_parts(shapely.make_valid(projected.geom))
    return OdcGeometry(shapely.union_all(parts[shapely.area(parts) > 0]), crs)
