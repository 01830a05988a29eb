"""Which pixels of an observation did not show the ground: pure functions of arrays.

A product's quality band says what lies over a pixel; a rule of the project says which of that hides
the ground, and how far around it nothing is to be trusted either. A cloud detector may be named
for what the quality band misses.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from earthloom.errors import ProjectError, choices
from earthloom.sensors import HIDES, Band, Meaning, Quality

_SHIFTS_LIMIT = 150
"""Pixels of radius above which a distance transform is faster than shifted copies."""
_TABLE_LIMIT = np.dtype(np.uint16).itemsize
"""Bytes of a stored number up to which all its values fit a table."""
_ROUNDING = 1e-9
"""Relative; 60 m are three pixels of 20 m, whatever floating point makes of it."""


@dataclass(frozen=True)
class MaskRule:
    """What hides the ground, as a project says it."""

    hide: frozenset[Meaning] = HIDES
    """Meanings of the quality band under which a pixel counts as not seen."""
    dilate_m: Mapping[Meaning, float] = field(default_factory=dict)
    """Metres around pixels of a meaning that are hidden as well; 0 where none is named."""
    hook: str | None = None
    """The name of a cloud detector (`earthloom.cube.clouds`) that hides pixels besides."""
    least_probability: float = 0.5
    """Of the detector's, from which on a pixel counts as hidden."""

    def __post_init__(self) -> None:
        wrong = [f"{each} {m:g}" for each, m in self.dilate_m.items() if not 0 <= m < math.inf]
        if wrong:
            raise ProjectError(f"dilate_m must be 0 metres or more, not {choices(wrong)}")
        idle = sorted(set(self.dilate_m) - self.hide)
        if idle:
            raise ProjectError(
                f"dilate_m names {choices(idle)}, which the rule does not hide; "
                f"hidden are: {choices(sorted(self.hide))}"
            )
        if not 0 < self.least_probability <= 1:
            raise ProjectError(
                f"least_probability {self.least_probability:g} is not above 0 and at most 1"
            )

    def by_distance(self) -> dict[float, frozenset[Meaning]]:
        """The hidden meanings by the metres that they are dilated by."""
        distances = {meaning: self.dilate_m.get(meaning, 0.0) for meaning in self.hide}
        return {
            metres: frozenset(m for m, each in distances.items() if each == metres)
            for metres in sorted(set(distances.values()))
        }


def rule_of(quality: Quality) -> MaskRule:
    """What a product's own table hides, not dilated."""
    return MaskRule(hide=quality.hides)


def margin_pixels(rule: MaskRule, pixel_m: float) -> int:
    """By how many pixels a window of the quality band must be wider on each side, so that clouds
    beside it are dilated into it; what is cut back (`inner`) is then the same for every tiling."""
    return max((reach_of(metres, pixel_m) for metres in rule.dilate_m.values()), default=0)


def inner(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """A mask (H, W) without its margin: (H - 2 margin, W - 2 margin)."""
    rows, cols = mask.shape
    return mask[margin : rows - margin, margin : cols - margin]


def unseen(
    stored: NDArray[np.integer],
    there: NDArray[np.bool_],
    quality: Quality,
    rule: MaskRule,
    pixel_m: float,
) -> NDArray[np.bool_]:
    """(H, W): True where a quality band says that the ground was hidden.

    `stored` (H, W) holds the band's numbers, of an integer dtype, on square pixels of `pixel_m`
    metres; `there` (H, W) says where the band has any. Where it has none, nothing is known and the
    pixel is hidden; it counts as `fill`, and is dilated as that is.
    Each meaning is dilated by its metres: hidden are pixels whose centre lies within so many metres
    of the centre of a pixel of that meaning.
    """
    hidden = ~there
    for metres, meanings in rule.by_distance().items():
        found = _says(stored, quality, meanings & quality.meanings) & there
        if "fill" in meanings and metres > 0:
            found |= ~there
        hidden |= dilated(found, metres, pixel_m)
    return hidden


def dilated(mask: NDArray[np.bool_], metres: float, pixel_m: float) -> NDArray[np.bool_]:
    """A mask (H, W) grown by a disc: True where the centre of a True pixel lies within so many
    metres (square pixels of `pixel_m` metres). Outside of the mask nothing is True."""
    reach = reach_of(metres, pixel_m)
    if reach == 0 or not mask.any():
        return mask.copy()
    if reach > _SHIFTS_LIMIT:
        limit = metres / pixel_m * (1 + _ROUNDING)
        near: NDArray[np.bool_] = distance_transform_edt(~mask) <= limit
        return near
    return _by_shifts(mask, _half_widths(metres / pixel_m))


def reach_of(metres: float, pixel_m: float) -> int:
    """The most pixels along a row that lie within so many metres."""
    return int(metres / pixel_m * (1 + _ROUNDING))


def out_of_range(pixels: NDArray[np.float32], band: Band) -> int:
    """How many pixels (any shape, physical values, NaN where nothing was seen) lie outside what
    the product's definition allows; 0 where the band names no range. Nothing is changed."""
    if band.valid_range is None:
        return 0
    low, high = band.valid_range
    # NaN is neither below nor above.
    return int(np.count_nonzero((pixels < low) | (pixels > high)))


def _says(
    stored: NDArray[np.integer], quality: Quality, meanings: frozenset[Meaning]
) -> NDArray[np.bool_]:
    """`quality.where`, by a table of all values where the dtype has few."""
    if not meanings:
        return np.zeros(stored.shape, np.bool_)
    if stored.dtype.kind != "u" or stored.dtype.itemsize > _TABLE_LIMIT:
        return quality.where(stored, meanings)
    said: NDArray[np.bool_] = _table(quality, meanings, 8 * stored.dtype.itemsize)[stored]
    return said


@lru_cache(maxsize=64)
def _table(quality: Quality, meanings: frozenset[Meaning], bits: int) -> NDArray[np.bool_]:
    return quality.where(np.arange(1 << bits), meanings)


def _half_widths(radius: float) -> list[int]:
    """Of each row of a disc from its middle on: how many pixels it reaches to either side."""
    square = (radius * (1 + _ROUNDING)) ** 2
    return [math.isqrt(int(square - down * down)) for down in range(int(math.sqrt(square)) + 1)]


def _by_shifts(mask: NDArray[np.bool_], half_widths: list[int]) -> NDArray[np.bool_]:
    """A disc is a pile of rows: the mask is widened step by step along rows, and laid over itself
    as many rows higher and lower as the disc has rows of that width."""
    out = np.zeros_like(mask)
    wide, width = mask.copy(), 0
    for down in reversed(range(len(half_widths))):
        while width < half_widths[down]:
            width += 1
            wide[:, width:] |= mask[:, :-width]
            wide[:, :-width] |= mask[:, width:]
        _lay_over(out, wide, down)
    return out


def _lay_over(out: NDArray[np.bool_], mask: NDArray[np.bool_], down: int) -> None:
    """Adds a mask moved up, and moved down, by some rows."""
    if down == 0:
        out |= mask
        return
    out[down:] |= mask[:-down]
    out[:-down] |= mask[down:]
