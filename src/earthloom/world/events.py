"""What happens to the land within the year: building, felling, fire and flood."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earthloom.world.classes import CODES
from earthloom.world.covers import cover_codes, cover_index
from earthloom.world.land import Land
from earthloom.world.noise import (
    Extent,
    Labels,
    Mask,
    blur,
    compact,
    fractal,
    highest,
    smooth,
    stream,
)
from earthloom.world.relief import Relief
from earthloom.world.season import NEVER, Pieces

_FARMLAND = tuple(CODES[name] for name in ("grassland", "winter cereal", "maize", "rapeseed"))
_WILD = tuple(
    CODES[name] for name in ("shrubland", "broadleaf forest", "needleleaf forest", "grassland")
)


@dataclass(frozen=True, eq=False)
class Event:
    """A dated change of the land."""

    kind: str
    """new-built-up, clear-cut, burn or flood."""
    day: int
    """Day of the year from which the land is changed."""
    end_day: int | None
    """Day of the year on which the land is as before; None if the change lasts."""
    mask: Mask
    """(rows, cols) the changed land."""
    class_before: int
    """Most frequent class code there before."""
    class_after: int
    """Class code there from `day`."""


@dataclass(frozen=True)
class _Plan:
    """A kind of event: when, on which land, how large."""

    kind: str
    first_day: int
    last_day: int
    lasts: int | None
    """Days, or None."""
    cover: str
    area: float
    """m2 in a window of 10 km; at most `part` of a smaller one."""
    part: float


_PLANS = (
    _Plan("clear-cut", 55, 85, None, "cleared", 170_000, 0.010),
    _Plan("new-built-up", 95, 125, None, "new-works", 160_000, 0.010),
    _Plan("flood", 148, 160, 26, "flood", 750_000, 0.020),
    _Plan("burn", 205, 230, None, "burnt", 320_000, 0.012),
)


def happen(
    seed: int, extent: Extent, relief: Relief, land: Land, pieces: Pieces
) -> tuple[Labels, Pieces, tuple[Event, ...]]:
    """Pieces (rows, cols) cut along the events, their traits with the changes, and the events.

    A window without land that an event could befall goes without that event.
    """
    labels = land.pieces
    free = np.ones(labels.shape, np.bool_)
    events = []
    for plan in _PLANS:
        rng = stream(seed, "event", plan.kind)
        code = cover_codes()[pieces.cover][labels]
        area = min(plan.area, plan.part * labels.size * extent.resolution**2)
        wanted = max(8, round(area / extent.resolution**2))
        mask = _place(plan.kind, rng, extent, relief, code, labels, free, wanted)
        if not mask.any():
            continue
        day = int(rng.integers(plan.first_day, plan.last_day + 1))
        end = None if plan.lasts is None else day + plan.lasts
        labels, pieces = _cut(labels, pieces, mask, plan.cover, day, end)
        before = int(np.bincount(code[mask]).argmax())
        after = int(cover_codes()[cover_index()[plan.cover]])
        events.append(Event(plan.kind, day, end, mask, before, after))
        free &= ~mask
    return labels, pieces, tuple(sorted(events, key=lambda event: event.day))


def _place(
    kind: str,
    rng: np.random.Generator,
    extent: Extent,
    relief: Relief,
    code: NDArray[np.uint8],
    labels: Labels,
    free: Mask,
    wanted: int,
) -> Mask:
    """Where an event of a kind happens, (rows, cols)."""
    if kind == "clear-cut":
        return _whole_pieces(rng, labels, (code == CODES["needleleaf forest"]) & free, wanted)
    if kind == "new-built-up":
        return _outskirts(rng, extent, labels, code, np.isin(code, _FARMLAND) & free, wanted)
    if kind == "flood":
        return _flooded(rng, extent, relief, code, free, wanted)
    return _burnt(rng, extent, code, free, wanted)


def _near(mask: Mask, radius: float) -> NDArray[np.float32]:
    return blur(mask.astype(np.float32), radius)


def _whole_pieces(rng: np.random.Generator, labels: Labels, among: Mask, wanted: int) -> Mask:
    """One piece of about `wanted` pixels, or part of a larger one."""
    count = int(labels.max()) + 1
    area = np.bincount(labels[among], minlength=count)
    if not area.any():
        return np.zeros(labels.shape, np.bool_)
    score = -np.abs(np.log(np.maximum(area, 1) / wanted)) - 1e6 * (area == 0)
    best = int(np.argmax(score + rng.normal(0, 0.15, count)))
    chosen: Mask = np.asarray(among & (labels == best))
    if chosen.sum() <= 1.4 * wanted:
        return chosen
    return highest(_around(rng, chosen), chosen, wanted)


def _outskirts(
    rng: np.random.Generator,
    extent: Extent,
    labels: Labels,
    code: NDArray[np.uint8],
    among: Mask,
    wanted: int,
) -> Mask:
    """Whole fields side by side at the edge of a town, together about `wanted` pixels."""
    town = _near(code == CODES["built-up"], 110 / extent.resolution)
    town = town * _near(among, 60 / extent.resolution)
    if not (among & (town > 0.02)).any():
        return np.zeros(labels.shape, np.bool_)
    near = highest(town + 0.02 * fractal(rng, extent, 1500.0), among, max(1, among.sum() // 50))
    away = -_around(rng, near)
    count = int(labels.max()) + 1
    area = np.bincount(labels[among], minlength=count)
    mean = np.bincount(labels[among], away[among], count) / np.maximum(area, 1)
    order = np.argsort(np.where(area > 0, mean, np.inf), kind="stable")
    covered = np.cumsum(area[order]) - area[order] / 2
    chosen = np.zeros(count, np.bool_)
    chosen[order[(covered < wanted) & (area[order] > 0)]] = True
    found = among & chosen[labels]
    if found.sum() <= 1.5 * wanted:
        return found
    return highest(-away, found, wanted)


def _around(rng: np.random.Generator, mask: Mask) -> NDArray[np.float32]:
    """Nearness to one pixel of the mask, (rows, cols)."""
    rows, cols = np.nonzero(mask)
    pick = int(rng.integers(rows.size))
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    return np.asarray(-np.hypot(y - rows[pick], x - cols[pick]), dtype=np.float32)


def _flooded(
    rng: np.random.Generator,
    extent: Extent,
    relief: Relief,
    code: NDArray[np.uint8],
    free: Mask,
    wanted: int,
) -> Mask:
    """The lowest land along one reach of the river."""
    land = free & ~np.isin(code, (CODES["water"], CODES["built-up"]))
    low = land & (relief.above_river < np.quantile(relief.above_river, 0.35))
    shore = low & (relief.river_distance < 250)
    if not shore.any():
        return np.zeros(land.shape, np.bool_)
    away = -_around(rng, shore) * extent.resolution
    reach = float(np.sqrt(wanted) * extent.resolution)
    score = -relief.above_river - 1.6 * np.maximum(away / reach - 0.8, 0) ** 2
    score = score - relief.river_distance / (1.2 * reach)
    return smooth(highest(score.astype(np.float32), low, wanted), 2) & land


def _burnt(
    rng: np.random.Generator, extent: Extent, code: NDArray[np.uint8], free: Mask, wanted: int
) -> Mask:
    """A ragged patch that starts in shrubs or forest and stops at fields, roads and water."""
    fuel = free & np.isin(code, _WILD)
    woody = free & np.isin(code, _WILD[:3])
    if not woody.any():
        return np.zeros(fuel.shape, np.bool_)
    dense = _near(fuel, np.sqrt(wanted) / 4)
    start = highest(dense + 0.05 * fractal(rng, extent, 1500.0), woody, max(1, wanted // 8))
    size = float(np.sqrt(wanted))
    score = _around(rng, start) / np.float32(size) + 0.35 * fractal(rng, extent, 450.0, 3.6)
    return smooth(highest(score.astype(np.float32), fuel, wanted), 1.5) & fuel


def _cut(
    labels: Labels, pieces: Pieces, mask: Mask, cover: str, day: int, end: int | None
) -> tuple[Labels, Pieces]:
    """The changed land in pieces of its own, with the traits of the pieces they come from."""
    split, old = compact(labels.astype(np.int64) * 2 + mask)
    parent, changed = old // 2, (old % 2).astype(np.bool_)
    later = np.where(changed, cover_index()[cover], pieces.later[parent]).astype(np.int32)
    start = np.where(changed, day, pieces.start[parent]).astype(np.int32)
    stop = NEVER if end is None else end
    return split, replace(
        pieces,
        cover=pieces.cover[parent],
        later=later,
        start=start,
        end=np.where(changed, stop, pieces.end[parent]).astype(np.int32),
        timing=pieces.timing[parent],
        vigour=pieces.vigour[parent],
        brightness=pieces.brightness[parent],
        tone=pieces.tone[parent],
        roughness=pieces.roughness[parent],
        twin=pieces.twin[parent],
        likeness=pieces.likeness[parent],
    )
