"""Reflectance as if seen from straight above: the c-factor method (Roy et al. 2008, 2016).

Land reflects more light back towards the sun than away from it. A model of two kernels with global
weights (`brdf.toml`) says how much more; its ratio between the wanted and the real geometry is the
factor c. The same weights serve all land, so the method takes out the mean effect of the view
angle; how covers differ in it stays in.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earthloom.archive.scene import Angles
from earthloom.errors import DataError, choices
from earthloom.sensors import Band

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_TABLE = Path(__file__).with_suffix(".toml")
_HEIGHT = 2.0
"""h/b of the Li kernel: height of a crown's centre over its vertical radius."""
# b/r, the crown's vertical over its horizontal radius, is 1: angles need no further change.


@dataclass(frozen=True)
class Weights:
    """What each part of the reflectance model weighs, unit 1."""

    iso: float
    geo: float
    vol: float


@cache
def weights() -> Mapping[str, Weights]:
    """By common name of a band."""
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))["weights"]
    found = {name: Weights(w["iso"], w["geo"], w["vol"]) for name, w in table.items()}
    return MappingProxyType(found)


def ross_thick(sun_zenith: ArrayLike, view_zenith: ArrayLike, azimuth: ArrayLike) -> Doubles:
    """The volume kernel (Roujean et al. 1992; Lucht, Schaaf & Strahler 2000, equation 38).

    Angles in degrees, `azimuth` between the directions to the sun and to the sensor (0: the
    sensor has the sun behind it). 0 where both stand in the zenith.
    """
    sun, view, between = _radians(sun_zenith, view_zenith, azimuth)
    cosine = _cos_phase(sun, view, between)
    phase = np.arccos(cosine)
    kernel = ((np.pi / 2 - phase) * cosine + np.sin(phase)) / (np.cos(sun) + np.cos(view))
    return np.asarray(kernel - np.pi / 4, dtype=np.float64)


def li_sparse(sun_zenith: ArrayLike, view_zenith: ArrayLike, azimuth: ArrayLike) -> Doubles:
    """The geometric kernel Li-Sparse-R, reciprocal (Lucht et al. 2000, equation 39); h/b=2, b/r=1.

    Angles as in `ross_thick`.
    """
    sun, view, between = _radians(sun_zenith, view_zenith, azimuth)
    tan_sun, tan_view = np.tan(sun), np.tan(view)
    secants = 1 / np.cos(sun) + 1 / np.cos(view)
    squared = tan_sun**2 + tan_view**2 - 2 * tan_sun * tan_view * np.cos(between)
    side = (tan_sun * tan_view * np.sin(between)) ** 2
    cos_t = np.clip(_HEIGHT * np.sqrt(np.maximum(squared, 0) + side) / secants, -1, 1)
    t = np.arccos(cos_t)
    overlap = (t - np.sin(t) * cos_t) * secants / np.pi
    facing = 0.5 * (1 + _cos_phase(sun, view, between)) / (np.cos(sun) * np.cos(view))
    return np.asarray(overlap - secants + facing, dtype=np.float64)


def modelled(
    band: str, sun_zenith: ArrayLike, view_zenith: ArrayLike, azimuth: ArrayLike
) -> Doubles:
    """Reflectance of mean land in a band, by common name, under a geometry (degrees).

    DataError if the band has no published weights.
    """
    if band not in weights():
        raise DataError(f"no BRDF weights for the band '{band}'; known are: {choices(weights())}")
    w = weights()[band]
    volume = ross_thick(sun_zenith, view_zenith, azimuth)
    geometric = li_sparse(sun_zenith, view_zenith, azimuth)
    return np.asarray(w.iso + w.geo * geometric + w.vol * volume, dtype=np.float64)


def c_factor(
    band: str,
    sun_zenith: ArrayLike,
    view_zenith: ArrayLike,
    azimuth: ArrayLike,
    sun_zenith_out: ArrayLike | None = None,
) -> Doubles:
    """What reflectance is multiplied by to be as seen from above; scalars or arrays, degrees.

    `band` is a common name, `azimuth` the difference between the azimuths of sensor and sun,
    `sun_zenith_out` where the sun shall stand: where it stood, if not given.
    """
    out = sun_zenith if sun_zenith_out is None else sun_zenith_out
    wanted = modelled(band, out, 0.0, 0.0)
    return np.asarray(wanted / modelled(band, sun_zenith, view_zenith, azimuth), dtype=np.float64)


def normalise(
    pixels: Floats, bands: Sequence[Band], angles: Angles, sun_zenith_out: float | None = None
) -> Floats:
    """Nadir BRDF-adjusted reflectance (C, H, W) of a scene; NaN stays NaN.

    Bands without published weights stay as they are; `unweighted` names those. DataError if the
    scene does not say where the satellite stood.
    """
    if angles.view_zenith is None or angles.view_azimuth is None:
        raise DataError("the scene has no view angles, which the step 'nbar' needs")
    azimuth = angles.view_azimuth - angles.sun_azimuth
    out = pixels.copy()
    for image, band in zip(out, bands, strict=True):
        if band.common_name in weights():
            factor = c_factor(
                str(band.common_name),
                angles.sun_zenith,
                angles.view_zenith,
                azimuth,
                sun_zenith_out,
            )
            image *= np.float32(factor)
    return out


def unweighted(bands: Sequence[Band]) -> tuple[str, ...]:
    """Names of the bands that `normalise` leaves as they are."""
    return tuple(band.name for band in bands if band.common_name not in weights())


def usual_sun_zenith(latitude: float) -> float:
    """Mean zenith angle of the sun, degrees, under which Landsat and Sentinel-2 see a latitude.

    The polynomial of HLS (Zhang et al. 2016; Claverie et al. 2018), for latitudes in degrees. One
    value for all dates of a place takes the season's change of the sun out as well.
    """
    powers = (31.0076, -0.1272, 0.01187, 2.40e-5, -9.48e-7, -1.95e-9, 6.15e-11)
    return float(sum(factor * latitude**power for power, factor in enumerate(powers)))


def _radians(*degrees: ArrayLike) -> tuple[Doubles, ...]:
    return tuple(np.radians(np.asarray(each, np.float64)) for each in degrees)


def _cos_phase(sun: Doubles, view: Doubles, between: Doubles) -> Doubles:
    """Cosine of the angle between the directions to the sun and to the sensor."""
    cosine = np.cos(sun) * np.cos(view) + np.sin(sun) * np.sin(view) * np.cos(between)
    return np.asarray(np.clip(cosine, -1, 1), dtype=np.float64)
