"""GeoBoxes: making the base grid, and going from one grid to another."""

from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry as OdcGeometry
from pyproj import CRS
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError
from earthloom.sample import Place, Shape2d, Window


def base_grid(outline: BaseGeometry, crs: str, resolution: float, multiple: int) -> GeoBox:
    """The grid over an outline (EPSG:4326), snapped outward to whole groups of pixels.

    `crs` is a code, or `auto` for the UTM zone of the outline's middle. Each edge lies on a
    multiple of `multiple` pixels, so that coarser layers fit in whole pixels.
    """
    chosen = _utm_of(outline) if crs == "auto" else parse_crs(crs)
    projected = OdcGeometry(outline, "EPSG:4326").to_crs(chosen)
    step = resolution * multiple
    # The tolerance is in pixels: the default one would cut an area by up to a hundredth of one.
    coarse = GeoBox.from_geopolygon(projected, resolution=step, crs=chosen, tol=1e-6)
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
    return OdcGeometry(outline, "EPSG:4326").to_crs(crs_wkt(box)).geom


def parse_crs(code: str) -> CRS:
    """A CRS from its code; DataError if there is none such."""
    try:
        return CRS.from_user_input(code)
    except CRSError as error:
        raise DataError(
            f"unknown CRS '{code}'; valid: auto, native, or a code such as EPSG:32633"
        ) from error


def _utm_of(outline: BaseGeometry) -> CRS:
    middle = outline.centroid
    found = query_utm_crs_info(
        datum_name="WGS 84", area_of_interest=AreaOfInterest(middle.x, middle.y, middle.x, middle.y)
    )
    if not found:
        raise DataError(
            f"no UTM zone holds the area's middle ({middle.x:.3f}, {middle.y:.3f}); "
            "name a CRS under 'grid' in the project file"
        )
    return CRS.from_epsg(int(found[0].code))
