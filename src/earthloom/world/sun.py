"""Where the sun stands, and how relief turns towards it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sun:
    """Direction of the sun in degrees."""

    azimuth: float
    """Clockwise from north."""
    elevation: float
    """Above the horizon."""

    @property
    def zenith(self) -> float:
        """From the vertical, degrees."""
        return 90.0 - self.elevation


def sun_at(day: float, hour: float, latitude: float) -> Sun:
    """The sun on a day of the year at a local solar hour (Spencer 1971), latitude in degrees."""
    turn = 2 * np.pi * (day - 1) / 365
    declination = (
        0.006918
        - 0.399912 * np.cos(turn)
        + 0.070257 * np.sin(turn)
        - 0.006758 * np.cos(2 * turn)
        + 0.000907 * np.sin(2 * turn)
    )
    angle = np.radians(15 * (hour - 12))
    phi = np.radians(latitude)
    height = np.arcsin(
        np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(angle)
    )
    east = -np.cos(declination) * np.sin(angle)
    north = np.cos(phi) * np.sin(declination) - np.sin(phi) * np.cos(declination) * np.cos(angle)
    return Sun(float(np.degrees(np.arctan2(east, north)) % 360), float(np.degrees(height)))


def illumination(elevation: Floats, resolution: float, sun: Sun) -> Floats:
    """Cosine of the sun's angle to the slope over that to level ground, (rows, cols)."""
    south, east = np.gradient(elevation, resolution)
    zenith, azimuth = np.radians(sun.zenith), np.radians(sun.azimuth)
    # The normal of z = f(east, south) is (-df/deast, -df/dnorth, 1); north is minus south.
    towards_east = np.sin(zenith) * np.sin(azimuth)
    towards_north = np.sin(zenith) * np.cos(azimuth)
    cosine = (-east * towards_east + south * towards_north + np.cos(zenith)) / np.sqrt(
        1 + south**2 + east**2
    )
    return np.asarray(np.clip(cosine / np.cos(zenith), 0, 3), dtype=np.float32)
