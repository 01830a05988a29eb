"""Which pixels of a grid lie in an area, and where a grid lies on the Earth."""

import math

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.features import geometry_mask
from shapely import Geometry

from earthloom.cube import Cube
from earthloom.errors import DataError
from earthloom.grid import Area


def crs_of(box: GeoBox) -> CRS:
    """The CRS of a grid; DataError if it has none."""
    if box.crs is None:
        raise DataError("a grid without a CRS lies nowhere on the Earth")
    return CRS.from_wkt(box.crs.to_wkt())


def outline_on(area: Area, box: GeoBox) -> Geometry | None:
    """An area's outline in the CRS of a grid; None where the whole grid is the area."""
    if area.outline is None:
        return None
    projected: Geometry = gpd.GeoSeries([area.outline], crs=4326).to_crs(crs_of(box)).iloc[0]
    return projected


def inside(outline: Geometry | None, box: GeoBox) -> NDArray[np.bool_]:
    """(H, W): True where a grid's pixels have their centre in an outline, or there is none."""
    shape = (box.shape.y, box.shape.x)
    if outline is None:
        return np.ones(shape, np.bool_)
    mask: NDArray[np.bool_] = geometry_mask([outline], shape, box.affine, invert=True)
    return mask


def common_multiple(cube: Cube) -> int:
    """Pixels of a cube's base grid, both ways, that are whole pixels of every layer."""
    return math.lcm(*(spec.factor for spec in cube.specs.values()))


def degrees_of(area: Area) -> tuple[float, float, float, float]:
    """West, south, east and north of an area."""
    outline = area.outline
    if outline is None:
        corners = gpd.GeoSeries([area.box.extent.geom], crs=crs_of(area.box))
        outline = corners.segmentize(area.box.shape.x * abs(area.box.affine.a) / 20).to_crs(4326)
    bounds = gpd.GeoSeries(outline).total_bounds
    west, south, east, north = (float(value) for value in bounds)
    return west, south, east, north
