"""Above-ground biomass of every piece of land and texture level."""

import numpy as np
from numpy.typing import NDArray

from earthloom.world.season import GROUND_LEVELS, LEVELS, VIGOUR_LEVELS, Growth, Pieces, growth_on

_WOODY = 18.0
"""t/ha; covers that can carry more do not lose their biomass with their leaves."""


def biomass_palette(pieces: Pieces, day: float) -> NDArray[np.float32]:
    """Dry matter (pieces, level), t/ha."""
    palette = np.zeros((pieces.count, LEVELS), np.float32)
    for growth in growth_on(pieces, day):
        stand = _stands(pieces, growth) * growth.cover.biomass
        palette[growth.index] = np.repeat(stand, GROUND_LEVELS.size, axis=1)
    return palette


def _stands(pieces: Pieces, growth: Growth) -> NDArray[np.float64]:
    """(n, vigour level) relative to the cover's full biomass."""
    cover, index = growth.cover, growth.index
    if cover.biomass >= _WOODY:
        # A stand's age shows in its mass more than in its leaves.
        age = 0.55 + 0.75 * pieces.tone[index, None]
        return age * np.exp(0.2 * pieces.vigour[index, None] + 0.18 * VIGOUR_LEVELS[None])
    full = max(float(cover.calendar.states[:, 0].max()), 0.1)
    return np.asarray(np.minimum(growth.leaf_area / full, 1.6), dtype=np.float64)
