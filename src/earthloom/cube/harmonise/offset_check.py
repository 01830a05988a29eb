"""Catches scenes whose Sentinel-2 offset is wrong, from their pixels.

Archives hold items that say an offset of -0.1 though it was taken off already, and items that say
none though it is in the numbers. Either way all bands are wrong by the same 0.1. The darkest pixels
of a scene (water, shadow) tell: reflectance near -0.09 does not exist, and land whose darkest
pixels are 0.1 brighter in every band than on all other dates does not either. Clouds, haze and
snow raise bands unequally.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from earthloom.sensors import Band

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

OFFSET = -0.1
"""That Sentinel-2 numbers need from processing baseline 04.00 on, reflectance."""

_LOW = 0.01
"""Share of the pixels that are darker than the `low` of a band."""
_LEAST_PIXELS = 400
_LEAST_BANDS = 3
_BRIGHTER = (0.08, 0.12)
"""A rise against other dates in this range is taken for the offset: haze is seldom that even."""
_DARKER = (0.06, 0.14)
"""So is a fall below 0, which nothing else makes; haze on other dates makes it look larger."""
_EVEN = 0.04
"""Range over the darkest bands within which they differ by one amount; clouds raise SWIR less."""
_DARKEST = 4
"""How many bands, darkest first, must agree: bright ones change with the season."""
_IMPOSSIBLE = -0.04
"""Reflectance below this in two bands does not come from atmospheric correction alone."""


@dataclass(frozen=True)
class SceneStatistics:
    """What the check needs to know of one scene over one place."""

    low: Mapping[str, float]
    """By band: the reflectance that 1 % of the seen pixels fall below."""
    pixels: int
    """How many pixels were seen."""
    offset: float
    """What was added to get to physical units, by what the item says; reflectance."""


@dataclass(frozen=True)
class OffsetFinding:
    """A scene whose offset looks wrong."""

    scene: str
    expected: float
    """The offset that the item says."""
    found: float
    """The offset that the pixels ask for."""
    suggestion: str
    """For a person, one line."""


def scene_statistics(
    pixels: Floats, seen: Mask, bands: Sequence[Band], offset: float
) -> SceneStatistics:
    """Statistics of physical reflectance (C, H, W) where `seen` (H, W) and not NaN.

    `offset` is the one that was applied to these bands. Bands that are not reflectance are left
    out.
    """
    there = seen & np.isfinite(pixels).all(axis=0)
    count = int(there.sum())
    low = {
        band.name: float(np.quantile(image[there], _LOW))
        for image, band in zip(pixels, bands, strict=True)
        if count and band.kind == "reflectance"
    }
    return SceneStatistics(MappingProxyType(low), count, offset)


def check_offsets(stats: Mapping[str, SceneStatistics]) -> list[OffsetFinding]:
    """Scenes of one place and one product whose offset looks wrong, in the order of their ids.

    A scene is judged by itself first, then against the others that look right. Scenes with too few
    pixels or bands are not judged.
    """
    usable = {
        name: each
        for name, each in sorted(stats.items())
        if each.pixels >= _LEAST_PIXELS and len(each.low) >= _LEAST_BANDS
    }
    findings = {name: _alone(each) for name, each in usable.items()}
    sound = {name: each for name, each in usable.items() if findings[name] is None}
    for name, each in usable.items():
        others = [other for key, other in sound.items() if key != name]
        if findings[name] is None:
            findings[name] = _beside(each, others)
    return [
        _finding(n, usable[n].offset, found) for n, found in findings.items() if found is not None
    ]


def _alone(scene: SceneStatistics) -> float | None:
    """The offset that a scene asks for by itself, None where it looks right or cannot tell.

    Land can be as bright as dark land and an offset are (deserts, haze), so only one error shows.
    """
    low = np.sort(list(scene.low.values()))
    return 0.0 if _has_offset(scene) and low[1] < _IMPOSSIBLE else None


def _beside(scene: SceneStatistics, others: Sequence[SceneStatistics]) -> float | None:
    """The offset that a scene asks for beside others of its place, at least two."""
    names = [name for name in scene.low if all(name in other.low for other in others)]
    if len(others) < 2 or len(names) < _LEAST_BANDS:
        return None
    low = np.array([scene.low[name] for name in names])
    beside = np.array([[other.low[name] for name in names] for other in others])
    # The lower one of the middle two: what is wrong with other dates (haze) makes them brighter.
    usual = np.quantile(beside, 0.5, axis=0, method="lower")
    apart = low - usual
    darkest = apart[np.argsort(usual)][:_DARKEST]
    middle = float(np.median(darkest))
    if np.ptp(darkest) > _EVEN:
        return None
    if _has_offset(scene):
        fell = _DARKER[0] <= -middle <= _DARKER[1]
        return 0.0 if fell and np.sort(low)[1] < 0 else None
    rose = _BRIGHTER[0] <= middle <= _BRIGHTER[1]
    return OFFSET if rose and np.sort(low + OFFSET)[1] > _IMPOSSIBLE else None


def _has_offset(scene: SceneStatistics) -> bool:
    return scene.offset < OFFSET / 2


def _finding(scene: str, expected: float, found: float) -> OffsetFinding:
    if found == 0.0:
        words = "its darkest pixels are near -0.1: the numbers hold no offset, so take 0"
    else:
        words = "all bands are 0.1 too bright: the numbers hold an offset, so take -0.1"
    return OffsetFinding(scene, expected, found, f"{scene}: {words} in place of {expected:g}")
