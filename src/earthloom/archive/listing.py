"""From items that an archive found to the scenes of a search."""

from collections.abc import Callable, Iterable
from datetime import date

import pystac
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from earthloom.archive.item import footprint_of, scene_of, why_not
from earthloom.archive.scene import Scene, in_order
from earthloom.errors import ArchiveError
from earthloom.sensors import Sensor


def scenes_among(
    items: Iterable[pystac.Item],
    sensor: Sensor,
    period: tuple[date, date],
    outline: BaseGeometry,
    href: Callable[[pystac.Asset], str],
) -> list[Scene]:
    """The scenes of a sensor among items that meet a period (both days included; elevation has
    none) and an outline (EPSG:4326), by day and id. An id that comes twice counts once.

    ArchiveError says why, if there are items in place and none of them is of the sensor.
    """
    start, end = period
    found: dict[str, Scene] = {}
    refused: list[str | None] = []
    for item in items:
        if item.id in found or not _meets(item, outline):
            continue
        scene = scene_of(item, sensor, href)
        if scene is not None and (sensor.static or start <= scene.day <= end):
            found[item.id] = scene
        else:
            refused.append(None if scene else why_not(item, sensor))
    if refused and not found and all(refused):
        raise ArchiveError(f"none of {len(refused)} items is of {sensor.name}: {refused[0]}")
    return in_order(list(found.values()))


def _meets(item: pystac.Item, outline: BaseGeometry) -> bool:
    """Whether an item shows some of an outline; one that does not say where it lies may."""
    footprint = footprint_of(item)
    return footprint is None or bool(footprint.intersects(outline))


def on_earth(outline: BaseGeometry) -> BaseGeometry:
    """An outline with longitudes from -180 to 180: what lies beyond comes in on the other side."""
    west, _, east, _ = outline.bounds
    if west >= -180 and east <= 180:
        return outline
    parts = [
        translate(outline, xoff=shift).intersection(shapely.box(-180, -90, 180, 90))
        for shift in (-360, 0, 360)
    ]
    whole: BaseGeometry = shapely.union_all([part for part in parts if not part.is_empty])
    return whole
