"""MODIS Terra's daily reflectance of the simulated Earth: MOD09GA on its grid, as GeoTIFF.

Pixels of 463.3 m (the state: 926.6 m) are means of all of the world's pixels in them; those that
the window does not fill are empty. At the edge of the swath the ground under an observation grows,
so that the image is blurred across the track there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform as warp_points
from scipy.ndimage import uniform_filter1d

from earthloom.archive.simulated_faults import Departure, misjudge
from earthloom.archive.simulated_plan import SceneGrid, cloudiness
from earthloom.archive.simulated_scenes import CLEAR, CLOUD, UNSEEN, dense, knots, true_mask
from earthloom.archive.simulated_spec import SimulationSpec
from earthloom.archive.simulated_stac import (
    Json,
    asset_of,
    footprint,
    item_of,
    projection_of,
    time_of,
    view_of,
)
from earthloom.errors import ArchiveError
from earthloom.world import Geometry, Instrument, Shape, Sky, World, instruments
from earthloom.world.noise import Floats, Mask, grow, stream
from earthloom.world.sky import make_sky, observe_through, optics_at
from earthloom.world.sun import illumination, sun_at

MODIS = "modis-mod09ga"
HEIGHT = 705.0
"""km above the ground."""
STATE = "state_1km"
SCALE = 1e-4
NODATA = -28672
STATE_NODATA = 65535
PIXEL = 463.31271653
"""m."""

_RADIUS = 6371007.181
_ORIGIN = (-20015109.354, 10007554.677)
"""m; north-western corner of the sinusoidal grid."""
_TILE = 1111950.5197
_FULL = 0.98
"""Part of a pixel that must lie in the window."""
_STEEPEST = 62.0
"""Degrees; largest view zenith of the days that are delivered."""
_CYCLE, _STRIDE = 16, 7
"""Days after which Terra's track repeats, and where in the cycle the next day stands."""


@dataclass(frozen=True)
class SinusoidalGrid(SceneGrid):
    """A grid of MODIS's sinusoidal projection; its `epsg` is 0."""

    @property
    def crs(self) -> str:
        return f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={_RADIUS} +units=m +no_defs"

    @property
    def reference(self) -> dict[str, object]:
        """The CRS as STAC's projection extension names it: it has no code."""
        return {"proj:epsg": None, "proj:code": None, "proj:proj4": self.crs}

    def coarser(self, factor: int) -> "SinusoidalGrid":
        """The same rectangle with pixels `factor` times as wide."""
        shape = Shape(self.shape.rows // factor, self.shape.cols // factor)
        return SinusoidalGrid(0, self.west, self.north, self.resolution * factor, shape)


_CRS = SinusoidalGrid(0, 0, 0, PIXEL, Shape(1, 1)).crs


def tile_of_home(home: SceneGrid) -> str:
    """The tile of the window's middle, such as h18v04."""
    west, south, east, north = home.bounds
    x, y = warp_points(home.crs, _CRS, [(west + east) / 2], [(south + north) / 2])
    across, down = (x[0] - _ORIGIN[0]) // _TILE, (_ORIGIN[1] - y[0]) // _TILE
    return f"h{int(across):02d}v{int(down):02d}"


@dataclass(frozen=True)
class Day:
    """MODIS's look at the window on a day."""

    day: int
    """Of the year."""
    time: datetime
    cloud: float
    geometry: Geometry


@dataclass(frozen=True, eq=False)
class ModisScene:
    """A day's scene; every raster is (rows, cols)."""

    bands: Mapping[str, NDArray[np.int16]]
    state: NDArray[np.uint16]
    """At twice the width of the pixels."""
    truth: NDArray[np.uint8]
    """True cloud mask at the pixels of the bands."""


def modis() -> Instrument:
    """The reflective bands."""
    return instruments()["modis"]


def plan_modis(spec: SimulationSpec) -> tuple[Day, ...]:
    """Days spread evenly over the year, with the angles of a track that repeats every 16 days."""
    days = np.unique(np.linspace(1, 365, spec.modis_items).astype(int)).tolist()
    clouds = cloudiness(stream(spec.seed, "plan", "modis"), days)
    return tuple(_day(spec, day, cloud) for day, cloud in zip(days, clouds, strict=True))


def _day(spec: SimulationSpec, day: int, cloud: float) -> Day:
    # -1 at the swath's western edge as seen from the track, 1 at its eastern one.
    across = ((day * _STRIDE) % _CYCLE + 0.5) / _CYCLE * 2 - 1
    hour = 10.6 + 0.8 * across
    start = datetime(spec.year, 1, 1, tzinfo=UTC) + timedelta(days=day - 1)
    time = start + timedelta(seconds=round((hour - spec.longitude / 15) * 3600))
    # West of its track the window sees the satellite in the east.
    azimuth = 99.0 if across < 0 else 279.0
    sun = sun_at(day, hour, spec.latitude)
    return Day(day, time, cloud, Geometry(sun, round(abs(across) * _STEEPEST, 3), azimuth))


class Bins:
    """Means of the world's pixels in each pixel of a sinusoidal grid."""

    def __init__(self, home: SceneGrid) -> None:
        row, col = _whole_pixels(home)
        # An even start, so that two pixels of the bands are one of the state.
        left, top = int(col.min()) // 2 * 2, int(row.min()) // 2 * 2
        cols, rows = (int(col.max()) - left) // 2 * 2 + 2, (int(row.max()) - top) // 2 * 2 + 2
        self._place = ((row - top) * cols + (col - left)).ravel()
        self._count = np.bincount(self._place, minlength=rows * cols)
        self.grid = SinusoidalGrid(
            0, _ORIGIN[0] + left * PIXEL, _ORIGIN[1] - top * PIXEL, PIXEL, Shape(rows, cols)
        )
        full = PIXEL**2 / home.resolution**2
        self.inside: Mask = (self._count >= _FULL * full).reshape(rows, cols)
        """(rows, cols) pixels that the window fills."""
        if not self.inside.any():
            raise ArchiveError(
                f"no pixel of MODIS lies in a window of {home.shape.cols * home.resolution:g} m; "
                "make size_m larger, or modis_items 0"
            )

    def mean(self, values: Floats) -> Floats:
        """(rows, cols) from a raster of the world; 0 where there is nothing."""
        total = np.bincount(self._place, values.ravel().astype(np.float64), self._count.size)
        mean = total / np.maximum(self._count, 1)
        return mean.reshape(self.inside.shape).astype(np.float32)


def _whole_pixels(home: SceneGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the whole Earth's sinusoidal grid of each pixel of the world."""
    rows, cols = home.shape.rows, home.shape.cols
    down, across = knots(rows), knots(cols)
    mesh_x, mesh_y = np.meshgrid(
        home.west + (across + 0.5) * home.resolution, home.north - (down + 0.5) * home.resolution
    )
    xs, ys = warp_points(home.crs, _CRS, mesh_x.ravel().tolist(), mesh_y.ravel().tolist())
    x, y = (
        dense(np.asarray(values).reshape(mesh_x.shape), down, across, rows, cols)
        for values in (xs, ys)
    )
    row = np.floor((_ORIGIN[1] - y) / PIXEL).astype(np.int64)
    return row, np.floor((x - _ORIGIN[0]) / PIXEL).astype(np.int64)


def sense_modis(
    world: World, look: Day, bins: Bins, name: str, departure: Departure = Departure()
) -> ModisScene:
    """What a day of MODIS delivers; `name` seeds the instrument's noise."""
    rng = stream(world.spec.seed, "sky", "modis", look.day)
    sky = make_sky(rng, world.extent, look.day, look.geometry.sun, look.cloud)
    relief = illumination(world.elevation, world.spec.resolution, look.geometry.sun)
    surface = modis().look(world.reflectance(look.day, geometry=departure.geometry))
    fine = observe_through(surface, optics_at(modis().centre), sky, relief, departure.flattened)
    wide = _widened(fine, look.geometry.view_zenith, world.spec.resolution)
    image = np.stack([bins.mean(layer) for layer in wide])
    rng = stream(world.spec.seed, "instrument", name)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image = image + noise * (np.float32(0.0006) + np.float32(0.004) * image)
    above = Sky(
        sky.sun,
        bins.mean(sky.thickness),
        bins.mean(sky.cirrus),
        bins.mean(sky.sunlight),
        bins.mean(sky.haze),
        sky.height,
    )
    numbers = np.clip(np.rint(image / SCALE), -100, 16000).astype(np.int16)
    numbers[:, ~bins.inside] = NODATA
    really = true_mask(above, bins.inside)
    wrong = misjudge(
        stream(world.spec.seed, "misjudged", name),
        really == CLOUD,
        really == CLEAR,
        departure.quality_errors,
        PIXEL,
    )
    part = bins.mean((sky.thickness > 0.4).astype(np.float32))
    part = np.where(wrong.false, 1.0, np.where(wrong.missed, 0.0, part)).astype(np.float32)
    state = state_bits(part, above, image, bins.inside)
    return ModisScene(dict(zip(modis().bands, numbers, strict=True)), state, really)


def _widened(image: Floats, zenith: float, resolution: float) -> Floats:
    """The image as seen at an angle: across the track a pixel is as wide as 1 / cos^2 of it.

    After Wolfe et al. (1998), without the Earth's curvature; the track is taken as north-south.
    """
    width = PIXEL * (1 / np.cos(np.radians(zenith)) ** 2 - 1)
    size = round(width / resolution)
    if size < 2:
        return image
    return np.asarray(uniform_filter1d(image, size, axis=-1, mode="nearest"), dtype=np.float32)


def state_bits(cloudy: Floats, sky: Sky, image: Floats, inside: Mask) -> NDArray[np.uint16]:
    """State QA at 1 km from rasters at 500 m (MOD09 User's Guide, table 13).

    `cloudy` is the part of each pixel under clouds. Shadows, haze and water are judged by means.
    """
    part, ice, light, haze = (
        _pairs(raster) for raster in (cloudy, sky.cirrus, sky.sunlight, sky.haze)
    )
    red, near = (_pairs(image[modis().bands.index(f"sur_refl_b0{k}")]) for k in (1, 2))
    whole = _pairs(inside.astype(np.float32)) > 0
    cloud = np.where(part > 0.6, 1, np.where(part > 0.15, 2, 0))
    hidden = cloud == 1
    fields = (
        (0, cloud),
        (2, (light < 0.75) & ~hidden),
        (3, np.where((near < 0.1) & (near < red) & ~hidden, 3, 1)),
        (6, np.digitize(haze, [0.03, 0.12, 0.3])),
        (8, np.digitize(ice, [0.03, 0.1, 0.3])),
        (10, hidden),
        (13, grow(hidden, 1) & ~hidden),
    )
    bits = np.zeros(part.shape, np.uint16)
    for bit, values in fields:
        bits |= (values.astype(np.uint16) << bit).astype(np.uint16)
    bits[~whole] = STATE_NODATA
    return bits


def _pairs(raster: Floats) -> Floats:
    """Means of two by two pixels."""
    rows, cols = raster.shape
    blocks = raster.reshape(rows // 2, 2, cols // 2, 2).mean(axis=(1, 3))
    return np.asarray(blocks, dtype=np.float32)


def modis_id(look: Day, tile: str) -> str:
    """As NASA names granules: product, day, tile, collection, processing time."""
    done = look.time + timedelta(days=2, hours=3, minutes=look.day % 60)
    return f"MOD09GA.A{look.time:%Y%j}.{tile}.061.{done:%Y%j%H%M%S}"


def modis_item(
    look: Day, grid: SinusoidalGrid, tile: str, geometry: Geometry, scene: ModisScene
) -> Json:
    """The item of a day; `geometry` as its pixels were made for."""
    seen = scene.truth != UNSEEN
    covered = float((scene.truth[seen] == CLOUD).mean()) if seen.any() else 0.0
    start = datetime.combine(date(look.time.year, 1, 1), datetime.min.time(), UTC)
    whole_day = start + timedelta(days=look.day - 1)
    properties = (
        time_of(look.time)
        | projection_of(grid)
        | {
            "platform": "terra",
            "instruments": ["modis"],
            "gsd": 500,
            "start_datetime": f"{whole_day:%Y-%m-%dT00:00:00Z}",
            "end_datetime": f"{whole_day:%Y-%m-%dT23:59:59Z}",
            "eo:cloud_cover": round(100 * covered, 2),
            "modis:horizontal-tile": int(tile[1:3]),
            "modis:vertical-tile": int(tile[4:6]),
            "view:sun_azimuth": round(geometry.sun.azimuth, 4),
            "view:sun_elevation": round(geometry.sun.elevation, 4),
        }
        | view_of(geometry, HEIGHT)
    )
    said = {
        "data_type": "int16",
        "nodata": NODATA,
        "scale": SCALE,
        "offset": 0.0,
        "spatial_resolution": 500,
        "unit": "1",
    }
    assets = {
        band: asset_of(f"{band}.tif", f"Surface reflectance, {band}", grid, said)
        for band in modis().bands
    }
    assets[STATE] = asset_of(
        f"{STATE}.tif",
        "State at 1 km",
        grid.coarser(2),
        {"data_type": "uint16", "nodata": STATE_NODATA, "spatial_resolution": 1000},
    )
    extensions = ("eo/v1.1.0", "view/v1.0.0", "projection/v1.1.0", "raster/v1.1.0")
    return item_of(
        MODIS, modis_id(look, tile), footprint(grid, seen), properties, assets, extensions
    )
