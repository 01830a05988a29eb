"""The sky of a day: clouds, their shadows, thin cirrus, haze; and the ground seen through it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.world.noise import (
    Extent,
    Floats,
    Random,
    Shape,
    Stretch,
    block_mean,
    broad,
    fractal,
    spread,
)
from earthloom.world.spectra import BANDS, WAVELENGTH
from earthloom.world.sun import Sun

_BACKSCATTERED = 0.11
"""Reflectance of a thin cloud per unit of optical thickness (Coakley & Chylek 1975)."""

# Reflectance of a cloud without end in each band: droplets, and ice, absorb in the short-wave
# infrared. Approximate, after Nakajima & King (1990).
_DROPLETS = np.array([0.90, 0.90, 0.90, 0.90, 0.90, 0.89, 0.88, 0.87, 0.66, 0.46], np.float32)
_ICE = np.array([0.92, 0.92, 0.92, 0.92, 0.92, 0.91, 0.90, 0.89, 0.46, 0.34], np.float32)
# Part of the light on the ground that comes from the sky, in clear air; approximate.
_DIFFUSE = np.array([0.27, 0.21, 0.16, 0.14, 0.13, 0.12, 0.11, 0.10, 0.04, 0.03], np.float32)
# Path reflectance per unit of residual aerosol thickness at 550 nm; Angstrom exponent 1.3.
_PATH = (0.115 * (WAVELENGTH / 550.0) ** -1.3).astype(np.float32)
_VEIL = (0.5 * (WAVELENGTH / 550.0) ** -1.3).astype(np.float32)

CIRRUS_HEIGHT = 9000.0
"""m; the shadow of cirrus is too faint and far to be drawn."""


@dataclass(frozen=True, eq=False)
class Sky:
    """The sky over a window at one time; every raster is (rows, cols)."""

    sun: Sun
    thickness: Floats
    """Optical thickness of the water clouds over each pixel, 0 where there is none."""
    cirrus: Floats
    """Optical thickness of ice clouds."""
    sunlight: Floats
    """Part of the direct sunlight that reaches the ground past the clouds, 0 to 1."""
    haze: Floats
    """Aerosol optical thickness at 550 nm that atmospheric correction has left."""
    height: float
    """Of the water clouds above the ground, m."""

    def coarser(self, factor: int) -> "Sky":
        """The sky over pixels `factor` times as wide."""
        return Sky(
            self.sun,
            block_mean(self.thickness, factor),
            block_mean(self.cirrus, factor),
            block_mean(self.sunlight, factor),
            block_mean(self.haze, factor),
            self.height,
        )


@dataclass(frozen=True)
class _Regime:
    """A kind of cloud: outer scale m, spectral slope, thickness gained per deviation, height m."""

    scale: float
    slope: float
    gain: float
    low: float
    high: float


_CUMULUS = _Regime(1500, 3.1, 14.0, 900, 1500)
_BROKEN = _Regime(3200, 2.8, 9.0, 1000, 1900)
_STRATUS = _Regime(9000, 3.4, 16.0, 500, 1000)


def make_sky(rng: Random, extent: Extent, day: float, sun: Sun, cover: float | None) -> Sky:
    """The sky on a day of the year; `cover` (0 to 1) is drawn by the season where not given."""
    warm = 0.5 - 0.5 * np.cos(2 * np.pi * (day - 20) / 365)
    drawn = float(rng.beta(0.55 - 0.1 * warm, 0.36 + 0.14 * warm))
    cover = drawn if cover is None else float(np.clip(cover, 0, 1))
    regime = _choose_regime(rng, warm, cover)
    height = float(rng.uniform(regime.low, regime.high))
    down, right = _shift(height, sun, extent.resolution)
    canvas = Extent(
        Shape(extent.shape.rows + abs(down), extent.shape.cols + abs(right)), extent.resolution
    )
    field = _cloud_field(rng, canvas, regime, cover)
    over, towards_sun = _views(field, extent.shape, down, right)
    zenith = np.cos(np.radians(sun.zenith))
    return Sky(
        sun=sun,
        thickness=over,
        cirrus=_cirrus(rng, extent, cover),
        sunlight=_soften(np.exp(-np.minimum(0.45 * towards_sun / max(zenith, 0.2), 30))),
        haze=_haze(rng, extent, warm),
        height=height,
    )


def _soften(sunlight: Floats) -> Floats:
    """The sun is a disc: the edges of shadows are some pixels wide."""
    return np.asarray(spread(spread(sunlight[None], 0.3), 0.3)[0], dtype=np.float32)


def _choose_regime(rng: Random, warm: float, cover: float) -> _Regime:
    weights = np.array([0.15 + 0.6 * warm, 0.35, 0.55 - 0.4 * warm + 0.5 * (cover > 0.85)])
    return (_CUMULUS, _BROKEN, _STRATUS)[int(rng.choice(3, p=weights / weights.sum()))]


def _shift(height: float, sun: Sun, resolution: float) -> tuple[int, int]:
    """Pixels down and right from a cloud to its shadow: away from the sun."""
    away = height * np.tan(np.radians(min(sun.zenith, 78.0))) / resolution
    azimuth = np.radians(sun.azimuth)
    return round(float(np.cos(azimuth) * away)), round(float(-np.sin(azimuth) * away))


def _cloud_field(rng: Random, canvas: Extent, regime: _Regime, cover: float) -> Floats:
    """Optical thickness (rows, cols) of clouds that cover about `cover` of the canvas."""
    shape = fractal(rng, canvas, regime.scale, regime.slope)
    groups = broad(rng, canvas, 4 * regime.scale, 4.0)
    value = 0.85 * shape + 0.5 * groups
    threshold = np.quantile(value[::4, ::4], np.clip(1 - cover, 0, 1))
    if cover < 0.01:
        threshold = value.max() + 1
    above = np.maximum(value - np.float32(threshold), 0)
    # Edges are thin and ragged, the middle is thick.
    grain = np.float32(1) + np.float32(0.25) * fractal(rng, canvas, 250.0, 3.0)
    thick = np.float32(regime.gain) * above ** np.float32(1.25)
    return np.asarray(thick * np.maximum(grain, 0.2), dtype=np.float32)


def _views(field: Floats, shape: Shape, down: int, right: int) -> tuple[Floats, Floats]:
    """The clouds over each pixel, and the clouds between each pixel and the sun."""
    row, col = max(down, 0), max(right, 0)
    over = field[row : row + shape.rows, col : col + shape.cols]
    row, col = row - down, col - right
    sunward = field[row : row + shape.rows, col : col + shape.cols]
    return np.ascontiguousarray(over), np.ascontiguousarray(sunward)


def _cirrus(rng: Random, extent: Extent, cover: float) -> Floats:
    """Optical thickness of ice clouds: streaks, on some days."""
    amount = rng.uniform(0.1, 0.75)
    streaks = Stretch(float(rng.uniform(2.5, 6)), float(rng.uniform(0, np.pi)))
    if rng.uniform() > 0.22 + 0.3 * cover:
        return np.zeros((extent.shape.rows, extent.shape.cols), np.float32)
    value = fractal(rng, extent, 2600.0, 3.4, streaks) + broad(rng, extent, 12_000.0, 4.0)
    return np.asarray(np.float32(amount * 0.6) * np.maximum(value - 0.1, 0), dtype=np.float32)


def _haze(rng: Random, extent: Extent, warm: float) -> Floats:
    """Aerosol that the correction has missed: little on most days, smooth over kilometres."""
    level = float(np.exp(rng.normal(np.log(0.045 + 0.03 * warm), 0.7)))
    pattern = np.exp(0.4 * broad(rng, extent, 7000.0))
    return np.asarray(min(level, 0.45) * pattern, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Optics:
    """What the air does in some bands; every field is (band,)."""

    droplets: Floats
    """Reflectance of a water cloud without end."""
    ice: Floats
    diffuse: Floats
    """Part of the light on the ground that comes from the sky."""
    path: Floats
    """Path reflectance per unit of haze."""
    veil: Floats
    """Loss per unit of haze."""


def optics_of(bands: tuple[str, ...]) -> Optics:
    """The air in Sentinel-2's bands."""
    k = [BANDS.index(band) for band in bands]
    return Optics(_DROPLETS[k], _ICE[k], _DIFFUSE[k], _PATH[k], _VEIL[k])


def optics_at(wavelength: NDArray[np.float64]) -> Optics:
    """The air at wavelengths, nm: linear between Sentinel-2's bands, as at the nearest beyond."""
    droplets, ice, diffuse = (
        np.interp(wavelength, WAVELENGTH, table).astype(np.float32)
        for table in (_DROPLETS, _ICE, _DIFFUSE)
    )
    thin = (wavelength / 550.0) ** -1.3
    return Optics(
        droplets, ice, diffuse, (0.115 * thin).astype(np.float32), (0.5 * thin).astype(np.float32)
    )


def observe(
    surface: Floats, bands: tuple[str, ...], sky: Sky, relief: Floats | None = None
) -> Floats:
    """Reflectance (band, rows, cols) of the ground as seen through the sky, in Sentinel-2's bands.

    `surface` (band, rows, cols) is the ground's own reflectance. `relief` (rows, cols) is the
    illumination of slopes relative to level ground; what terrain correction leaves of it stays.
    """
    return observe_through(surface, optics_of(bands), sky, relief)


def observe_through(
    surface: Floats,
    optics: Optics,
    sky: Sky,
    relief: Floats | None = None,
    flattened: bool = True,
) -> Floats:
    """As `observe`, in any bands; not `flattened`, slopes are lit as they are.

    Then the direct light goes with `relief` and the light of the sky does not, so that slopes that
    turn away are dark, and least so in the blue. The cloud is put above the ground by the adding
    method: R = C + t^2 S / (1 - C S).
    """
    out = np.empty_like(surface)
    cloud = _BACKSCATTERED * sky.thickness
    cloud = cloud / (1 + cloud)
    ice = _BACKSCATTERED * sky.cirrus
    ice = ice / (1 + ice)
    slope = None if relief is None else 0.7 + 0.3 * np.clip(relief, 0.2, 2.0)
    direct = sky.sunlight
    if relief is not None and not flattened:
        slope, direct = None, sky.sunlight * relief
    for k in range(len(surface)):
        light = optics.diffuse[k] + (1 - optics.diffuse[k]) * direct
        ground = surface[k] * light if slope is None else surface[k] * light * slope
        ground = ground * (1 - optics.veil[k] * sky.haze) + optics.path[k] * sky.haze
        seen = optics.droplets[k] * cloud + (1 - cloud) ** 2 * ground / (1 - cloud * ground)
        out[k] = optics.ice[k] * ice + (1 - ice) ** 2 * seen / (1 - ice * seen)
    return out


def weather(rng: Random) -> NDArray[np.float64]:
    """Wetness of the topsoil, 0 to 1, on each day of the year (index 0 is 1 January)."""
    days = np.arange(366)
    warm = 0.5 - 0.5 * np.cos(2 * np.pi * (days - 20) / 365)
    rain = (rng.uniform(0, 1, days.size) < 0.33) * rng.gamma(0.9, 0.3, days.size)
    keeps = 0.94 - 0.13 * warm
    wetness = np.empty(days.size)
    level = 0.6
    for day in days:
        level = min(1.0, level * keeps[day] + rain[day])
        wetness[day] = level
    return wetness
