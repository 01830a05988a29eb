"""How reflectance depends on where the sun and the sensor stand: the RossThick-LiSparse model.

    rho(geometry) = f_iso + f_vol * K_vol + f_geo * K_geo

with the kernels of Wanner, Li & Strahler (1995) in the reciprocal form of Lucht, Schaaf & Strahler
(2000), h/b = 2 and b/r = 1. The world's reflectance is that seen from the zenith under the day's
sun; in another geometry it is multiplied by rho(geometry) / rho(zenith view, day's sun).

The parameters per band are the global means of Roy et al. (2016), and of Roy et al. (2017) at the
red edge. Classes depart from them: crowns cast more shadow (K_geo), swards scatter more in their
volume (K_vol), open water has neither. These factors are plausible, not fitted to data, so that a
correction with the global parameters is right in the mean and wrong for a class, as it is outside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.world.classes import CODES
from earthloom.world.spectra import BANDS
from earthloom.world.sun import Sun

Doubles = NDArray[np.float64]

_ISO = np.array([0.0774, 0.1306, 0.1690, 0.2085, 0.2316, 0.2599, 0.3093, 0.3093, 0.3430, 0.2658])
_VOL = np.array([0.0372, 0.0580, 0.0574, 0.0845, 0.1003, 0.1197, 0.1535, 0.1535, 0.1154, 0.0639])
_GEO = np.array([0.0079, 0.0178, 0.0227, 0.0256, 0.0273, 0.0294, 0.0330, 0.0330, 0.0453, 0.0387])

# Factors of the volume and the geometric parameter by class.
_CLASS_FACTORS = {
    "water": (0.0, 0.0),
    "built-up": (0.6, 1.3),
    "broadleaf forest": (1.2, 1.1),
    "needleleaf forest": (0.9, 1.6),
    "shrubland": (1.0, 1.2),
    "grassland": (1.1, 0.6),
    "winter cereal": (1.1, 0.8),
    "maize": (1.1, 1.1),
    "rapeseed": (1.1, 0.8),
    "bare ground": (0.7, 1.0),
    "wetland": (1.0, 0.7),
}

_CROWN_HEIGHT = 2.0
"""h/b: height of the crowns' middle over their half height."""
_STEEPEST = 75.0
"""Degrees; the model holds up to here, and larger zenith angles are taken as this one."""


@dataclass(frozen=True)
class Geometry:
    """Where the sun and the sensor stand as seen from the ground, degrees."""

    sun: Sun
    view_zenith: float = 0.0
    view_azimuth: float = 0.0
    """Of the direction towards the sensor, clockwise from north."""

    @property
    def relative_azimuth(self) -> float:
        """Between sun and sensor, 0 where the sun stands behind the sensor."""
        return self.view_azimuth - self.sun.azimuth


@dataclass(frozen=True)
class Kernels:
    """Values of the two kernels; both are 0 for sun and sensor in the zenith."""

    volume: float
    geometric: float


def kernels(geometry: Geometry) -> Kernels:
    """RossThick and LiSparse-reciprocal of a geometry."""
    sun, view = (
        np.radians(min(zenith, _STEEPEST)) for zenith in (geometry.sun.zenith, geometry.view_zenith)
    )
    turn = np.radians(geometry.relative_azimuth)
    phase_cos = np.cos(sun) * np.cos(view) + np.sin(sun) * np.sin(view) * np.cos(turn)
    phase = np.arccos(np.clip(phase_cos, -1, 1))
    volume = ((np.pi / 2 - phase) * np.cos(phase) + np.sin(phase)) / (np.cos(sun) + np.cos(view))
    secants = 1 / np.cos(sun) + 1 / np.cos(view)
    product = np.tan(sun) * np.tan(view)
    apart = np.tan(sun) ** 2 + np.tan(view) ** 2 - 2 * product * np.cos(turn)
    reach = np.sqrt(np.maximum(apart, 0) + (product * np.sin(turn)) ** 2)
    overlap_cos = np.clip(_CROWN_HEIGHT * reach / secants, -1, 1)
    angle = np.arccos(overlap_cos)
    overlap = (angle - np.sin(angle) * overlap_cos) * secants / np.pi
    lit = 0.5 * (1 + np.cos(phase)) / (np.cos(sun) * np.cos(view))
    return Kernels(float(volume - np.pi / 4), float(overlap - secants + lit))


def anisotropy(geometry: Geometry, reference: Geometry) -> Doubles:
    """Reflectance in a geometry over that in another, (class code from 0, band of `BANDS`).

    Row 0 stands for no class and is 1.
    """
    here, there = kernels(geometry), kernels(reference)
    ratio = np.ones((max(CODES.values()) + 1, len(BANDS)))
    for name, (volume, geometric) in _CLASS_FACTORS.items():
        above = _ISO + volume * _VOL * here.volume + geometric * _GEO * here.geometric
        below = _ISO + volume * _VOL * there.volume + geometric * _GEO * there.geometric
        ratio[CODES[name]] = above / below
    return ratio
