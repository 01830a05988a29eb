"""What the land reflects: canopy over ground, for every piece of land and texture level."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.world.canopy import CanopyTable, canopy_table
from earthloom.world.season import (
    GROUND_LEVELS,
    LEVELS,
    Growth,
    Pieces,
    growth_on,
)
from earthloom.world.spectra import BANDS, materials

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

_STRAW, _FLOWERS = 4, 5
_DARKENING = 0.085
"""How much wet ground is darker, per dB of its radar answer to moisture (Lobell & Asner 2002)."""


@dataclass(frozen=True)
class Conditions:
    """What a day has in common over the window."""

    day: float
    """Day of the year."""
    zenith: float
    """Of the sun, degrees."""
    wetness: float
    """Of the topsoil, 0 dry to 1 saturated."""
    wind: float
    """Score of the roughness of water, standard normal."""


def reflectance_palette(pieces: Pieces, conditions: Conditions) -> Floats:
    """Surface reflectance (pieces, level, band) of all pieces and texture levels.

    A level is vigour level * number of ground levels + ground level.
    """
    table = canopy_table(conditions.zenith)
    palette = np.zeros((pieces.count, LEVELS, len(BANDS)), np.float32)
    for growth in growth_on(pieces, conditions.day):
        ground = _ground(pieces, growth, conditions.wetness)
        plants = _plants(table, growth, ground)
        part = growth.vegetated.astype(np.float32)[:, :, None, None]
        shown = part * plants + (1 - part) * ground[:, None]
        palette[growth.index] = shown.reshape(len(growth.index), LEVELS, len(BANDS))
    return palette


def _ground(pieces: Pieces, growth: Growth, wetness: float) -> Floats:
    """Reflectance of the ground, (n, ground level, band)."""
    cover, index = growth.cover, growth.index
    first, second = (materials()[name] for name in cover.ground)
    mix = np.clip(pieces.tone[index, None] + cover.mottle * GROUND_LEVELS[None], 0, 1)[..., None]
    spectrum = (1 - mix) * first + mix * second
    score = pieces.brightness[index, None] + 4.5 * cover.mottle * GROUND_LEVELS[None]
    dry = 1 - _DARKENING * cover.radar.moisture * wetness
    spectrum = spectrum * np.exp(cover.brightness * score)[..., None] * dry
    straw = growth.state[:, _STRAW, None, None]
    return ((1 - straw) * spectrum + straw * materials()["straw"]).astype(np.float32)


def _plants(table: CanopyTable, growth: Growth, ground: Floats) -> Floats:
    """Reflectance of the vegetated part, (n, vigour level, ground level, band)."""
    state = growth.state
    leaves = table.leaves(state[:, 1], state[:, 2], state[:, 3])
    # The same leaf area stands on a smaller part of the pixel where plants are sparse.
    black, through, below = (part[:, :, None] for part in table.canopies(leaves, growth.leaf_area))
    soil = ground[:, None]
    shown = black + through * soil / (1 - soil * below)
    flowers = state[:, _FLOWERS, None, None, None].astype(np.float32)
    shown = (1 - flowers) * shown + flowers * materials()["petals"].astype(np.float32)
    closed = growth.leaf_area / (growth.leaf_area + 1.5)
    shadow = 1 - growth.cover.shade * closed
    return np.asarray(shown * shadow.astype(np.float32)[:, :, None, None], dtype=np.float32)
