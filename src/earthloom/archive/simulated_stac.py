"""STAC of the simulated archive, with the fields of the real products."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform as warp_points
from shapely.geometry import MultiPoint, Polygon, box, mapping

from earthloom.archive.simulated_plan import Acquisition, SceneGrid
from earthloom.archive.simulated_scenes import (
    FINE_BANDS,
    LOOKS,
    OPTICAL_NODATA,
    RADAR_NODATA,
    SCALE,
    offset_of,
)
from earthloom.world import BANDS, WAVELENGTH, Geometry, Sun
from earthloom.world.spectra import WIDTH

Json = dict[str, Any]

SENTINEL2, SENTINEL1, DEM = "sentinel-2-l2a", "sentinel-1-rtc", "cop-dem-glo-30"
SENTINEL2_HEIGHT = 786.0
"""km above the ground."""
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSION = "https://stac-extensions.github.io/"
_COMMON_NAMES = (
    "blue",
    "green",
    "red",
    "rededge",
    "rededge",
    "rededge",
    "nir",
    "nir08",
    "swir16",
    "swir22",
)


@dataclass(frozen=True)
class Footprint:
    """Where an item has pixels, in degrees of EPSG:4326."""

    geometry: Json
    bbox: list[float]


def footprint(grid: SceneGrid, seen: NDArray[np.bool_] | None = None) -> Footprint:
    """The outline of a grid, or of the pixels seen in it."""
    outline = box(*grid.bounds) if seen is None else _hull(grid, seen)
    x, y = outline.exterior.coords.xy
    longitude, latitude = warp_points(grid.crs, "EPSG:4326", list(x), list(y))
    points = [(round(a, 7), round(b, 7)) for a, b in zip(longitude, latitude, strict=True)]
    polygon = Polygon(points)
    return Footprint(mapping(polygon), [float(value) for value in polygon.bounds])


def _hull(grid: SceneGrid, seen: NDArray[np.bool_]) -> Polygon:
    """Convex outline of the seen pixels, from the ends of their rows."""
    rows = np.flatnonzero(seen.any(axis=1))
    if rows.size == 0:
        return box(*grid.bounds)
    first = seen[rows].argmax(axis=1)
    last = seen.shape[1] - seen[rows][:, ::-1].argmax(axis=1)
    col = np.concatenate([first, first, last, last])
    row = np.concatenate([rows, rows + 1, rows, rows + 1])
    corners = np.stack([grid.west + col * grid.resolution, grid.north - row * grid.resolution], 1)
    hull = MultiPoint(corners).convex_hull
    simple = hull.simplify(grid.resolution)
    return simple if isinstance(simple, Polygon) else box(*grid.bounds)


def sentinel2_id(acquisition: Acquisition, grid: SceneGrid) -> str:
    """As ESA names products: mission, level, sensing time, orbit, tile, processing time."""
    done = acquisition.time + timedelta(
        hours=acquisition.processed_after, minutes=acquisition.day % 60
    )
    return (
        f"S2{acquisition.platform}_MSIL2A_{stamp(acquisition.time)}_R{acquisition.orbit.number:03d}"
        f"_T{grid.tile}_{stamp(done)}"
    )


def sentinel1_id(acquisition: Acquisition, slice_number: int) -> str:
    """As ESA names products: mode, start, end, absolute orbit, data take; slices last 25 s."""
    start = acquisition.time + timedelta(seconds=25 * slice_number)
    cycle = (acquisition.time - datetime(2014, 4, 3, tzinfo=UTC)).days // 12
    orbit = cycle * 175 + acquisition.orbit.number + 72
    return (
        f"S1{acquisition.platform}_IW_GRDH_1SDV_{stamp(start)}"
        f"_{stamp(start + timedelta(seconds=25))}_{orbit:06d}_{orbit * 8 % 0xFFFFFF:06X}_rtc"
    )


def stamp(time: datetime) -> str:
    """A time as product names hold it."""
    return time.strftime("%Y%m%dT%H%M%S")


def sentinel2_item(
    acquisition: Acquisition,
    grid: SceneGrid,
    sun: Sun,
    quality: NDArray[np.uint8],
    seen: NDArray[np.bool_],
    geometry: Geometry | None = None,
) -> Json:
    """The item of a Sentinel-2 scene; `quality` at 20 m, `seen` at 10 m.

    Of the angles of view it says nothing unless `geometry` is given.
    """
    valid = max(int((quality > 0).sum()), 1)
    percent = {code: 100.0 * int((quality == code).sum()) / valid for code in range(12)}
    cloud = percent[8] + percent[9] + percent[10]
    properties = (
        time_of(acquisition.time)
        | projection_of(grid)
        | {
            "platform": f"Sentinel-2{acquisition.platform}",
            "constellation": "Sentinel 2",
            "instruments": ["msi"],
            "gsd": grid.resolution,
            "eo:cloud_cover": round(cloud, 4),
            "view:sun_azimuth": round(sun.azimuth, 4),
            "view:sun_elevation": round(sun.elevation, 4),
            "sat:orbit_state": acquisition.orbit.state,
            "sat:relative_orbit": acquisition.orbit.number,
            "s2:processing_baseline": acquisition.baseline,
            "s2:mgrs_tile": grid.tile,
            "s2:product_type": "S2MSI2A",
            "s2:mean_solar_zenith": round(sun.zenith, 4),
            "s2:mean_solar_azimuth": round(sun.azimuth, 4),
            "s2:nodata_pixel_percentage": round(100.0 * float((quality == 0).mean()), 4),
            "s2:vegetation_percentage": round(percent[4], 4),
            "s2:water_percentage": round(percent[6], 4),
            "s2:cloud_shadow_percentage": round(percent[3], 4),
            "s2:thin_cirrus_percentage": round(percent[10], 4),
        }
        | ({} if geometry is None else view_of(geometry, SENTINEL2_HEIGHT))
    )
    assets = {band: _band_asset(band, grid, acquisition.baseline) for band in BANDS}
    assets["SCL"] = asset_of(
        "SCL.tif",
        "Scene classification",
        grid.coarser(2),
        {
            "data_type": "uint8",
            "nodata": 0,
            "spatial_resolution": grid.resolution * 2,
        },
    )
    extensions = ("eo/v1.1.0", "sat/v1.0.0", "view/v1.0.0", "projection/v1.1.0", "raster/v1.1.0")
    return item_of(
        SENTINEL2,
        sentinel2_id(acquisition, grid),
        footprint(grid, seen),
        properties,
        assets,
        extensions,
    )


def _band_asset(band: str, grid: SceneGrid, baseline: str) -> Json:
    place = BANDS.index(band)
    own = grid if band in FINE_BANDS else grid.coarser(2)
    asset = asset_of(
        f"{band}.tif",
        f"Band {band[1:].lstrip('0')} - {own.resolution:g}m",
        own,
        {
            "data_type": "uint16",
            "nodata": OPTICAL_NODATA,
            "scale": SCALE,
            "offset": offset_of(baseline),
            "spatial_resolution": own.resolution,
            "unit": "1",
        },
    )
    asset["eo:bands"] = [
        {
            "name": band,
            "common_name": _COMMON_NAMES[place],
            "center_wavelength": round(float(WAVELENGTH[place]) / 1000, 4),
            "full_width_half_max": round(float(WIDTH[place]) / 1000, 4),
        }
    ]
    return asset


def sentinel1_item(
    acquisition: Acquisition, grid: SceneGrid, slice_number: int, seen: NDArray[np.bool_]
) -> Json:
    """The item of a Sentinel-1 scene."""
    start = acquisition.time + timedelta(seconds=25 * slice_number)
    end = start + timedelta(seconds=25)
    properties = (
        time_of(start)
        | projection_of(grid)
        | {
            "start_datetime": iso(start),
            "end_datetime": iso(end),
            "platform": f"SENTINEL-1{acquisition.platform}",
            "constellation": "Sentinel-1",
            "sat:orbit_state": acquisition.orbit.state,
            "sat:relative_orbit": acquisition.orbit.number,
            "sar:polarizations": ["VV", "VH"],
            "sar:frequency_band": "C",
            "sar:center_frequency": 5.405,
            "sar:instrument_mode": "IW",
            "sar:product_type": "GRD",
            "sar:observation_direction": "right",
            "sar:looks_range": 5,
            "sar:looks_azimuth": 1,
            "sar:looks_equivalent_number": LOOKS,
            "sar:pixel_spacing_range": 10,
            "sar:pixel_spacing_azimuth": 10,
        }
    )
    assets = {}
    for name in ("vv", "vh"):
        assets[name] = asset_of(
            f"{name}.tif",
            f"{name.upper()}: gamma nought, linear power",
            grid,
            {
                "data_type": "float32",
                "nodata": RADAR_NODATA,
                "spatial_resolution": grid.resolution,
                "unit": "linear power",
            },
        )
        assets[name]["sar:polarizations"] = [name.upper()]
    extensions = ("sar/v1.0.0", "sat/v1.0.0", "projection/v1.1.0", "raster/v1.1.0")
    return item_of(
        SENTINEL1,
        sentinel1_id(acquisition, slice_number),
        footprint(grid, seen),
        properties,
        assets,
        extensions,
    )


def dem_item(name: str, grid: SceneGrid) -> Json:
    """The item of a tile of the elevation model; the real ones carry the mission's date, too."""
    time = datetime(2021, 4, 22, tzinfo=UTC)
    properties = time_of(time) | projection_of(grid) | {"platform": "TanDEM-X", "gsd": 30}
    assets = {
        "data": asset_of(
            "data.tif",
            "Surface height",
            grid,
            {
                "data_type": "float32",
                "unit": "metre",
                "spatial_resolution": 30,
            },
        )
    }
    return item_of(
        DEM, name, footprint(grid), properties, assets, ("projection/v1.1.0", "raster/v1.1.0")
    )


def view_of(geometry: Geometry, height: float) -> Json:
    """Where the satellite stood, `height` km above the ground.

    `view:incidence_angle` is its zenith angle on the ground, `view:off_nadir` the angle at the
    satellite, `view:azimuth` the direction from the ground towards it.
    """
    earth = 6371.0
    sine = np.sin(np.radians(geometry.view_zenith)) * earth / (earth + height)
    return {
        "view:off_nadir": round(float(np.degrees(np.arcsin(sine))), 4),
        "view:incidence_angle": round(geometry.view_zenith, 4),
        "view:azimuth": round(geometry.view_azimuth, 4),
    }


def time_of(time: datetime) -> Json:
    """The time of an item."""
    return {"datetime": iso(time)}


def iso(time: datetime) -> str:
    """A time as STAC writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def projection_of(grid: SceneGrid) -> Json:
    """The grid of an item."""
    return {
        **grid.reference,
        "proj:shape": [grid.shape.rows, grid.shape.cols],
        "proj:transform": list(grid.transform)[:6],
        "proj:bbox": list(grid.bounds),
    }


def asset_of(href: str, title: str, grid: SceneGrid, band: Mapping[str, object]) -> Json:
    """An image file on a grid, with what `raster:bands` says of it."""
    return {
        "href": f"./{href}",
        "title": title,
        "type": _COG,
        "roles": ["data"],
        "gsd": band["spatial_resolution"],
        "proj:shape": [grid.shape.rows, grid.shape.cols],
        "proj:transform": list(grid.transform)[:6],
        "proj:bbox": list(grid.bounds),
        "raster:bands": [dict(band)],
    }


def item_of(
    collection: str,
    name: str,
    where: Footprint,
    properties: Json,
    assets: Json,
    extensions: tuple[str, ...],
) -> Json:
    """An item; `extensions` as `view/v1.0.0`."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [f"{_EXTENSION}{name}/schema.json" for name in extensions],
        "id": name,
        "collection": collection,
        "geometry": where.geometry,
        "bbox": where.bbox,
        "properties": properties,
        "assets": assets,
        "links": [
            link_to("root", "../../catalog.json"),
            link_to("parent", "../collection.json"),
            link_to("collection", "../collection.json"),
        ],
    }


def link_to(relation: str, href: str, kind: str = "application/json") -> Json:
    """A link of a STAC file."""
    return {"rel": relation, "href": href, "type": kind}
