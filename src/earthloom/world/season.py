"""The season of every piece of land: canopy and ground of each on a day, at several vigours.

A piece of land (field, stand, quarter) has traits of its own. Inside a piece, pixels differ by two
texture levels: vigour (leaf area, or how green a pixel is) and ground (brightness, mixture). What a
sensor measures is worked out once per piece and level and then looked up per pixel, so that a day's
image costs one gather.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.world.covers import Cover, covers
from earthloom.world.noise import Random

Doubles = NDArray[np.float64]

VIGOUR_LEVELS = np.linspace(-2.1, 2.1, 15)
"""Standard normal scores of the vigour texture."""

GROUND_LEVELS = np.array([-1.25, -0.4, 0.4, 1.25])
"""Standard normal scores of the ground texture."""

LEVELS = VIGOUR_LEVELS.size * GROUND_LEVELS.size
NEVER = 100_000
"""A day that does not come."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Traits of the pieces of land, each (pieces,); the scores are standard normal."""

    cover: NDArray[np.int32]
    """Place in `covers()` at first."""
    later: NDArray[np.int32]
    """Place in `covers()` from `start` until before `end`."""
    start: NDArray[np.int32]
    """Day of the year of the change, or NEVER."""
    end: NDArray[np.int32]
    """Day of the year on which the first cover is back, or NEVER."""
    timing: Doubles
    """Score: how early (negative) or late its calendar runs."""
    vigour: Doubles
    """Score."""
    brightness: Doubles
    """Score of the ground's brightness."""
    tone: Doubles
    """0 to 1: between its cover's two ground materials."""
    roughness: Doubles
    """Score: how strongly it scatters radar waves."""
    twin: NDArray[np.int32]
    """Place in `covers()` of the cover that it looks like in part; its own where there is none."""
    likeness: Doubles
    """That part, 0 to 1."""

    @property
    def count(self) -> int:
        return self.cover.size

    def cover_on(self, day: float) -> NDArray[np.int32]:
        """(pieces,) place in `covers()` on a day of the year."""
        changed = (self.start <= day) & (day < self.end)
        return np.where(changed, self.later, self.cover)


def draw_traits(rng: Random, cover: NDArray[np.int32]) -> Pieces:
    """Pieces with random traits and no change."""
    count = cover.size
    never = np.full(count, NEVER, np.int32)
    scores = np.clip(rng.standard_normal((4, count)), -2.5, 2.5)
    return Pieces(
        cover,
        cover.copy(),
        never,
        never,
        scores[0],
        scores[1],
        scores[2],
        rng.uniform(0, 1, count),
        scores[3],
        cover.copy(),
        np.zeros(count),
    )


@dataclass(frozen=True, eq=False)
class Growth:
    """Pieces of one cover on a day."""

    cover: Cover
    index: NDArray[np.int64]
    """(n,) which pieces."""
    state: Doubles
    """(n, 6) as in `Calendar`."""
    leaf_area: Doubles
    """(n, vigour level), m2/m2 of the vegetated part."""
    vegetated: Doubles
    """(n, vigour level), part of the pixel."""


def growth_on(pieces: Pieces, day: float) -> list[Growth]:
    """Every piece's canopy on a day of the year, by cover."""
    now = pieces.cover_on(day)
    return [
        _growth(pieces, cover, np.flatnonzero(now == place), day)
        for place, cover in enumerate(covers())
        if (now == place).any()
    ]


def _growth(pieces: Pieces, cover: Cover, index: NDArray[np.int64], day: float) -> Growth:
    state = cover.calendar.at(day - cover.timing * pieces.timing[index])
    vigour = np.exp(cover.vigour * pieces.vigour[index])
    grain = np.exp(cover.grain * VIGOUR_LEVELS)
    middle, spread = cover.vegetated
    # A piece as a whole can be sparser or denser than its cover's mean, too.
    part = middle + spread * (0.8 * VIGOUR_LEVELS[None] + 0.6 * pieces.vigour[index, None])
    return Growth(
        cover=cover,
        index=index,
        state=state,
        leaf_area=state[:, :1] * vigour[:, None] * grain[None],
        vegetated=np.clip(part, 0, 1),
    )
