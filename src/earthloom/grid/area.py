"""The area that a project maps."""

import math
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import pyogrio
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError


@dataclass(frozen=True)
class Area:
    """A named piece of the Earth with the grid that it is mapped on."""

    name: str
    box: GeoBox
    outline: BaseGeometry | None
    """In EPSG:4326; None where the whole grid is the area."""


def read_outline(source: Path | tuple[float, float, float, float]) -> BaseGeometry:
    """The outline, in EPSG:4326, of a vector file's polygons or of west, south, east, north."""
    if isinstance(source, tuple):
        return _from_bounds(source)
    if not source.exists():
        raise DataError(f"the area file {source} does not exist")
    try:
        table = gpd.read_file(source)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(f"the area file {source} cannot be read as vector data: {error}") from error
    if table.crs is None:
        raise DataError(f"the area file {source} has no CRS; save it with one, such as EPSG:4326")
    outline: BaseGeometry = shapely.make_valid(table.to_crs(4326).union_all())
    if outline.is_empty or outline.area == 0:
        raise DataError(
            f"the area in {source} is empty: {len(table)} features without any surface; "
            "an area is one or more polygons"
        )
    west, south, east, north = outline.bounds
    if not all(map(math.isfinite, outline.bounds)) or abs(south) > 90 or abs(north) > 90:
        raise DataError(
            f"the area in {source} does not lie on the Earth (bounds {west:g}, {south:g}, "
            f"{east:g}, {north:g} degrees): its CRS, {table.crs.to_string()}, seems to be wrong"
        )
    return outline


def _from_bounds(bounds: tuple[float, float, float, float]) -> BaseGeometry:
    west, south, east, north = bounds
    on_earth = -180 <= west <= 180 and -180 <= east <= 180 and south >= -90 and north <= 90
    if not (on_earth and west < east and south < north):
        raise DataError(
            f"the area {bounds} is not west, south, east, north in degrees with west < east "
            "and south < north"
        )
    return shapely.box(*bounds)
