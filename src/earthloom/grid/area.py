"""The area that a project maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError
from earthloom.grid.dateline import on_earth, outline_of_bounds, unrolled

if TYPE_CHECKING:
    import geopandas as gpd

_LONGEST_EDGE_M = 25_000
"""An edge is straight in the CRS of its file, and so it is bent, in parts, in degrees."""


@dataclass(frozen=True)
class Area:
    """A named piece of the Earth with the grid that it is mapped on."""

    name: str
    box: GeoBox
    outline: BaseGeometry | None
    """In EPSG:4326, cut at the date line; None where the whole grid is the area."""


def read_outline(source: Path | tuple[float, float, float, float]) -> BaseGeometry:
    """The outline, in EPSG:4326, of a vector file's polygons or of west, south, east, north.

    West > east, or longitudes beyond 180, mean an area over the date line; the outline is cut
    there into parts. A file in a projected CRS may lie over the date line or over a pole.
    """
    if isinstance(source, tuple):
        return _from_bounds(source)
    if not source.exists():
        raise DataError(f"the area file {source} does not exist")
    # A worker that maps needs no tables, and they take 90 MB.
    import geopandas as gpd
    import pyogrio

    try:
        table = gpd.read_file(source)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(f"the area file {source} cannot be read as vector data: {error}") from error
    if table.crs is None:
        raise DataError(f"the area file {source} has no CRS; save it with one, such as EPSG:4326")
    outline = _in_degrees(table)
    if outline.is_empty or outline.area == 0:
        raise DataError(
            f"the area in {source} is empty: {len(table)} features without any surface; "
            "an area is one or more polygons"
        )
    west, south, east, north = outline.bounds
    inside = south >= -90 and north <= 90 and west >= -540 and east <= 540
    if not all(map(math.isfinite, outline.bounds)) or not inside:
        raise DataError(
            f"the area in {source} does not lie on the Earth (bounds {west:g}, {south:g}, "
            f"{east:g}, {north:g} degrees): its CRS, {table.crs.to_string()}, seems to be wrong"
        )
    return on_earth(outline)


def _in_degrees(table: gpd.GeoDataFrame) -> BaseGeometry:
    """All features as one valid outline."""
    if table.crs is None or table.crs.is_geographic:
        valid: BaseGeometry = shapely.make_valid(table.to_crs(4326).union_all())
        return valid
    import geopandas as gpd

    edge = _LONGEST_EDGE_M / table.crs.axis_info[0].unit_conversion_factor
    whole = shapely.segmentize(shapely.make_valid(table.union_all()), edge)
    degrees: BaseGeometry = gpd.GeoSeries([whole], crs=table.crs).to_crs(4326).iloc[0]
    if degrees.is_empty or not all(map(math.isfinite, degrees.bounds)):
        return degrees
    return unrolled(degrees)


def _from_bounds(bounds: tuple[float, float, float, float]) -> BaseGeometry:
    west, south, east, north = bounds
    in_range = -360 <= west <= 360 and -360 <= east <= 360 and south >= -90 and north <= 90
    if not in_range or west == east or south >= north or east - west > 360:
        raise DataError(
            f"the area {bounds} is not west, south, east, north in degrees with west < east "
            "and south < north"
        )
    width = east - west + (360 if east < west else 0)
    if east < west and not 0 < width <= 180:
        raise DataError(
            f"the area {bounds} is not west, south, east, north in degrees with west < east: "
            f"with west > east it would go {width:g} degrees over the date line"
        )
    return outline_of_bounds(bounds)
