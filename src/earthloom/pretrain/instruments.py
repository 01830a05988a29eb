"""Which instruments look at the simulated Earth, and what they make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from earthloom.pretrain.landscape import Landscape, Patch
from earthloom.sample import LayerSpec
from earthloom.sensors import load_sensor
from earthloom.world import BANDS, WAVELENGTH, block_mean, instruments

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_LOOKS = 4.4
"""Equivalent number of looks of Sentinel-1 IW GRDH (ESA product specification)."""
_NOISE_FLOOR = 0.0012
"""Linear power that the receiver adds."""
_ABSORBED_NM = ((1340.0, 1460.0), (1790.0, 1980.0))
"""Where water vapour leaves no light."""
_NARROW_BANDS = 32


@dataclass(frozen=True)
class Seen:
    """One date of a layer."""

    pixels: Floats
    """(C, h, w) in the layer's unit."""
    valid: Mask
    """(h, w)."""


class Instrument(Protocol):
    """Makes one layer; a frozen dataclass."""

    pool: ClassVar[str]
    """Which of a landscape's days it has: one of `Landscape.days`."""

    @property
    def spec(self) -> LayerSpec: ...

    def look(
        self, land: Landscape, day: int, patch: Patch, random: np.random.Generator
    ) -> Seen: ...


@dataclass(frozen=True, eq=False)
class Msi:
    """Bands of Sentinel-2, in whose bands the world is made."""

    pool: ClassVar[str] = "first"
    spec: LayerSpec

    def look(self, land: Landscape, day: int, patch: Patch, random: np.random.Generator) -> Seen:
        seen, valid = land.optical(day, self.pool, patch)
        chosen = seen[[BANDS.index(band) for band in self.spec.bands]]
        return _optical(chosen, valid, self.spec.factor, random)


@dataclass(frozen=True, eq=False)
class Mixed:
    """Bands that are weighted sums of Sentinel-2's, at another time of the day."""

    pool: ClassVar[str] = "second"
    spec: LayerSpec
    weights: NDArray[np.float32]
    """(C, 10) of `BANDS`."""

    def look(self, land: Landscape, day: int, patch: Patch, random: np.random.Generator) -> Seen:
        seen, valid = land.optical(day, self.pool, patch)
        coarse = block_mean(seen, self.spec.factor)
        clear = block_mean(valid.astype(np.float32), self.spec.factor) > 0.99
        made = np.tensordot(self.weights, coarse, axes=1)
        return Seen(_noisy(made, random), clear)


@dataclass(frozen=True, eq=False)
class Radar:
    """VV and VH with speckle (gamma distributed: Goodman 1976)."""

    pool: ClassVar[str] = "radar"
    spec: LayerSpec

    def look(self, land: Landscape, day: int, patch: Patch, random: np.random.Generator) -> Seen:
        power = land.backscatter(day, patch) + np.float32(_NOISE_FLOOR)
        speckle = random.standard_gamma(_LOOKS, power.shape, dtype=np.float32) / np.float32(_LOOKS)
        return Seen(power * speckle, np.ones(power.shape[1:], np.bool_))


@dataclass(frozen=True, eq=False)
class Height:
    """The ground's elevation."""

    pool: ClassVar[str] = "static"
    spec: LayerSpec

    def look(self, land: Landscape, day: int, patch: Patch, random: np.random.Generator) -> Seen:
        coarse = block_mean(patch.of(land.world.elevation)[None], self.spec.factor)
        noise = random.standard_normal(coarse.shape, dtype=np.float32)
        return Seen(coarse + noise, np.ones(coarse.shape[1:], np.bool_))


def known_instruments() -> Mapping[str, Instrument]:
    """All of them by the names under which a configuration asks for them."""
    fine, coarse = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12")
    return {
        "sentinel-2-10m": Msi(_msi(10, fine, 5)),
        "sentinel-2-20m": Msi(_msi(20, coarse, 5)),
        "sentinel-1": Radar(
            LayerSpec("sentinel-1-rtc", 10, ("vv", "vh"), "linear power", _dates(4), (None, None))
        ),
        "landsat": _mixed("landsat-oli-c2-l2", "oli", 3, 3),
        "modis": _mixed("modis-mod09ga", "modis", 24, 6),
        "enmap": _narrow("enmap-l2a", 3, 2),
        "elevation": Height(
            LayerSpec("cop-dem-glo-30", 30, ("elevation",), "m", ("static",), (None,), 3)
        ),
    }


def _dates(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(1, count + 1))


def _msi(gsd: int, bands: tuple[str, ...], dates: int) -> LayerSpec:
    wavelengths = tuple(float(WAVELENGTH[BANDS.index(band)]) for band in bands)
    return LayerSpec("sentinel-2-l2a", gsd, bands, "1", _dates(dates), wavelengths, gsd // 10)


def _mixed(sensor: str, name: str, factor: int, dates: int) -> Mixed:
    own = instruments()[name]
    wavelengths = tuple(float(centre) for centre in own.centre)
    spec = LayerSpec(sensor, 10 * factor, own.bands, "1", _dates(dates), wavelengths, factor)
    return Mixed(spec, own.weights.astype(np.float32))


def _narrow(sensor: str, factor: int, dates: int) -> Mixed:
    """Some bands of an imaging spectrometer, between Sentinel-2's own in a straight line."""
    known = [
        (band.name, band.wavelength_nm)
        for band in load_sensor(sensor).bands
        if band.wavelength_nm is not None and _is_lit(band.wavelength_nm)
    ]
    at = np.linspace(0, len(known) - 1, _NARROW_BANDS).round().astype(int)
    names, centres = zip(*(known[number] for number in at), strict=True)
    spec = LayerSpec(sensor, 10 * factor, names, "1", _dates(dates), centres, factor)
    each = [np.interp(centres, WAVELENGTH, one) for one in np.eye(len(BANDS))]
    return Mixed(spec, np.stack(each, axis=1).astype(np.float32))


def _is_lit(wavelength: float) -> bool:
    inside = WAVELENGTH[0] <= wavelength <= WAVELENGTH[-1]
    return bool(inside) and not any(low < wavelength < high for low, high in _ABSORBED_NM)


def _optical(seen: Floats, valid: Mask, factor: int, random: np.random.Generator) -> Seen:
    if factor > 1:
        seen = block_mean(seen, factor)
        valid = block_mean(valid.astype(np.float32), factor) > 0.99
    return Seen(_noisy(seen, random), valid)


def _noisy(image: Floats, random: np.random.Generator) -> Floats:
    """With the instrument's noise: 0.0008, and 0.4 % of the signal."""
    noise = random.standard_normal(image.shape, dtype=np.float32)
    added = noise * (np.float32(0.0008) + np.float32(0.004) * np.abs(image))
    return np.asarray(image + added, np.float32)
