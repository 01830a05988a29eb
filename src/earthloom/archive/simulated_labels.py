"""Labels of the simulated area, as drawn by a person who knows the land at the year's end."""

from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from scipy.ndimage import distance_transform_edt, label
from shapely.geometry import Point
from shapely.geometry.base import BaseGeometry

from earthloom.archive.simulated_plan import SceneGrid
from earthloom.archive.simulated_spec import SimulationSpec
from earthloom.archive.simulated_truth import LAST_DAY, area_polygon, polygons_of, write_vector
from earthloom.world import CLASSES, LandClass, Shape, World
from earthloom.world.noise import Mask, Random, borders, stream

_EDGE = 30.0
"""m from other classes that careful interpreters keep."""
_CAREFUL = 2 / 3
"""Part of the polygons that are drawn with that care."""
_LONGEST = 220.0
"""m; length of the longest polygon."""


@dataclass(frozen=True, eq=False)
class _Ground:
    """What there is to label."""

    world: World
    home: SceneGrid
    code: NDArray[np.uint8]
    """(rows, cols) class codes at the year's end, 0 outside the area."""
    inner: NDArray[np.float32]
    """(rows, cols) m to the nearest pixel of another class."""


def write_labels(path: Path, world: World, home: SceneGrid, spec: SimulationSpec) -> None:
    """A GeoPackage in EPSG:4326 with the layers `points` and `polygons`, columns class and date."""
    ground = _survey(world, home)
    layers = {}
    for layer, count in (("points", spec.points_per_class), ("polygons", spec.polygons_per_class)):
        drawn: list[tuple[str, BaseGeometry]] = []
        for land in CLASSES:
            rng = stream(spec.seed, "labels", layer, land.name)
            make = _points if layer == "points" else _polygons
            drawn += [(land.name, geometry) for geometry in make(rng, ground, land, count)]
        table = gpd.GeoDataFrame(
            {"class": [name for name, _ in drawn], "date": [date(spec.year, 12, 31)] * len(drawn)},
            geometry=[geometry for _, geometry in drawn],
            crs=home.crs,
        )
        layers[layer] = table.to_crs("EPSG:4326")
    write_vector(path, layers, spec.year)


def _survey(world: World, home: SceneGrid) -> _Ground:
    code = world.class_map(LAST_DAY)
    edge = borders(code) | borders(code[::-1, ::-1])[::-1, ::-1]
    inner = (distance_transform_edt(~edge) * home.resolution).astype(np.float32)
    outside = geometry_mask([area_polygon(home)], code.shape, home.transform, all_touched=True)
    return _Ground(world, home, np.where(outside, 0, code).astype(np.uint8), inner)


def _spread_out(rng: Random, mask: Mask, count: int) -> list[tuple[int, int]]:
    """`count` pixels of a mask (row, column), apart from each other where there is room."""
    places = np.flatnonzero(mask)
    if places.size == 0 or count == 0:
        return []
    order = rng.permutation(places)[: 400 * count]
    rows, cols = np.divmod(order, mask.shape[1])
    apart = 0.6 * np.sqrt(places.size / count)
    while True:
        chosen: list[tuple[int, int]] = []
        taken = np.empty((0, 2))
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True):
            if len(taken) == 0 or np.hypot(*(taken - (row, col)).T).min() >= apart:
                chosen.append((row, col))
                taken = np.array(chosen)
            if len(chosen) == count:
                return chosen
        if apart < 1:
            return chosen
        apart /= 1.5


def _points(rng: Random, ground: _Ground, land: LandClass, count: int) -> list[BaseGeometry]:
    """Points anywhere in a class."""
    points: list[BaseGeometry] = []
    for row, col in _spread_out(rng, ground.code == land.code, count):
        right, down = rng.uniform(0.15, 0.85, 2)
        points.append(Point(ground.home.xy(col + right, row + down)))
    return points


def _polygons(rng: Random, ground: _Ground, land: LandClass, count: int) -> list[BaseGeometry]:
    """Pieces of parcels: most keep clear of other classes, some reach to their edges."""
    here = (ground.code == land.code) & (ground.inner > _EDGE)
    # Some places turn out too narrow; the spare ones stand in for them.
    places = _spread_out(rng, here, count) + _spread_out(rng, here, count)
    drawn = (_polygon(rng, ground, land, row, col) for row, col in places)
    return list(islice((polygon for polygon in drawn if polygon is not None), count))


def _polygon(
    rng: Random, ground: _Ground, land: LandClass, row: int, col: int
) -> BaseGeometry | None:
    """What an interpreter draws around a pixel, None if there is hardly anything to draw."""
    careful = rng.uniform() < _CAREFUL
    reach = int(_LONGEST / ground.home.resolution) + 1
    top, left = max(row - reach, 0), max(col - reach, 0)
    near = np.s_[top : row + reach + 1, left : col + reach + 1]
    row, col = row - top, col - left
    parcel = ground.world.parcels[near]
    piece = (ground.code[near] == land.code) & (parcel == parcel[row, col])
    piece &= _stroke(rng, ground.home.resolution, Shape(*piece.shape), row, col)
    if careful:
        piece &= ground.inner[near] >= _EDGE
    parts, _ = label(piece)
    piece = parts == parts[row, col]
    if not parts[row, col] or piece.sum() < 6:
        return None
    outlines, _ = polygons_of(piece.astype(np.int32), ground.home.window(top, left), piece)
    return max(outlines, key=lambda outline: outline.area)


def _stroke(rng: Random, resolution: float, shape: Shape, row: int, col: int) -> Mask:
    """A slanted box around a pixel: what one draws without much thought."""
    y, x = np.ogrid[: shape.rows, : shape.cols]
    angle = rng.uniform(0, np.pi)
    length, width = rng.uniform(80, _LONGEST), rng.uniform(60, 130)
    dx, dy = (x - col) * resolution, (y - row) * resolution
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = -dx * np.sin(angle) + dy * np.cos(angle)
    return np.asarray((np.abs(along) <= length / 2) & (np.abs(across) <= width / 2))
