"""The grids of an archive's own files: one for each UTM zone, or other CRS, over an area."""

from collections import defaultdict
from collections.abc import Sequence

import shapely
from odc.geo.geobox import GeoBox
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError
from earthloom.grid.area import Area
from earthloom.grid.boxes import base_grid, crs_wkt, outline_of
from earthloom.grid.dateline import outline_of_bounds
from earthloom.grid.reference import equator_y


def native_grids(
    name: str, files: Sequence[GeoBox], outline: BaseGeometry, multiple: int = 1
) -> list[Area]:
    """An area for each CRS of some files, on their own pixels: nothing has to be resampled.

    `files` are the grids of the files, in any order, and `outline` is the whole area in EPSG:4326.
    The areas do not overlap, so that no ground is mapped twice: where files of several zones lie
    over each other the ground goes to its own UTM zone, else to the CRS that comes first by name.
    Ground that no file shows is in none. Areas are named after their zone, such as `tirol-32N`.
    DataError if the files of a CRS differ in the size or the place of their pixels, or if none
    meets the outline.
    """
    groups: dict[str, list[GeoBox]] = defaultdict(list)
    for file in files:
        groups[crs_wkt(file)].append(file)
    by_zone = {_zone_name(CRS.from_wkt(wkt)): (wkt, group) for wkt, group in groups.items()}
    shown = {
        zone: outline.intersection(shapely.union_all([outline_of(file) for file in group]))
        for zone, (_, group) in sorted(by_zone.items())
    }
    areas = []
    for zone, ground in _shared_out(shown, by_zone).items():
        wkt, group = by_zone[zone]
        resolution, anchor = _pixels_of(group)
        box = base_grid(ground, wkt, resolution, multiple, anchor)
        areas.append(Area(f"{name}-{zone}", box, ground))
    if not areas:
        raise DataError(f"none of {len(files)} files shows any of the area {name}")
    return areas


def _shared_out(
    shown: dict[str, BaseGeometry], by_zone: dict[str, tuple[str, list[GeoBox]]]
) -> dict[str, BaseGeometry]:
    """The ground of each zone, without overlaps; zones that have none are left out."""
    taken: BaseGeometry = shapely.Polygon()
    parts: dict[str, list[BaseGeometry]] = defaultdict(list)
    in_own = {zone: ground.intersection(_strip(by_zone[zone][0])) for zone, ground in shown.items()}
    for claims in (in_own, shown):
        for zone, ground in claims.items():
            parts[zone].append(_polygons(ground.difference(taken)))
            taken = taken.union(parts[zone][-1])
    whole = {zone: _polygons(shapely.union_all(pieces)) for zone, pieces in parts.items()}
    return {zone: ground for zone, ground in whole.items() if ground.area > 0}


def _strip(wkt: str) -> BaseGeometry:
    """The six degrees of a UTM zone; nothing for any other CRS."""
    zone = CRS.from_wkt(wkt).utm_zone
    if zone is None:
        return shapely.Polygon()
    west = int(zone[:-1]) * 6 - 186
    # A product may count its zones from the north alone, as Landsat does.
    return outline_of_bounds((west, -90, west + 6, 90))


def _zone_name(crs: CRS) -> str:
    if crs.utm_zone is not None:
        return str(crs.utm_zone)
    code = crs.to_epsg()
    return str(code) if code else "".join(c if c.isalnum() else "-" for c in crs.name).lower()


def _pixels_of(files: Sequence[GeoBox]) -> tuple[float, tuple[float, float]]:
    """Pixel size of files of one CRS, and where their pixels begin, in units of the CRS."""
    first = files[0].affine
    for file in files[1:]:
        a = file.affine
        shifts = ((a.c - first.c) / first.a, (a.f - first.f) / first.e)
        fits = all(abs(shift - round(shift)) < 0.01 for shift in shifts)
        if abs(a.a / first.a - 1) > 1e-6 or not fits:
            raise DataError(
                f"the files have no grid in common: pixels of {first.a:g} from ({first.c:g}, "
                f"{first.f:g}) and of {a.a:g} from ({a.c:g}, {a.f:g}); name a CRS under 'grid'"
            )
    pixel = abs(first.a)
    y = first.f - equator_y(CRS.from_wkt(crs_wkt(files[0])))
    return pixel, (first.c % pixel, y % pixel)


def _polygons(outline: BaseGeometry) -> BaseGeometry:
    parts = shapely.get_parts(outline)
    return shapely.union_all(parts[shapely.area(parts) > 0])
