"""Which CRS an area is mapped in, and how wide its pixels are on the ground."""

import math
from dataclasses import dataclass

from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError
from earthloom.grid.dateline import middle_of, unwrapped

WIDE_KM = 1336.0
"""Twelve degrees on the equator: six on each side of a UTM zone's middle, where its scale is
half a per cent wrong."""

UPS_FROM = 75.0
"""UPS is used down to this latitude, where its scale is one per cent wrong."""

_KM_PER_DEGREE = 111.32
_ELLIPSOID = Geod(ellps="WGS84")


@dataclass(frozen=True)
class ChosenCrs:
    """A CRS, and why it was taken."""

    crs: CRS
    reason: str
    """One line for a person."""


def choose_crs(outline: BaseGeometry) -> ChosenCrs:
    """What `crs: auto` means for an outline (EPSG:4326): the UTM zone of its middle.

    Where UTM ends, at 84 degrees north and 80 south, it is UPS (Universal Polar Stereographic,
    which is made to go on from there); where an area is wider than `WIDE_KM`, it is Lambert's
    azimuthal equal-area projection about its middle. DataError for an area wider than half the
    Earth that does not lie round a pole.
    """
    longitude, latitude = middle_of(outline)
    west, south, east, north = unwrapped(outline).bounds
    lowest = max(0.0, south, -north)
    """The latitude nearest to the equator, where the outline is widest."""
    if east - west >= 180 and lowest < 45:
        raise DataError(
            f"the area is {east - west:.0f} degrees wide, too wide for one grid; an area over the "
            "date line has west > east in its bounds, or polygons that are cut at 180"
        )
    beyond_utm = not -80 <= latitude < 84
    if beyond_utm and lowest >= UPS_FROM:
        code, pole = (32661, "84 north") if latitude > 0 else (32761, "80 south")
        return ChosenCrs(CRS.from_epsg(code), f"UPS: the area's middle is beyond {pole}")
    width = (east - west) * _KM_PER_DEGREE * math.cos(math.radians(lowest))
    if beyond_utm or width > WIDE_KM:
        return ChosenCrs(
            _equal_area(longitude, latitude),
            f"Lambert azimuthal equal-area: the area, {width:.0f} km wide, is too large for "
            + ("UPS" if beyond_utm else f"UTM ({WIDE_KM:.0f} km)"),
        )
    zone = utm_code(longitude, latitude)
    return ChosenCrs(CRS.from_epsg(zone), f"UTM zone {zone % 100} holds the area's middle")


def utm_code(longitude: float, latitude: float) -> int:
    """The EPSG code of the UTM zone on WGS 84 that holds a point from 80 south to 84 north.

    With the wider zones of MGRS in Norway and Svalbard, in which the tiles of Sentinel-2 are cut.
    """
    zone = int((longitude + 180) // 6) % 60 + 1
    if 56 <= latitude < 64 and 3 <= longitude < 12:
        zone = 32
    elif 72 <= latitude <= 84 and 0 <= longitude < 42:
        zone = next(z for z, east in ((31, 9), (33, 21), (35, 33), (37, 42)) if longitude < east)
    return (32600 if latitude >= 0 else 32700) + zone


def parse_crs(code: str) -> CRS:
    """A CRS from its code; DataError if there is none such."""
    try:
        return CRS.from_user_input(code)
    except CRSError as error:
        raise DataError(
            f"unknown CRS '{code}'; valid: auto, native, or a code such as EPSG:32633"
        ) from error


def equator_y(crs: CRS) -> float:
    """Where the equator lies on the y axis of a UTM zone; 0 in any other CRS.

    The tiles of Sentinel-2 are cut from the equator, and the zones of the southern half have it
    at 10 000 km, which is no multiple of 60 m.
    """
    zone = crs.utm_zone
    return 10_000_000.0 if zone is not None and zone.endswith("S") else 0.0


def gsd_metres(box: GeoBox) -> float:
    """Ground sampling distance of a grid in metres: the side of a square as large as a pixel.

    For a projected CRS it is the pixel's width in metres, for one in degrees it is measured on
    the ellipsoid at the grid's middle, and so it is where a projection is more than 5 % wrong
    there, as Web Mercator is. DataError if the grid has no CRS.
    """
    if box.crs is None:
        raise DataError("a grid without a CRS has no size on the ground")
    rows, cols = box.shape
    x, y = box.affine * (cols / 2, rows / 2)
    return pixel_metres(CRS.from_wkt(box.crs.to_wkt()), abs(box.affine.a), (x, y))


def grid_gsd(outline: BaseGeometry, crs: str, resolution: float) -> float:
    """As `gsd_metres`, for a grid that is still to be made over an outline."""
    chosen = choose_crs(outline).crs if crs == "auto" else parse_crs(crs)
    to_grid = Transformer.from_crs(4326, chosen, always_xy=True)
    return pixel_metres(chosen, resolution, to_grid.transform(*middle_of(outline)))


def pixel_metres(crs: CRS, resolution: float, at: tuple[float, float]) -> float:
    """Metres of a square pixel of `resolution` units of a CRS, about a point (x, y) of it."""
    half = resolution / 2
    x, y = at
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    lons, lats = to_degrees.transform([x - half, x + half, x, x], [y, y, y - half, y + half])
    _, _, width = _ELLIPSOID.inv(lons[0], lats[0], lons[1], lats[1])
    _, _, height = _ELLIPSOID.inv(lons[2], lats[2], lons[3], lats[3])
    true = math.sqrt(width * height)
    if not (math.isfinite(true) and true > 0):
        raise DataError(f"the point ({x:g}, {y:g}) of a grid lies outside its CRS, {crs.name}")
    if crs.is_geographic:
        return true
    nominal = float(resolution * crs.axis_info[0].unit_conversion_factor)
    return nominal if abs(true / nominal - 1) < 0.05 else true


def _equal_area(longitude: float, latitude: float) -> CRS:
    """About the nearest whole degree, so that areas almost alike have one CRS."""
    return CRS.from_proj4(
        f"+proj=laea +lat_0={latitude:.0f} +lon_0={longitude:.0f} +datum=WGS84 +units=m +no_defs"
    )
