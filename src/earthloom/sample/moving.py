"""Answers moved with the pixels of their chip: cut, turned, mirrored, zoomed. Numpy alone."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earthloom.sample.place import Shape2d
from earthloom.sample.target import Boxes, Counts, Instances, PixelValues, Ring, Target

LEAST_SEEN = 0.25
"""Things of which less than this share is left in a chip are dropped, unless said otherwise."""

Points = NDArray[np.float64]


class Mover(Protocol):
    """Where the pixels of one chip go."""

    @property
    def shape(self) -> Shape2d:
        """Of the base grid afterwards."""
        ...

    @property
    def cuts(self) -> bool:
        """Whether a part of the chip may be lost."""
        ...

    @property
    def mirrors(self) -> bool:
        """Whether left and right change places."""
        ...

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) takes x, y, 1 of the moved chip to those before, on the edges of pixels."""
        ...

    def nearest(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """(H, W) moved as a label; 0 where nothing is known."""
        ...

    def smooth(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) moved as pixels; NaN where nothing is known."""
        ...


def move_target(
    target: Target | None, mover: Mover, least_seen: float = LEAST_SEEN
) -> Target | None:
    """An answer moved with its chip.

    Boxes and instances of which less than `least_seen` is left are dropped; upright boxes and
    outlines are clipped at the chip's edges, turned boxes may reach over them. Where a part of the
    chip was cut off, things without an area are dropped too, and counts are None, since nobody
    knows what was there: move boxes or instances, and count them afterwards with `counts_of`. What
    is said of a chip as a whole stays.
    """
    match target:
        case PixelValues():
            return replace(target, values=mover.smooth(target.values))
        case Boxes():
            return _boxes(target, mover, least_seen)
        case Instances():
            return _instances(target, mover, least_seen)
        case Counts():
            return None if mover.cuts else target
        case _:
            return target


def clipped(ring: Points, shape: Shape2d) -> Points:
    """The part (M, 2) of a polygon that lies in a chip; (0, 2) if none does.

    Corners are cut off one edge after the other (Sutherland and Hodgman 1974, "Reentrant polygon
    clipping"). A part that falls into pieces stays one ring, whose pieces are joined along the
    edge by lines that hold no area.
    """
    size = np.array([shape.cols, shape.rows], np.float64)
    low, high = ring.min(axis=0, initial=np.inf), ring.max(axis=0, initial=-np.inf)
    if (low >= size).any() or (high <= 0).any():
        return ring[:0]
    for axis in np.flatnonzero((low < 0) | (high > size)):
        ring = _half(ring, ring[:, axis])
        ring = _half(ring, size[axis] - ring[:, axis])
    return ring if area(ring) > 0 else ring[:0]


def area(ring: Points) -> float:
    """Of a polygon (M, 2), in square pixels (the surveyor's formula)."""
    x, y = ring.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _half(ring: Points, inside: NDArray[np.float64]) -> Points:
    """What lies on one side of a line; `inside` (M,) is each corner's distance on that side."""
    after, kept = np.roll(inside, -1), inside >= 0
    crosses = kept != np.roll(kept, -1)
    # Where no line is crossed the share is not used.
    share = inside / np.where(crosses, inside - after, 1.0)
    crossing = ring + share[:, None] * (np.roll(ring, -1, axis=0) - ring)
    both = np.stack([ring, crossing], axis=1)
    return np.asarray(both[np.stack([kept, crosses], axis=1)])


def _points(points: NDArray[np.floating], mover: Mover) -> Points:
    """(..., 2) x and y in the moved chip."""
    back = np.linalg.inv(mover.matrix)
    return np.asarray(points.astype(np.float64) @ back[:2, :2].T + back[:2, 2])


def _boxes(boxes: Boxes, mover: Mover, least_seen: float) -> Boxes:
    corners, upright = _points(boxes.corners, mover), boxes.are_upright
    if mover.mirrors:
        # The first edge stays the first, and the way around the box stays the same.
        corners = corners[:, [1, 0, 3, 2]]
    kept = np.ones(len(corners), np.bool_)
    straight = corners[upright]
    bounds = np.concatenate([straight.min(axis=1), straight.max(axis=1)], axis=1)
    if mover.cuts:
        shares = np.zeros(len(corners))
        shares[upright], bounds = _clipped_bounds(bounds, mover.shape)
        for at in np.flatnonzero(~upright):
            shares[at] = _part([corners[at]], mover.shape)[1]
        kept = _enough(shares, least_seen)
    # Turned by right angles, an upright box begins at another corner than its upper left.
    corners[upright] = Boxes.upright(bounds.astype(np.float32), boxes.codes[upright]).corners
    return Boxes(corners[kept].astype(np.float32), boxes.codes[kept])


def _instances(things: Instances, mover: Mover, least_seen: float) -> Instances:
    count = len(things.codes)
    kept = np.ones(count, np.bool_)
    polygons, ids = None, None
    if things.polygons is not None:
        moved = _moved_rings(things.polygons, mover)
        if mover.cuts:
            parts = [_part(rings, mover.shape) for rings in moved]
            moved = [rings for rings, _ in parts]
            kept &= _enough(np.array([share for _, share in parts], np.float64), least_seen)
        polygons = [tuple(ring.astype(np.float32) for ring in rings) for rings in moved]
    if things.ids is not None:
        ids = mover.nearest(things.ids)
        before, after = (
            np.bincount(each.ravel(), minlength=count + 1)[1:] for each in (things.ids, ids)
        )
        if mover.cuts:
            kept &= (after > 0) | (before == 0)
        if mover.cuts and polygons is None:
            larger = abs(np.linalg.det(mover.matrix[:2, :2]))
            kept &= _enough(after * larger / np.maximum(before, 1), least_seen)
        number = np.zeros(count + 1, np.int32)
        number[1:][kept] = np.arange(1, kept.sum() + 1)
        ids = number[ids]
    left = None if polygons is None else tuple(polygons[at] for at in np.flatnonzero(kept))
    return Instances(things.codes[kept], left, ids)


def _moved_rings(polygons: Sequence[Sequence[Ring]], mover: Mover) -> list[list[Points]]:
    """All rings in the moved chip, at once: there are many, and each is short."""
    rings = [ring for each in polygons for ring in each]
    ends = np.cumsum([len(ring) for ring in rings])
    moved = _points(np.concatenate([np.empty((0, 2)), *rings]), mover)
    parts = iter(np.split(moved, ends[:-1]) if rings else [])
    return [list(islice(parts, len(each))) for each in polygons]


def _part(rings: Sequence[Points], shape: Shape2d) -> tuple[list[Points], float]:
    """What of a thing lies in the chip, and the share that it is of the thing's area."""
    parts = [part for ring in rings if len(part := clipped(ring, shape))]
    whole = sum(area(ring) for ring in rings)
    return parts, sum(area(part) for part in parts) / whole if whole > 0 else 0.0


def _clipped_bounds(
    bounds: NDArray[np.float64], shape: Shape2d
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) the share of upright boxes (N, 4) that lies in the chip, and its bounds (N, 4)."""
    clipped = np.clip(bounds, 0, [shape.cols, shape.rows] * 2)
    whole, left = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (bounds, clipped))
    return np.divide(left, whole, out=np.zeros(len(bounds)), where=whole > 0), clipped


def _enough(shares: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    # A thing that was whole may have lost a last digit.
    return (shares > 0) & (shares >= least - 1e-6)
