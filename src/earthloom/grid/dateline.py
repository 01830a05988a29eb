"""Outlines on a round Earth: across the date line and round the poles.

An outline is in EPSG:4326 with longitudes from -180 to 180; one that crosses the date line is cut
there into parts, as in GeoJSON (RFC 7946, section 3.1.9). Bounds are west, south, east, north,
and west > east where they cross the date line (section 5.2).
"""

import math

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

Bounds = tuple[float, float, float, float]


def outline_of_bounds(bounds: Bounds) -> BaseGeometry:
    """The outline of west, south, east, north in degrees."""
    west, south, east, north = bounds
    return on_earth(shapely.box(west, south, east + 360 if east < west else east, north))


def bounds_of(outline: BaseGeometry) -> Bounds:
    """The narrowest bounds of an outline; west > east where it crosses the date line."""
    west, south, east, north = unwrapped(outline).bounds
    return west, south, east - 360 if east > 180 else east, north


def meets(bounds: Bounds, outline: BaseGeometry) -> bool:
    """Whether bounds, of a scene say, and an outline have a point in common."""
    return bool(outline_of_bounds(bounds).intersects(outline))


def on_earth(outline: BaseGeometry) -> BaseGeometry:
    """The same ground with longitudes from -180 to 180, cut at the date line."""
    west, _, east, _ = outline.bounds
    if outline.is_empty or (west >= -180 and east <= 180):
        return outline
    turns = range(math.floor((west + 180) / 360), math.ceil((east - 180) / 360) + 1)
    pieces = [
        _moved(shapely.intersection(outline, _one_turn(turn)), -360.0 * turn) for turn in turns
    ]
    return shapely.union_all([piece for piece in pieces if piece.area > 0])


def unwrapped(outline: BaseGeometry) -> BaseGeometry:
    """The same ground in one piece: parts west of its widest empty stretch of longitudes move by
    360 degrees, so that longitudes may be above 180 and an outline over the date line is whole."""
    parts = shapely.get_parts(outline)
    if len(parts) < 2:
        return outline
    bounds = shapely.bounds(parts)
    order = np.argsort(bounds[:, 0], kind="stable")
    wests, easts = bounds[order, 0], np.maximum.accumulate(bounds[order, 2])
    gaps = wests[1:] - easts[:-1]
    across = wests[0] + 360 - easts[-1]
    if gaps.max() <= across:
        return outline
    first_east = wests[int(gaps.argmax()) + 1]
    moved = [
        _moved(part, 360.0) if west < first_east else part
        for part, west in zip(parts, bounds[:, 0], strict=True)
    ]
    return shapely.union_all(moved)


def unrolled(outline: BaseGeometry) -> BaseGeometry:
    """Polygons whose edges go the short way round the Earth, on -180 to 180.

    For what was projected to degrees point by point: there an edge over the date line seems to
    go round the whole Earth, and a ring round a pole does not hold it.
    """
    polygons = [part for part in shapely.get_parts(outline) if part.geom_type == "Polygon"]
    whole = []
    for polygon in polygons:
        holes = shapely.union_all([_unrolled_ring(ring) for ring in polygon.interiors])
        whole.append(shapely.difference(_unrolled_ring(polygon.exterior), holes))
    return shapely.union_all(whole)


def middle_of(outline: BaseGeometry) -> tuple[float, float]:
    """Longitude (-180 to 180) and latitude of the centroid; a pole for what lies all round it."""
    whole = unwrapped(outline)
    west, south, east, north = whole.bounds
    if east - west >= 180 and (south > 0 or north < 0):
        return 0.0, math.copysign(90.0, south + north)
    centroid = whole.centroid
    return (centroid.x + 180) % 360 - 180, centroid.y


def _one_turn(turn: int) -> BaseGeometry:
    return shapely.box(-180 + 360 * turn, -90, 180 + 360 * turn, 90)


def _moved(outline: BaseGeometry, degrees: float) -> BaseGeometry:
    def shift(points: NDArray[np.float64]) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = points + np.array([degrees, 0.0])
        return moved

    return shapely.transform(outline, shift) if degrees else outline


def _unrolled_ring(ring: BaseGeometry) -> BaseGeometry:
    points = shapely.get_coordinates(ring)
    steps = np.diff(points[:, 0])
    steps = np.where(np.abs(steps) > 180, steps - 360 * np.round(steps / 360), steps)
    longitudes = points[0, 0] + np.concatenate([[0.0], np.cumsum(steps)])
    points = np.column_stack([longitudes, points[:, 1]])
    if abs(longitudes[-1] - longitudes[0]) > 180:  # all the way round: it holds a pole
        pole = math.copysign(90.0, float(points[:, 1].mean()))
        points = np.vstack([points, [longitudes[-1], pole], [longitudes[0], pole]])
    return on_earth(shapely.make_valid(shapely.Polygon(points)))
