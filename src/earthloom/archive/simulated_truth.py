"""The truth beside the simulated scenes: classes, parcels, events, biomass, reflectance."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.warp import transform as warp_points
from rasterio.warp import transform_geom
from scipy.ndimage import distance_transform_edt
from shapely.geometry import MultiPolygon, Polygon, mapping

from earthloom.archive.simulated_files import (
    fixed_geopackage_date,
    round_mantissa,
    write_cog,
    write_json,
    write_whole,
)
from earthloom.archive.simulated_plan import SceneGrid
from earthloom.archive.simulated_scenes import SCALE, Resampler
from earthloom.world import BANDS, CLASSES, Shape, World

LAST_DAY = 366
"""Day of the year that is after every event."""

# Corners of the area within the window, parts of its width from the west and height from the north.
_AREA = (
    (0.03, 0.10),
    (0.22, 0.03),
    (0.61, 0.02),
    (0.96, 0.13),
    (0.98, 0.66),
    (0.90, 0.95),
    (0.44, 0.98),
    (0.12, 0.93),
    (0.02, 0.55),
)


def truth_date(year: int, month: int) -> date:
    """The day of a month whose cloud-free reflectance is kept."""
    return date(year, month, 15)


def day_of(when: date) -> int:
    """Day of the year."""
    return when.timetuple().tm_yday


def area_polygon(home: SceneGrid) -> Polygon:
    """The area in the world's own CRS."""
    west, south, east, north = home.bounds
    return Polygon([(west + x * (east - west), north - y * (north - south)) for x, y in _AREA])


def write_area(path: Path, home: SceneGrid) -> None:
    """The area as GeoJSON in EPSG:4326."""
    outline = area_polygon(home).segmentize(500.0)
    geometry = transform_geom(home.crs, "EPSG:4326", mapping(outline), precision=7)
    feature = {"type": "Feature", "properties": {"name": "simulated area"}, "geometry": geometry}
    write_json(path, {"type": "FeatureCollection", "features": [feature]})


def write_classes(path: Path) -> None:
    """Codes, names and colours of the classes."""
    listed = [{"code": c.code, "name": c.name, "colour": c.colour} for c in CLASSES]
    write_json(path, {"nodata": 0, "classes": listed})


def write_class_map(path: Path, world: World, home: SceneGrid, day: float) -> None:
    """Class codes on a day, with their colours."""
    write_cog(
        path,
        world.class_map(day),
        home,
        nodata=0,
        resampling="NEAREST",
        colours={c.code: c.colour for c in CLASSES},
    )


def write_biomass(path: Path, world: World, home: SceneGrid) -> None:
    """Above-ground biomass at the end of the year, t/ha."""
    write_cog(path, round_mantissa(world.biomass(LAST_DAY), 12), home, nodata=-1.0)


def write_event_days(path: Path, world: World, home: SceneGrid) -> None:
    """Day of the year of the event that befell each pixel, 0 for none."""
    days = np.zeros((home.shape.rows, home.shape.cols), np.uint16)
    for event in world.events:
        days[event.mask] = event.day
    write_cog(path, days, home, nodata=0, resampling="NEAREST")


def write_reflectance(path: Path, world: World, home: SceneGrid, day: int) -> None:
    """Cloud-free surface reflectance of a day, ten bands at 10 m: uint16, scale 1e-4, no offset."""
    numbers = np.clip(np.rint(world.reflectance(day) / SCALE), 1, 65535)
    # Steps of 4: finer ones would say more than the model means, and double the file.
    steps = (np.rint(numbers / 4) * 4).astype(np.uint16)
    write_cog(path, np.maximum(steps, 4), home, nodata=0, names=BANDS)


def write_parcels(path: Path, world: World, home: SceneGrid) -> None:
    """Every parcel with its class at the year's start, in the world's own CRS."""
    first = world.class_map(0)
    labels = world.parcels
    code = np.zeros(int(labels.max()) + 1, np.uint8)
    code[labels] = first
    outlines, numbers = polygons_of(labels, home, None)
    parts: dict[int, list[Polygon]] = {}
    for number, outline in zip(numbers, outlines, strict=True):
        parts.setdefault(number, []).append(outline)
    names = {c.code: c.name for c in CLASSES}
    table = gpd.GeoDataFrame(
        {"parcel": list(parts), "class": [names[int(code[number])] for number in parts]},
        geometry=[MultiPolygon(pieces) for pieces in parts.values()],
        crs=home.crs,
    )
    table["area_ha"] = (table.area / 1e4).round(4)
    write_vector(path, {"parcels": table}, int(world.spec.year))


def write_events(path: Path, world: World, home: SceneGrid) -> None:
    """Each event's outline, date and classes, in the world's own CRS."""
    start = date(world.spec.year, 1, 1)
    names = {c.code: c.name for c in CLASSES}
    rows: list[dict[str, Any]] = []
    for event in world.events:
        pieces, _ = polygons_of(event.mask.astype(np.int32), home, event.mask)
        end = event.end_day
        rows.append(
            {
                "kind": event.kind,
                "date": str(start + timedelta(days=event.day - 1)),
                "end_date": None if end is None else str(start + timedelta(days=end - 1)),
                "class_before": names[event.class_before],
                "class_after": names[event.class_after],
                "area_ha": round(float(event.mask.sum()) * home.resolution**2 / 1e4, 4),
                "geometry": gpd.GeoSeries(pieces).union_all(),
            }
        )
    columns = ["kind", "date", "end_date", "class_before", "class_after", "area_ha", "geometry"]
    frame = pd.DataFrame(rows, columns=columns)
    write_vector(
        path,
        {"events": gpd.GeoDataFrame(frame, geometry="geometry", crs=home.crs)},
        int(world.spec.year),
    )


def polygons_of(
    labels: NDArray[np.int32], home: SceneGrid, mask: NDArray[np.bool_] | None
) -> tuple[list[Polygon], list[int]]:
    """Outlines of connected pixels with one label, and the labels, sorted by label."""
    found = [
        (int(value), _polygon(outline))
        for outline, value in shapes(labels, mask=mask, transform=home.transform)
    ]
    found.sort(key=lambda pair: (pair[0], pair[1].bounds))
    return [outline for _, outline in found], [value for value, _ in found]


def _polygon(outline: Mapping[str, Any]) -> Polygon:
    outer, *holes = outline["coordinates"]
    return Polygon(outer, holes)


def write_vector(path: Path, layers: dict[str, gpd.GeoDataFrame], year: int) -> None:
    """A GeoPackage with one layer per geometry kind, with the same bytes each time."""

    def write(part: Path) -> None:
        with fixed_geopackage_date(year):
            for place, (name, table) in enumerate(layers.items()):
                table.to_file(
                    part, layer=name, driver="GPKG", engine="pyogrio", mode="a" if place else "w"
                )

    write_whole(path, write)


def dem_tiles(home: SceneGrid) -> dict[str, SceneGrid]:
    """Tiles of one degree that the window touches, cut to it, on the real DEM's grid.

    The real DEM's pixels are centred on whole arc seconds, and wider beyond 50 degrees north; here
    they are one arc second everywhere.
    """
    west, south, east, north = home.bounds
    x, y = warp_points(
        home.crs, "EPSG:4326", [west, west, east, east], [south, north, south, north]
    )
    second = 1 / 3600
    tiles = {}
    for column in range(int(np.floor(min(x))), int(np.floor(max(x))) + 1):
        for row in range(int(np.floor(min(y))), int(np.floor(max(y))) + 1):
            left, right = max(min(x), column), min(max(x), column + 1)
            low, high = max(min(y), row), min(max(y), row + 1)
            first = int(np.floor(left / second))
            last = min(int(np.ceil(right / second)), (column + 1) * 3600 - 1)
            top = int(np.ceil(high / second))
            bottom = max(int(np.floor(low / second)), row * 3600 + 1)
            grid = SceneGrid(
                4326,
                (first - 0.5) * second,
                (top + 0.5) * second,
                second,
                Shape(top - bottom + 1, last - first + 1),
            )
            tiles[_dem_name(column, row)] = grid
    return tiles


def _dem_name(longitude: int, latitude: int) -> str:
    east = "E" if longitude >= 0 else "W"
    return f"Copernicus_DSM_COG_10_N{latitude:02d}_00_{east}{abs(longitude):03d}_00_DEM"


def dem_heights(world: World, resampler: Resampler) -> NDArray[np.float32]:
    """Surface height (rows, cols) on a tile's grid; the window's rim goes on beyond it."""
    height = resampler.mean(world.elevation, fill=np.nan)
    return round_mantissa(_continue_rim(height), 16)


def _continue_rim(height: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fills pixels outside the world with the nearest height inside."""
    _, nearest = distance_transform_edt(np.isnan(height), return_indices=True)
    return np.asarray(height[tuple(nearest)], dtype=np.float32)
