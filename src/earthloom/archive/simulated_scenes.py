"""Pixels of the simulated scenes: Sentinel-2 L2A with its quality band, Sentinel-1 RTC."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform as warp_points

from earthloom.archive.simulated_faults import Departure, misjudge, moved
from earthloom.archive.simulated_plan import Acquisition, Layout, SceneGrid, in_swath
from earthloom.world import BANDS, Shape, Sky, World, block_mean
from earthloom.world.noise import Extent, fractal, stream
from earthloom.world.sky import observe_through, optics_of

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

FINE_BANDS = ("B02", "B03", "B04", "B08")
COARSE_BANDS = ("B05", "B06", "B07", "B8A", "B11", "B12")
SCALE = 1e-4
OPTICAL_NODATA = 0
RADAR_NODATA = -32768.0
LOOKS = 4.4
"""Equivalent number of looks of Sentinel-1 IW GRDH (ESA product specification)."""

CLEAR, THIN, CLOUD, SHADOW, UNSEEN = 0, 1, 2, 3, 255
"""Values of the true cloud mask."""

_NOISE_FLOOR = 0.0012
"""Linear power that the receiver adds."""


def offset_of(baseline: str) -> float:
    """Reflectance of digital number 0: products of baseline 04.00 and later are shifted by 1000."""
    return -0.1 if baseline >= "04.00" else 0.0


def encode(reflectance: Floats, baseline: str) -> NDArray[np.uint16]:
    """Digital numbers of reflectance; 0 stays free for "no data"."""
    numbers = np.rint((reflectance - offset_of(baseline)) / SCALE)
    return np.asarray(np.clip(numbers, 1, 65535), dtype=np.uint16)


@dataclass(frozen=True, eq=False)
class OpticalScene:
    """A Sentinel-2 scene on its grid."""

    bands: dict[str, NDArray[np.uint16]]
    """(rows, cols) at 10 m or 20 m."""
    quality: NDArray[np.uint8]
    """Scene classification, (rows, cols) at 20 m."""
    truth: NDArray[np.uint8]
    """True cloud mask, (rows, cols) at 10 m."""


class Resampler:
    """Takes rasters of the world's own grid to the grid of a delivery."""

    def __init__(self, layout: Layout, grid: SceneGrid) -> None:
        self._cols = grid.shape.cols
        self._crop = grid.epsg == layout.home.epsg
        self._place = None if self._crop else _positions(layout.home, grid)

    def mean(self, values: Floats, fill: float = 0.0) -> Floats:
        """Bilinear, over the last two axes; `fill` outside the world."""
        if self._place is None:
            return np.ascontiguousarray(values[..., : self._cols])
        row, col, inside = self._place
        top, left = np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)
        down, right = (row - top).astype(np.float32), (col - left).astype(np.float32)
        upper = values[..., top, left] * (1 - right) + values[..., top, left + 1] * right
        lower = values[..., top + 1, left] * (1 - right) + values[..., top + 1, left + 1] * right
        mixed = upper * (1 - down) + lower * down
        return np.where(inside, mixed, np.float32(fill)).astype(np.float32)

    def inside(self, seen: Mask) -> Mask:
        """Pixels of the delivery that lie in the world and in `seen`; nearest pixel."""
        if self._place is None:
            return np.ascontiguousarray(seen[:, : self._cols])
        row, col, inside = self._place
        return np.asarray(inside & seen[np.rint(row).astype(int), np.rint(col).astype(int)])


def _positions(home: SceneGrid, grid: SceneGrid) -> tuple[Doubles, Doubles, Mask]:
    """Row and column in `home` of each pixel centre of `grid`, and whether it lies inside."""
    shape = grid.shape
    x = grid.west + (np.arange(shape.cols) + 0.5) * grid.resolution
    y = grid.north - (np.arange(shape.rows) + 0.5) * grid.resolution
    # Zones differ smoothly: exact on every 16th pixel, linear between (error below 1 cm).
    knots_x, knots_y = knots(shape.cols), knots(shape.rows)
    mesh_x, mesh_y = np.meshgrid(
        np.interp(knots_x, np.arange(shape.cols), x), np.interp(knots_y, np.arange(shape.rows), y)
    )
    xs, ys = warp_points(grid.crs, home.crs, mesh_x.ravel().tolist(), mesh_y.ravel().tolist())
    col = (np.array(xs).reshape(mesh_x.shape) - home.west) / home.resolution - 0.5
    row = (home.north - np.array(ys).reshape(mesh_x.shape)) / home.resolution - 0.5
    row, col = (dense(raster, knots_y, knots_x, shape.rows, shape.cols) for raster in (row, col))
    inside = (row >= 0) & (row < home.shape.rows - 1) & (col >= 0) & (col < home.shape.cols - 1)
    row = np.clip(row, 0, home.shape.rows - 1.001)
    col = np.clip(col, 0, home.shape.cols - 1.001)
    return row, col, inside


def knots(count: int) -> NDArray[np.float64]:
    """Every 16th of `count` places, and the last."""
    return np.unique(np.append(np.arange(0, count, 16), count - 1)).astype(np.float64)


def dense(
    raster: NDArray[np.float64],
    knots_y: NDArray[np.float64],
    knots_x: NDArray[np.float64],
    rows: int,
    cols: int,
) -> NDArray[np.float64]:
    """Linear interpolation of a raster on knots to all pixels."""
    wide = np.stack([np.interp(np.arange(cols), knots_x, line) for line in raster])
    return np.stack([np.interp(np.arange(rows), knots_y, line) for line in wide.T], axis=1)


def sense_sentinel2(
    world: World,
    acquisition: Acquisition,
    resample: Resampler,
    name: str,
    departure: Departure = Departure(),
) -> OpticalScene:
    """What a Sentinel-2 pass delivers; `name` seeds the instrument's noise.

    A shift moves the ground; the clouds are drawn where they are seen.
    """
    resolution = world.spec.resolution
    sky = world.sky(acquisition.day, acquisition.cloud)
    relief = moved(world.illumination(acquisition.day), departure, resolution)
    seen = resample.inside(in_swath(acquisition, world.spec.shape))
    surface = moved(
        world.reflectance(acquisition.day, geometry=departure.geometry), departure, resolution
    )
    surface = resample.mean(surface)
    sky = Sky(
        sky.sun,
        resample.mean(sky.thickness),
        resample.mean(sky.cirrus),
        resample.mean(sky.sunlight, 1.0),
        resample.mean(sky.haze) * np.float32(departure.haze),
        sky.height,
    )
    relief = resample.mean(relief, 1.0)
    rng = stream(world.spec.seed, "instrument", name)
    flat = departure.flattened
    fine = _look(surface, FINE_BANDS, sky, relief, flat)
    wide = _look(block_mean(surface, 2), COARSE_BANDS, sky.coarser(2), block_mean(relief, 2), flat)
    images = dict(zip(FINE_BANDS, _noisy(rng, fine), strict=True))
    images |= dict(zip(COARSE_BANDS, _noisy(rng, wide), strict=True))
    # A coarse pixel is there where all of its fine pixels are.
    seen_wide = block_mean(seen.astype(np.float32), 2) > 0.99
    numbers = {
        band: np.where(
            seen if band in FINE_BANDS else seen_wide,
            encode(image, acquisition.baseline),
            OPTICAL_NODATA,
        ).astype(np.uint16)
        for band, image in images.items()
    }
    quality = _classify(rng, images, sky.coarser(2), resolution * 2)
    really = true_mask(sky.coarser(2), seen_wide)
    wrong = misjudge(
        stream(world.spec.seed, "misjudged", name),
        really == CLOUD,
        really == CLEAR,
        departure.quality_errors,
        resolution * 2,
    )
    quality[wrong.missed] = 5
    quality[wrong.false] = 9
    quality[~seen_wide] = 0
    return OpticalScene(numbers, quality, true_mask(sky, seen))


def _look(
    surface: Floats, bands: tuple[str, ...], sky: Sky, relief: Floats, flattened: bool
) -> Floats:
    """Reflectance (band, rows, cols) through the sky of some of the surface's bands."""
    some = surface[[BANDS.index(band) for band in bands]]
    return observe_through(some, optics_of(bands), sky, relief, flattened)


def _noisy(rng: np.random.Generator, image: Floats) -> Floats:
    """Adds the instrument's noise: 0.0008, and 0.4 % of the signal."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return image + noise * (np.float32(0.0008) + np.float32(0.004) * image)


def true_mask(sky: Sky, seen: Mask) -> NDArray[np.uint8]:
    """What is really in the way, (rows, cols): CLEAR, THIN, CLOUD, SHADOW or UNSEEN."""
    thick = sky.thickness + sky.cirrus
    truth = np.full(thick.shape, CLEAR, np.uint8)
    truth[sky.sunlight < 0.7] = SHADOW
    truth[thick >= 0.1] = THIN
    truth[thick >= 0.5] = CLOUD
    truth[~seen] = UNSEEN
    return truth


def _classify(
    rng: np.random.Generator, images: dict[str, Floats], sky: Sky, resolution: float
) -> NDArray[np.uint8]:
    """A scene classification with the faults of real ones, (rows, cols) at 20 m.

    It misses thin edges and some shadows, and takes some bright roofs for clouds and some dark
    land for shadow.
    """
    blue, red, near = (block_mean(images[band], 2) for band in ("B02", "B04", "B08"))
    infrared = images["B11"]
    shape = blue.shape
    doubt = fractal(rng, Extent(Shape(*shape), resolution), 400.0, 3.0)
    greenness = (near - red) / np.maximum(near + red, 0.01)
    wetness = (blue - infrared) / np.maximum(blue + infrared, 0.01)
    scl = np.full(shape, 5, np.uint8)
    scl[greenness > 0.4] = 4
    scl[(near < 0.075) & (blue < 0.06)] = 2
    scl[(wetness > 0.05) & (near < 0.16)] = 6
    scl[(sky.sunlight < 0.62 + 0.06 * doubt) & (doubt < 1.7)] = 3
    judged = sky.thickness * np.exp(0.3 * doubt)
    scl[(sky.cirrus > 0.16) & (doubt > -1.6)] = 10
    scl[judged > 0.35] = 7
    scl[judged > 0.6] = 8
    scl[judged > 2.2] = 9
    scl[(blue > 0.27) & (infrared < 0.34) & (judged < 0.6)] = 8
    return scl


def sense_sentinel1(
    world: World, acquisition: Acquisition, resample: Resampler, name: str
) -> Floats:
    """Gamma nought (VV and VH, rows, cols) with speckle; RADAR_NODATA off the swath."""
    power = world.backscatter(acquisition.day) * _leftover_terrain(world, acquisition)
    power = resample.mean(power) + np.float32(_NOISE_FLOOR)
    rng = stream(world.spec.seed, "speckle", name)
    speckled = power * speckle(rng, power.shape)
    seen = resample.inside(in_swath(acquisition, world.spec.shape))
    return np.where(seen, speckled, np.float32(RADAR_NODATA)).astype(np.float32)


def speckle(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Multiplicative noise of mean 1 and variance 1 / LOOKS, gamma distributed (Goodman 1976)."""
    drawn = rng.standard_gamma(LOOKS, shape, dtype=np.float32)
    return np.asarray(drawn / np.float32(LOOKS), dtype=np.float32)


def _leftover_terrain(world: World, acquisition: Acquisition) -> Floats:
    """What terrain flattening leaves on slopes that face the radar or turn away, (rows, cols)."""
    _, east = np.gradient(world.elevation, world.spec.resolution)
    # Ascending passes look east, so that slopes rising eastward face them.
    towards = 1.0 if acquisition.orbit.state == "ascending" else -1.0
    facing = np.float32(1.2 * towards) * np.clip(east, -0.25, 0.25)
    return np.asarray(np.exp(facing), dtype=np.float32)
