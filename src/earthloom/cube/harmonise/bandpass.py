"""Makes one instrument's bands look like another's: linear fits between equivalent bands.

The coefficients stand in `bandpass.toml` with their sources (Claverie et al. 2018 for Sentinel-2,
Roy et al. 2016 for Landsat 7). All of them lead to the bands of Landsat 8; the way to another
platform goes there and back by the inverse of that platform's own fit.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import DataError, choices
from earthloom.sensors import Band

Floats = NDArray[np.float32]

HUB = "landsat-8"
"""The platform to which all published coefficients lead."""

_TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Line:
    """y = slope * x + offset, both reflectance (unit 1)."""

    slope: float
    offset: float

    def inverse(self) -> "Line":
        """The line from y back to x."""
        return Line(1 / self.slope, -self.offset / self.slope)

    def then(self, after: "Line") -> "Line":
        """This line, and another one on its result."""
        return Line(after.slope * self.slope, after.slope * self.offset + after.offset)


@cache
def lines() -> Mapping[str, Mapping[str, Line]]:
    """By platform, then by band's common name: the line that leads to `HUB`."""
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    found = {
        platform: MappingProxyType({name: Line(**line) for name, line in pair["bands"].items()})
        for pair in table["pairs"]
        for platform in pair["platforms"]
    }
    return MappingProxyType(found)


def line_of(band: Band, platform: str | None, to: str = HUB) -> Line | None:
    """The line that takes a band of one platform to the like band of another.

    None where no coefficient is published. DataError if `to` is a platform of no table.
    """
    if to not in lines():
        raise DataError(f"no band-pass table leads to '{to}'; known are: {choices(lines())}")
    if platform == to:
        return Line(1.0, 0.0)
    name = band.common_name or ""
    first = lines().get(platform or "", {}).get(name)
    second = lines()[to].get(name)
    return None if first is None or second is None else first.then(second.inverse())


def adjust(pixels: Floats, bands: Sequence[Band], platform: str | None, to: str = HUB) -> Floats:
    """Reflectance (C, H, W) as another platform would have measured it; NaN stays NaN.

    A band without a published coefficient stays as it is; `unadjusted` names those.
    """
    adjusted = pixels.copy()
    for image, band in zip(adjusted, bands, strict=True):
        line = line_of(band, platform, to)
        if line is not None:
            image *= np.float32(line.slope)
            image += np.float32(line.offset)
    return adjusted


def unadjusted(bands: Sequence[Band], platform: str | None, to: str = HUB) -> tuple[str, ...]:
    """Names of the bands for which no coefficient is published, so that `adjust` leaves them."""
    return tuple(band.name for band in bands if line_of(band, platform, to) is None)
