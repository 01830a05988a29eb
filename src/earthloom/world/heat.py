"""Surface temperature in the morning: a simple balance of season, sun, water and plants.

    T = air + height + heating * direct sun on the slope * (1 - 0.85 * plants) * (1 - 0.5 * wetness)

The air follows a yearly wave of central Europe and a daily anomaly, and cools by 6.5 K per km. Bare
dry ground under a high sun is some 20 K warmer than the air in the middle of the morning, a closed
canopy some 3 K; the plants' part of a pixel is taken from NDVI (Carlson & Ripley 1997). Open water
follows the season late and hardly warms. All values are plausible, none is fitted to data; there is
no memory of the night, no wind, and no emissivity.
"""

import numpy as np
from numpy.typing import NDArray

from earthloom.world.sun import Sun
from earthloom.world.surface import Conditions

Floats = NDArray[np.float32]

_MEAN, _SWING = 282.5, 10.5
"""K; yearly mean and half the span of the air in the morning."""
_WARMEST, _WARMEST_WATER = 200, 225
"""Days of the year."""
_ANOMALY = 3.0
"""K, standard deviation of a day."""
_LAPSE = 0.0065
"""K/m."""
_HEATING = 21.0
"""K that dry bare ground gains under a sun in the zenith."""


def air_temperature(day: float) -> float:
    """Mean air temperature (K) at sea level in the morning of a day of the year."""
    return float(_MEAN + _SWING * np.cos(2 * np.pi * (day - _WARMEST) / 365.25))


def surface_temperature(
    conditions: Conditions,
    sun: Sun,
    anomaly: float,
    elevation: Floats,
    relief: Floats,
    reflectance: tuple[Floats, Floats, Floats],
) -> Floats:
    """Temperature (rows, cols) of the surface, K.

    `anomaly` is the day's standard normal score, `relief` the illumination relative to level
    ground, `reflectance` red, near infrared and short-wave infrared.
    """
    red, near, infrared = reflectance
    ndvi = (near - red) / np.maximum(near + red, 1e-3)
    plants = np.clip((ndvi - 0.1) / 0.75, 0, 1) ** 2
    direct = np.clip(np.sin(np.radians(sun.elevation)), 0, 1) * np.clip(relief, 0, 1.6)
    dry = 1 - 0.5 * conditions.wetness
    air = air_temperature(conditions.day) + _ANOMALY * anomaly - _LAPSE * elevation
    land = air + _HEATING * direct * (1 - 0.85 * plants) * dry
    wave = np.cos(2 * np.pi * (conditions.day - _WARMEST_WATER) / 365.25)
    water = np.maximum(_MEAN + 0.8 * _SWING * wave + 0.6 * _ANOMALY * anomaly, 273.4)
    # Open water is dark in the infrared; mixed pixels lie between.
    open_water = np.clip((0.06 - infrared) / 0.04, 0, 1) * (ndvi < 0.3)
    return np.asarray(open_water * water + (1 - open_water) * land, dtype=np.float32)
