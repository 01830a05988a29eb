"""Landsat 8 and 9 Collection 2 Level-2 of the simulated Earth: pixels, quality bits, items.

The scene's grid is of 30 m with edges 15 m off the multiples of 30, as USGS lays it, so that it
never falls on the grid of Sentinel-2. A pixel is the mean of the ground under it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from earthloom.archive.simulated_faults import Departure, misjudge
from earthloom.archive.simulated_plan import Acquisition, SceneGrid, in_swath
from earthloom.archive.simulated_scenes import CLEAR, CLOUD, UNSEEN, true_mask
from earthloom.archive.simulated_stac import (
    Json,
    asset_of,
    footprint,
    item_of,
    projection_of,
    time_of,
    view_of,
)
from earthloom.world import Extent, Geometry, Instrument, Shape, Sky, Sun, World, instruments
from earthloom.world.heat import air_temperature
from earthloom.world.noise import Floats, Mask, blur, fractal, grow, stream
from earthloom.world.sky import make_sky, observe_through, optics_at
from earthloom.world.sun import illumination, sun_at

LANDSAT = "landsat-oli-c2-l2"
HEIGHT = 705.0
"""km above the ground."""
OVERPASS = 10.3
"""Local solar time, hours."""
SCALE, OFFSET = 2.75e-5, -0.2
TEMPERATURE_SCALE, TEMPERATURE_OFFSET = 0.00341802, 149.0
QUALITY = "qa_pixel"
TEMPERATURE = "lwir11"

# Bits of QA_PIXEL (USGS, LSDS-1619): flags, and the first bit of each confidence of two bits.
FILL, DILATED, CIRRUS, CLOUDY, SHADOWED, CLEAR_BIT, WATER = 0, 1, 2, 3, 4, 6, 7
_CONFIDENCE = {"cloud": 8, "shadow": 10, "snow": 12, "cirrus": 14}
_LOW, _MEDIUM, _HIGH = 1, 2, 3

_DILATION = 3
"""Pixels that USGS widens clouds by."""
_THERMAL_BLUR = 43.0
"""m; standard deviation of what TIRS's pixels of 100 m do to a temperature edge."""


@dataclass(frozen=True, eq=False)
class LandsatScene:
    """A scene on its grid; every raster is (rows, cols)."""

    bands: Mapping[str, NDArray[np.uint16]]
    """Reflectance and temperature, as stored."""
    quality: NDArray[np.uint16]
    """QA_PIXEL."""
    truth: NDArray[np.uint8]
    """True cloud mask, as of Sentinel-2."""


def oli() -> Instrument:
    """The reflective bands."""
    return instruments()["oli"]


def landsat_grid(home: SceneGrid) -> SceneGrid:
    """The whole pixels of 30 m within the window, edges at 15 m off the multiples of 30."""
    west, south, east, north = home.bounds
    left = np.ceil((west - 15) / 30) * 30 + 15
    top = np.floor((north - 15) / 30) * 30 + 15
    shape = Shape(int((top - south) // 30), int((east - left) // 30))
    return SceneGrid(home.epsg, float(left), float(top), 30.0, shape)


def landsat_sun(acquisition: Acquisition, latitude: float) -> Sun:
    """The sun at a pass."""
    return sun_at(acquisition.day, OVERPASS, latitude)


class Footprints:
    """Means of the world's pixels under a coarser pixel of the same CRS, exact by area.

    The image's content lies `east` and `north` m off its place.
    """

    def __init__(self, home: SceneGrid, grid: SceneGrid, east: float = 0, north: float = 0) -> None:
        step = grid.resolution
        self._columns = _shares(
            (grid.west - east - home.west) / home.resolution,
            step / home.resolution,
            grid.shape.cols,
            home.shape.cols,
        )
        self._rows = _shares(
            (home.north - grid.north + north) / home.resolution,
            step / home.resolution,
            grid.shape.rows,
            home.shape.rows,
        )

    def mean(self, values: Floats) -> Floats:
        """(..., rows, cols) of the grid from those of the world."""
        return np.asarray(self._rows @ values @ self._columns.T, dtype=np.float32)


def _shares(start: float, step: float, count: int, length: int) -> Floats:
    """(count, length) part that each of `length` pixels has in each wider one, rows sum to one.

    What lies outside the world is left to the pixels inside.
    """
    low = start + step * np.arange(count)[:, None]
    place = np.arange(length)[None]
    share = np.clip(np.minimum(low + step, place + 1) - np.maximum(low, place), 0, None)
    part = share / np.maximum(share.sum(axis=1, keepdims=True), 1e-9)
    return np.asarray(part, dtype=np.float32)


def landsat_sky(world: World, acquisition: Acquisition, sun: Sun) -> Sky:
    """The sky at a pass, on the world's grid."""
    rng = stream(world.spec.seed, "sky", "landsat", acquisition.day)
    return make_sky(rng, world.extent, acquisition.day, sun, acquisition.cloud)


def sense_landsat(
    world: World,
    acquisition: Acquisition,
    home: SceneGrid,
    name: str,
    departure: Departure = Departure(),
) -> LandsatScene:
    """What a Landsat pass delivers; `name` seeds the instrument's noise."""
    grid, sun = landsat_grid(home), landsat_sun(acquisition, world.spec.latitude)
    sky = landsat_sky(world, acquisition, sun)
    relief = illumination(world.elevation, world.spec.resolution, sun)
    surface = oli().look(world.reflectance(acquisition.day, geometry=departure.geometry))
    under = Footprints(home, grid, departure.east, departure.north)
    # Clouds are drawn where they are seen; a shift moves the ground alone.
    ground = Footprints(home, grid)
    above = _coarser(sky, ground)
    image = observe_through(
        under.mean(surface), optics_at(oli().centre), above, under.mean(relief), departure.flattened
    )
    rng = stream(world.spec.seed, "instrument", name)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image = image + noise * (np.float32(0.0005) + np.float32(0.003) * image)
    warmth = blur(world.temperature(acquisition.day, sun), _THERMAL_BLUR / world.spec.resolution)
    warmth = _through_clouds(under.mean(warmth), above, acquisition.day)
    warmth = warmth + np.float32(0.1) * rng.standard_normal(warmth.shape, dtype=np.float32)
    seen = ground.mean(in_swath(acquisition, world.spec.shape).astype(np.float32)) > 0.99
    bands = {band: _stored(layer, SCALE, OFFSET) for band, layer in zip(oli().bands, image)}
    bands[TEMPERATURE] = _stored(warmth, TEMPERATURE_SCALE, TEMPERATURE_OFFSET)
    for numbers in bands.values():
        numbers[~seen] = 0
    really = true_mask(above, seen)
    wrong_rng = stream(world.spec.seed, "misjudged", name)
    wrong = misjudge(
        wrong_rng, really == CLOUD, really == CLEAR, departure.quality_errors, grid.resolution
    )
    quality = quality_bits(rng, image, above, grid.resolution, wrong.false, wrong.missed)
    quality[~seen] = 1 << FILL
    return LandsatScene(bands, quality, really)


def _coarser(sky: Sky, under: Footprints) -> Sky:
    return Sky(
        sky.sun,
        under.mean(sky.thickness),
        under.mean(sky.cirrus),
        under.mean(sky.sunlight),
        under.mean(sky.haze),
        sky.height,
    )


def _through_clouds(surface: Floats, sky: Sky, day: float) -> Floats:
    """Temperature (K) seen through clouds, which emit at the air's temperature at their height."""
    top = air_temperature(day) - 0.0065 * sky.height
    part = 1 - np.exp(-sky.thickness)
    seen = part * top + (1 - part) * surface
    ice = 1 - np.exp(-0.7 * sky.cirrus)
    return np.asarray(ice * 228.0 + (1 - ice) * seen, dtype=np.float32)


def _stored(values: Floats, scale: float, offset: float) -> NDArray[np.uint16]:
    """Stored numbers; 0 stays free for "no data"."""
    numbers = np.rint((values.astype(np.float64) - offset) / scale)
    return np.asarray(np.clip(numbers, 1, 65535), dtype=np.uint16)


def quality_bits(
    rng: np.random.Generator,
    image: Floats,
    sky: Sky,
    resolution: float,
    false: Mask,
    missed: Mask,
) -> NDArray[np.uint16]:
    """QA_PIXEL (rows, cols), judged from the sky with the errors of real ones.

    `false` is called cloud and `missed` clear, whatever there is. Snow does not occur.
    """
    extent = Extent(Shape(*sky.thickness.shape), resolution)
    doubt = fractal(rng, extent, 400.0, 3.0)
    judged = sky.thickness * np.exp(0.3 * doubt)
    cloud = (judged > 0.5) & ~missed | false
    maybe = (judged > 0.2) & ~cloud & ~missed
    cirrus = (sky.cirrus > 0.16) & (doubt > -1.6) & ~missed
    shadow = (sky.sunlight < 0.62 + 0.06 * doubt) & (doubt < 1.7) & ~cloud
    dilated = grow(cloud, _DILATION) & ~cloud & ~missed
    green, near, infrared = (image[oli().bands.index(b)] for b in ("green", "nir08", "swir16"))
    water = (green > infrared) & (near < 0.15) & ~cloud
    bits = np.zeros(cloud.shape, np.uint16)
    flags = ((DILATED, dilated), (CIRRUS, cirrus), (CLOUDY, cloud), (SHADOWED, shadow))
    for bit, where in (*flags, (CLEAR_BIT, ~cloud & ~dilated), (WATER, water)):
        bits |= (where.astype(np.uint16) << bit).astype(np.uint16)
    levels = {
        "cloud": np.where(cloud, _HIGH, np.where(maybe, _MEDIUM, _LOW)),
        "shadow": np.where(shadow, _HIGH, _LOW),
        "snow": np.full(cloud.shape, _LOW),
        "cirrus": np.where(cirrus, _HIGH, _LOW),
    }
    for name, level in levels.items():
        bits |= (level.astype(np.uint16) << _CONFIDENCE[name]).astype(np.uint16)
    return bits


def landsat_id(acquisition: Acquisition) -> str:
    """As USGS names products: sensor, level, path and row, dates of sensing and of processing."""
    done = acquisition.time + timedelta(days=13)
    return (
        f"LC0{acquisition.platform}_L2SP_{acquisition.orbit.number:03d}026_"
        f"{acquisition.time:%Y%m%d}_{done:%Y%m%d}_02_T1"
    )


def landsat_item(
    acquisition: Acquisition, grid: SceneGrid, geometry: Geometry, scene: LandsatScene
) -> Json:
    """The item of a Landsat scene; `geometry` as its pixels were made for."""
    seen = scene.truth != UNSEEN
    cloudy = (scene.quality >> CLOUDY) & 1
    sun = geometry.sun
    properties = (
        time_of(acquisition.time)
        | projection_of(grid)
        | {
            "platform": f"landsat-{acquisition.platform}",
            "instruments": ["oli", "tirs"],
            "gsd": 30,
            "eo:cloud_cover": round(100.0 * float(cloudy[seen].mean()) if seen.any() else 0.0, 2),
            "view:sun_azimuth": round(sun.azimuth, 4),
            "view:sun_elevation": round(sun.elevation, 4),
            "landsat:wrs_type": "2",
            "landsat:wrs_path": f"{acquisition.orbit.number:03d}",
            "landsat:wrs_row": "026",
            "landsat:collection_category": "T1",
            "landsat:collection_number": "02",
            "landsat:correction": "L2SP",
        }
        | view_of(geometry, HEIGHT)
    )
    assets = {band: _asset(band, grid) for band in (*oli().bands, TEMPERATURE)}
    assets[QUALITY] = asset_of(
        f"{QUALITY}.tif",
        "Pixel quality",
        grid,
        {"data_type": "uint16", "nodata": 1, "spatial_resolution": 30, "unit": "bit index"},
    )
    extensions = ("eo/v1.1.0", "view/v1.0.0", "projection/v1.1.0", "raster/v1.1.0")
    return item_of(
        LANDSAT, landsat_id(acquisition), footprint(grid, seen), properties, assets, extensions
    )


def _asset(band: str, grid: SceneGrid) -> Json:
    warm = band == TEMPERATURE
    return asset_of(
        f"{band}.tif",
        "Surface temperature" if warm else f"Surface reflectance, {band}",
        grid,
        {
            "data_type": "uint16",
            "nodata": 0,
            "scale": TEMPERATURE_SCALE if warm else SCALE,
            "offset": TEMPERATURE_OFFSET if warm else OFFSET,
            "spatial_resolution": 30,
            "unit": "kelvin" if warm else "1",
        },
    )
