"""Scenes of one pass to one look at the ground, and their images to one image."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import cos, hypot, radians

import numpy as np
import shapely
from numpy.typing import NDArray

from earthloom.archive import Scene
from earthloom.grid import outline_of_bounds

PASS = timedelta(minutes=30)
"""Scenes of a platform that follow one another by no more belong to one pass; the next orbit
comes after some 100 minutes."""

SAME_TIME = timedelta(minutes=1)
"""Two processings of the same scene may state times that differ by so much."""

SAME_GROUND = 0.9
"""The share of a scene that newer ones must cover to stand in for it."""


@dataclass(frozen=True)
class Acquisition:
    """One look at the ground: what one sensor saw on one pass."""

    sensor: str
    day: date
    """The solar day."""
    time: datetime
    """Of its first scene, UTC."""
    scenes: tuple[Scene, ...]
    """By priority: where two of them show a pixel, the first one counts."""
    superseded: tuple[Scene, ...]
    """Older processings, and copies, of scenes that are in it; they are not read."""


def acquisitions(
    scenes: Sequence[Scene],
    middle: tuple[float, float] | None = None,
    zone: str = "",
) -> tuple[Acquisition, ...]:
    """Scenes as acquisitions, in the order of their times; each scene is in one of them.

    Scenes of one sensor, solar day, platform and place that follow one another within `PASS` are
    one look at the ground, whatever the tiles that a provider cuts it into. Within it, a scene that
    newer versions of the same tile and time cover is superseded. The order in which scenes are
    given does not matter.

    `middle` is the longitude and latitude of the area's middle and `zone` the two digits of its
    UTM zone: scenes whose tile is in that zone go first (their pixels are not resampled), then
    those whose middle is nearest; last by tile and id.
    """
    found = [
        _acquisition(group, middle, zone)
        for alike in _alike(scenes).values()
        for group in _passes(alike)
    ]
    return tuple(sorted(found, key=lambda each: (each.time, each.sensor, each.scenes[0].id)))


def mosaic(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """One image (C, H, W) from images (N, C, H, W) by priority, in which NaN was not seen.

    A pixel is that of the first image that has all of its bands, else of the first that has any:
    the bands of a pixel always come from one image. NaN where none has it.
    """
    chosen = chosen_image(stack)
    image: NDArray[np.float32] = np.take_along_axis(
        stack, np.maximum(chosen, 0)[None, None], axis=0
    )[0]
    return np.where(chosen >= 0, image, np.float32(np.nan))


def chosen_image(stack: NDArray[np.float32]) -> NDArray[np.int16]:
    """Which image of a stack (N, C, H, W) a mosaic takes each pixel from, (H, W); -1 for none."""
    count, _, rows, cols = stack.shape
    chosen = np.full((rows, cols), -1, np.int16)
    partly = chosen.copy()
    for number in range(count - 1, -1, -1):
        missing = np.isnan(stack[number])
        chosen[~missing.any(axis=0)] = number
        partly[~missing.all(axis=0)] = number
    return np.where(chosen >= 0, chosen, partly)


def _alike(scenes: Sequence[Scene]) -> dict[tuple[str, ...], list[Scene]]:
    """Scenes that one pass may hold, each group by time."""
    groups: dict[tuple[str, ...], list[Scene]] = defaultdict(list)
    for scene in sorted(scenes, key=_identity):
        key = (scene.sensor, scene.day.isoformat(), scene.platform or "", scene.place)
        groups[key].append(scene)
    return groups


def _passes(scenes: Sequence[Scene]) -> Iterator[list[Scene]]:
    """Scenes in the order of their times, cut where more than `PASS` lies between two."""
    group: list[Scene] = []
    for scene in scenes:
        if group and scene.time - group[-1].time > PASS:
            yield group
            group = []
        group.append(scene)
    yield group


def _acquisition(
    scenes: Sequence[Scene], middle: tuple[float, float] | None, zone: str
) -> Acquisition:
    kept: list[Scene] = []
    superseded: list[Scene] = []
    for scene in sorted(scenes, key=lambda each: each.version, reverse=True):
        (superseded if _replaced(scene, kept) else kept).append(scene)
    kept.sort(key=lambda scene: _priority(scene, middle, zone))
    return Acquisition(
        sensor=scenes[0].sensor,
        day=scenes[0].day,
        time=min(scene.time for scene in kept),
        scenes=tuple(kept),
        superseded=tuple(sorted(superseded, key=_identity)),
    )


def _replaced(scene: Scene, kept: Sequence[Scene]) -> bool:
    """Whether scenes of a newer version, or the scene itself, are there already."""
    newer = [other for other in kept if _same_target(scene, other)]
    if any(other.id == scene.id and other.version == scene.version for other in newer):
        return True
    newer = [other for other in newer if other.version > scene.version]
    if not newer:
        return False
    if scene.bounds is None or any(other.bounds is None for other in newer):
        return bool(scene.tile)
    own = outline_of_bounds(scene.bounds)
    theirs = shapely.union_all([outline_of_bounds(other.bounds) for other in newer if other.bounds])
    covered = own.area == 0 or own.intersection(theirs).area >= SAME_GROUND * own.area
    return bool(covered)


def _same_target(scene: Scene, other: Scene) -> bool:
    """Whether two scenes may show the same: one tile, where tiles are known, at one time."""
    return scene.tile == other.tile and abs(scene.time - other.time) <= SAME_TIME


def _priority(
    scene: Scene, middle: tuple[float, float] | None, zone: str
) -> tuple[bool, float, str, tuple[str, ...]]:
    other_zone = bool(zone and scene.tile) and not scene.tile.startswith(zone)
    return other_zone, _distance(scene, middle), scene.tile, _identity(scene)


def _distance(scene: Scene, middle: tuple[float, float] | None) -> float:
    """Degrees between the middle of a scene and that of the area; 0 where one is not known.

    Rounded to a ten-thousandth, so that the order does not hang on rounding.
    """
    if middle is None or scene.bounds is None:
        return 0.0
    west, south, east, north = scene.bounds
    if east < west:
        east += 360
    across = ((west + east) / 2 - middle[0] + 180) % 360 - 180
    return round(hypot(across * cos(radians(middle[1])), (south + north) / 2 - middle[1]), 4)


def _identity(scene: Scene) -> tuple[str, ...]:
    """What tells scenes apart, in the order of their times."""
    hrefs = sorted(asset.href for asset in scene.bands.values())
    return scene.time.isoformat(), scene.id, scene.version, scene.tile, *hrefs
