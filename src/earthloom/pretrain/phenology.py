"""Made-up kinds of land, each a way in which a pixel changes in a year.

A kind is a point among normal random numbers; the numbers become shares, days and reflectances by
their distribution function. Kinds of one family lie close together, and pixels of a kind lie around
it: so some kinds are told apart by much, others by little, and nothing but the measure of these
distances says which difference counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

Floats = NDArray[np.float64]

YEAR = 365.2425
_SEASONS = 3
"""Of growth, that a year may have."""
_FAMILY = 4
"""Kinds of one family, on average."""

_RANGES: dict[str, tuple[float, float]] = {
    "evergreen": (-0.6, 0.95),
    "trend": (-0.1, 0.1),
    "event": (-1.5, 1.0),
    "event_day": (0.0, 1.0),
    "event_memory": (20.0, 400.0),
    "shade": (-0.6, 0.25),
    "wet": (-1.6, 0.6),
    "wet_day": (0.0, 1.0),
    "wet_length": (15.0, 120.0),
    "leaf_red": (0.02, 0.06),
    "leaf_nir": (0.22, 0.5),
    "leaf_blue": (0.01, 0.03),
    "leaf_mir": (0.03, 0.12),
    "soil_red": (0.06, 0.25),
    "soil_slope": (1.05, 1.7),
    "soil_blue": (0.3, 0.65),
    "soil_mir": (1.2, 2.2),
}
_OF_A_SEASON: dict[str, tuple[float, float]] = {
    "amplitude": (-0.6, 1.4),
    "onset": (0.0, 1.0),
    "length": (40.0, 240.0),
    "rise": (4.0, 30.0),
    "fall": (4.0, 40.0),
}
RANGES = _RANGES | {
    f"{name}_{season}": bounds
    for season in range(_SEASONS)
    for name, bounds in _OF_A_SEASON.items()
}
"""From where to where each number goes; days are shares of the year, lengths days. What is below 0
is none at all."""
_LEAF = ("leaf_red", "leaf_nir", "leaf_blue", "leaf_mir")


@dataclass(frozen=True)
class Kinds:
    """Some kinds, and how much pixels of each differ."""

    middles: Floats
    """(K, P) normal numbers, in the order of `RANGES`."""
    spread: Floats
    """(K, 1)."""


def draw_kinds(count: int, random: np.random.Generator) -> Kinds:
    """Kinds in families, each of its own closeness."""
    families = max(count // _FAMILY, 1)
    family = random.integers(families, size=count)
    parents = random.standard_normal((families, len(RANGES)))
    apart = random.uniform(0.2, 0.9, (families, 1))[family]
    own = random.standard_normal((count, len(RANGES)))
    middles = np.sqrt(1 - apart**2) * parents[family] + apart * own
    return Kinds(middles, random.uniform(0.05, 0.35, (count, 1)))


def draw_pixels(kinds: Kinds, which: NDArray[np.intp], random: np.random.Generator) -> Floats:
    """(N, P) normal numbers of pixels of kinds (N,)."""
    noise = random.standard_normal((len(which), kinds.middles.shape[1]))
    return kinds.middles[which] + kinds.spread[which] * noise


def reflectance_of(pixels: Floats, days: Floats) -> Floats:
    """(N, T, 4) red, near infrared, blue and shortwave infrared of pixels (N, P) on days (T,) since
    a New Year."""
    low, high = np.array(list(RANGES.values())).T
    values = low + (high - low) * ndtr(pixels)
    own = {name: values[:, at, None] for at, name in enumerate(RANGES)}
    green = _green(own, days)[..., None]
    leaf = np.stack([own[name] for name in _LEAF], axis=-1)
    red = own["soil_red"]
    soil = np.stack(
        [red, red * own["soil_slope"], red * own["soil_blue"], red * own["soil_mir"]], axis=-1
    )
    seen = green * leaf + (1 - green) * soil
    water = np.maximum(own["wet"], 0) * _pulse(days, own["wet_day"], own["wet_length"], 5.0, 8.0)
    dark = (1 - np.maximum(own["shade"], 0))[..., None]
    found: Floats = dark * (seen * (1 - 0.9 * water[..., None]) + 0.02 * water[..., None])
    return found


def _green(own: dict[str, Floats], days: Floats) -> Floats:
    """(N, T) share of a pixel that is under leaves."""
    green = np.maximum(own["evergreen"], 0) + own["trend"] * (days / YEAR - 0.5)
    for season in range(_SEASONS):
        onset, length, rise, fall = (
            own[f"{name}_{season}"] for name in ("onset", "length", "rise", "fall")
        )
        amplitude = np.clip(own[f"amplitude_{season}"], 0, 1)
        green = green + (1 - green) * amplitude * _pulse(days, onset, length, rise, fall)
    since = days - YEAR * own["event_day"]
    lasting = np.exp(-np.maximum(since, 0) / own["event_memory"]) * expit(since / 4.0)
    left: Floats = np.clip(green * (1 - np.clip(own["event"], 0, 1) * lasting), 0, 1)
    return left


def _pulse(
    days: Floats, onset: Floats, length: Floats, rise: Floats | float, fall: Floats | float
) -> Floats:
    """(N, T) up to 1 from an onset, a share of the year, for some days (double logistic curves:
    Beck et al. 2006); the end of a year goes on at its beginning."""
    found = np.zeros((len(onset), len(days)))
    for lap in (-1, 0, 1):
        since = (days - YEAR * onset) % YEAR + lap * YEAR
        found = np.maximum(found, expit(since / rise) * expit((length - since) / fall))
    return found
