"""Takes the sun's play on slopes out of reflectance, with an elevation model.

A slope that faces the sun gets more light than level ground and looks brighter. The corrections
here scale reflectance by how much light a pixel got (cos i) against level ground, with a band's
constant c for the light that comes from the sky: `c` (Teillet, Guindon & Goodenough 1982) and
`scs+c`, which leaves trees standing upright (Soenen, Peddle & Coburn 2005). c is fitted once for
a scene, from sums that tiles can add up (`TerrainSums`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from earthloom.archive.scene import Angles
from earthloom.cube.compiled import compiled
from earthloom.errors import DataError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

Method = Literal["c", "scs+c"]
METHODS: tuple[Method, ...] = ("c", "scs+c")

SHADOW_REACH_M = 1500.0
"""How far off a mountain is looked for that may throw its shadow on a pixel."""

_FLAT = np.cos(np.radians(3.0))
"""Flatter than this (3 degrees) a pixel says nothing of the sun on slopes."""
_LEAST_PIXELS = 100
_LEAST_CORRELATION = 0.05
"""Fewer pixels, or less correlation with cos i, and a band is left as it is."""
_MAX_FACTOR = 4.0
"""A slope that would have to be brightened by more than this was as good as unlit."""


@dataclass(frozen=True, eq=False)
class Terrain:
    """The form of the land and how the sun meets it; all (H, W), NaN where there is no height."""

    slope: Floats
    """Radians from level."""
    aspect: Floats
    """Radians clockwise from north, of the direction in which the slope falls."""
    cos_i: Floats
    """Cosine of the angle between the sun and the upright on the slope; below 0 turned away."""
    lit: Mask
    """Neither turned away from the sun nor in the shadow of other land."""


def slope_aspect(elevation: Floats, pixel_m: float) -> tuple[Floats, Floats]:
    """Slope and aspect (H, W) in radians from elevation in metres (Horn 1981).

    Row 0 is in the north. The outermost pixels lean on repeated ones, so give one more around.
    """
    weights = np.array([1, 2, 1], np.float64)
    step = np.array([-1, 0, 1], np.float64)
    heights = elevation.astype(np.float64)
    east = _differences(heights, weights, step) / (8 * pixel_m)
    south = _differences(heights, step, weights) / (8 * pixel_m)
    slope = np.arctan(np.hypot(east, south)).astype(np.float32)
    # Downhill is against the gradient; south is against north.
    aspect = (np.arctan2(-east, south) % (2 * np.pi)).astype(np.float32)
    return slope, aspect


def cos_incidence(slope: Floats, aspect: Floats, angles: Angles) -> Floats:
    """Cosine of the angle between the sun and the upright on each slope, (H, W)."""
    zenith, azimuth = np.radians(angles.sun_zenith), np.radians(angles.sun_azimuth)
    turned = np.cos(np.float32(azimuth) - aspect)
    cosine = np.cos(zenith) * np.cos(slope) + np.sin(zenith) * np.sin(slope) * turned
    return np.asarray(cosine, dtype=np.float32)


def terrain_of(elevation: Floats, pixel_m: float, angles: Angles) -> Terrain:
    """Slopes, and where the sun reaches, for an elevation model (H, W) in metres."""
    slope, aspect = slope_aspect(elevation, pixel_m)
    cos_i = cos_incidence(slope, aspect, angles)
    lit = np.asarray((cos_i > 0) & ~cast_shadow(elevation, pixel_m, angles), np.bool_)
    return Terrain(slope, aspect, cos_i, lit)


def cast_shadow(
    elevation: Floats, pixel_m: float, angles: Angles, reach_m: float = SHADOW_REACH_M
) -> Mask:
    """(H, W), True where other land within `reach_m` stands between a pixel and the sun.

    The line to the sun is followed pixel by pixel over bilinear heights. Land outside the array,
    or without a height, throws no shadow.
    """
    if angles.sun_zenith >= 90:
        return np.ones(elevation.shape, np.bool_)
    azimuth = np.radians(angles.sun_azimuth)
    rise = pixel_m / np.tan(np.radians(max(angles.sun_zenith, 1e-3)))
    steps = int(reach_m / pixel_m)
    heights = np.ascontiguousarray(elevation, np.float32)
    shadow: Mask = _march(heights, -np.cos(azimuth), np.sin(azimuth), rise, steps)
    return shadow


@dataclass(frozen=True, eq=False)
class TerrainSums:
    """What the fit of c needs of pixels; sums of parts of a scene add up to those of the scene."""

    count: Doubles
    """(C,) pixels on lit slopes."""
    x: Doubles
    """(C,) sums of cos i, and so on of its square, of reflectance, of its square, of both."""
    xx: Doubles
    y: Doubles
    yy: Doubles
    xy: Doubles

    def __add__(self, other: "TerrainSums") -> "TerrainSums":
        return TerrainSums(
            self.count + other.count,
            self.x + other.x,
            self.xx + other.xx,
            self.y + other.y,
            self.yy + other.yy,
            self.xy + other.xy,
        )


def terrain_sums(pixels: Floats, terrain: Terrain) -> TerrainSums:
    """Sums over the pixels (C, H, W) that were seen, lie on a slope and are lit."""
    sloping = terrain.lit & (np.cos(terrain.slope) < _FLAT)
    x = terrain.cos_i[sloping].astype(np.float64)
    y = pixels[:, sloping].astype(np.float64)
    seen = np.isfinite(y) & np.isfinite(x)
    x, y = np.where(seen, x, 0), np.where(seen, y, 0)
    return TerrainSums(
        count=seen.sum(axis=1).astype(np.float64),
        x=x.sum(axis=1),
        xx=(x * x).sum(axis=1),
        y=y.sum(axis=1),
        yy=(y * y).sum(axis=1),
        xy=(x * y).sum(axis=1),
    )


def fit_c(sums: TerrainSums) -> tuple[float, ...]:
    """c of every band: intercept over slope of reflectance against cos i.

    Infinite where the band does not follow the sun (too few pixels, no rise with cos i), which
    leaves it as it is.
    """
    count = np.maximum(sums.count, 1)
    spread_x = sums.xx - sums.x**2 / count
    spread_y = sums.yy - sums.y**2 / count
    both = sums.xy - sums.x * sums.y / count
    found = []
    for n, sx, sy, sxy, x, y in zip(sums.count, spread_x, spread_y, both, sums.x, sums.y):
        follows = n >= _LEAST_PIXELS and sx > 0 and sy > 0
        if not follows or sxy <= _LEAST_CORRELATION * np.sqrt(sx * sy):
            found.append(float("inf"))
            continue
        rise = sxy / sx
        # Light of the sky cannot be negative: a steeper line is noise.
        found.append(max(0.0, float((y - rise * x) / n / rise)))
    return tuple(found)


def correct(
    pixels: Floats, terrain: Terrain, angles: Angles, c: tuple[float, ...], method: Method = "scs+c"
) -> Floats:
    """Reflectance (C, H, W) as on level ground; level ground stays as it is.

    NaN where the land is in shadow, barely lit or without a height: nothing is known there.
    DataError if `method` is unknown.
    """
    if method not in METHODS:
        raise DataError(f"no terrain correction '{method}'; valid: {', '.join(METHODS)}")
    level = np.cos(np.radians(angles.sun_zenith))
    upright = np.cos(terrain.slope) if method == "scs+c" else np.float32(1)
    corrected = np.empty_like(pixels)
    for place, (band, constant) in enumerate(zip(pixels, c, strict=True)):
        if np.isinf(constant):
            corrected[place] = np.where(terrain.lit, band, np.float32(np.nan))
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = (upright * level + constant) / (terrain.cos_i + constant)
            known = terrain.lit & (factor > 0) & (factor <= _MAX_FACTOR)
        corrected[place] = np.where(known, band * factor, np.float32(np.nan))
    return corrected


def _differences(heights: Doubles, across: Doubles, along: Doubles) -> Doubles:
    """Correlates with a kernel made of one line over rows and one over columns."""
    rows = ndimage.correlate1d(heights, across, axis=0, mode="nearest")
    return np.asarray(ndimage.correlate1d(rows, along, axis=1, mode="nearest"), dtype=np.float64)


@compiled
def _march(heights: Floats, down: float, right: float, rise: float, steps: int) -> Mask:
    """Follows the line to the sun from each pixel; `rise` metres a step of one pixel."""
    rows, cols = heights.shape
    shadow = np.zeros((rows, cols), np.bool_)
    top = -np.inf
    for row in range(rows):
        for col in range(cols):
            if heights[row, col] > top:
                top = heights[row, col]
    for row in range(rows):
        for col in range(cols):
            ray = heights[row, col]
            for step in range(1, steps + 1):
                ray += rise
                # Above the highest land nothing is in the way. Not a number compares as False.
                if not ray <= top:
                    break
                r, c = row + down * step, col + right * step
                # A millionth of a pixel beyond the rim is rounding of the sun's direction.
                if r < -1e-6 or c < -1e-6 or r > rows - 1 + 1e-6 or c > cols - 1 + 1e-6:
                    break
                r0, c0 = max(min(int(r), rows - 2), 0), max(min(int(c), cols - 2), 0)
                dr, dc = r - r0, c - c0
                upper = heights[r0, c0] * (1 - dc) + heights[r0, c0 + 1] * dc
                lower = heights[r0 + 1, c0] * (1 - dc) + heights[r0 + 1, c0 + 1] * dc
                if upper * (1 - dr) + lower * dr > ray:
                    shadow[row, col] = True
                    break
    return shadow
