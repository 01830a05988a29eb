"""What the land scatters back in C band: the water cloud model (Attema & Ulaby 1978).

    sigma = canopy * (1 - a) + ground * a,   a = exp(-closing * leaf area)

with levels per cover from `data/covers.toml`, in linear power, gamma nought.
"""

import numpy as np
from numpy.typing import NDArray

from earthloom.world.season import GROUND_LEVELS, LEVELS, Growth, Pieces, growth_on
from earthloom.world.surface import Conditions

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

POLARISATIONS = ("VV", "VH")
_ROUGHNESS = np.array([0.75, 0.65])
"""dB that a piece's roughness score adds to VV and VH."""


def backscatter_palette(pieces: Pieces, conditions: Conditions) -> Floats:
    """Gamma nought (pieces, level, polarisation) in linear power, without speckle."""
    palette = np.zeros((pieces.count, LEVELS, 2), np.float32)
    for growth in growth_on(pieces, conditions.day):
        palette[growth.index] = _pieces_of(pieces, growth, conditions)
    return palette


def _pieces_of(pieces: Pieces, growth: Growth, conditions: Conditions) -> Floats:
    """(n, level, polarisation) of the pieces of one cover."""
    radar = growth.cover.radar
    score = pieces.roughness[growth.index]
    ground = np.asarray(radar.ground) + np.array([1.0, 0.8]) * radar.moisture * conditions.wetness
    if growth.cover.ground[1].endswith("water"):
        ground = ground + np.array([1.6, 0.9]) * conditions.wind
    texture = 0.35 if radar.moisture else 0.9
    ground = ground + score[:, None, None] * _ROUGHNESS + texture * GROUND_LEVELS[:, None]
    canopy = np.asarray(radar.canopy) + 0.5 * score[:, None] * _ROUGHNESS
    # Brown, dry plants hold little water and scatter less.
    dryness = np.clip(growth.state[:, 3] - 0.3, 0, 1.2)
    alive = np.exp(-0.35 * dryness)[:, None, None]
    area = (growth.leaf_area * growth.vegetated)[:, :, None]
    closed = 1 - np.exp(-np.asarray(radar.closing) * area * alive)
    power = (
        closed[:, :, None, :] * _linear(canopy)[:, None, None, :]
        + (1 - closed[:, :, None, :]) * _linear(ground)[:, None, :, :]
    )
    return power.reshape(len(growth.index), LEVELS, 2).astype(np.float32)


def _linear(decibel: Doubles) -> Doubles:
    return np.asarray(10.0 ** (decibel / 10), dtype=np.float64)
