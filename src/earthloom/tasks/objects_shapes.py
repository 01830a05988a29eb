"""Shapes of things in numpy: overlaps of boxes, turned boxes and masks, fillings, rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earthloom.sample import Shape2d

if TYPE_CHECKING:
    from earthloom.tasks.objects import Mask

_INSIDE = 1e-9
"""How far outside a box, as a share of its size squared, a point on its border may seem to lie."""


def upright_iou(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, M) intersection over union of upright boxes (N, 4) and (M, 4), left top right bottom."""
    a, b = ours.astype(np.float64)[:, None], theirs.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(axis=-1)
    total = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    return _share(common, total)


def turned_iou(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, M) intersection over union of convex quadrangles (N, 4, 2) and (M, 4, 2).

    Exact: the common part of two convex shapes has as corners the corners of each that lie in the
    other, and the points where their sides cross.
    """
    found = np.zeros((len(ours), len(theirs)))
    a, b = _wound(ours), _wound(theirs)
    area_a, area_b = _areas(a), _areas(b)
    boxes = [np.concatenate([each.min(1), each.max(1)], axis=1) for each in (a, b)]
    rows, cols = np.nonzero(upright_iou(*boxes) > 0)
    if len(rows):
        common = _common_area(a[rows], b[cols])
        found[rows, cols] = _share(common, area_a[rows] + area_b[cols] - common)
    return found


def mask_iou(ours: Sequence[Mask], theirs: Sequence[Mask]) -> NDArray[np.float64]:
    """(N, M) intersection over union of masks."""
    found = np.zeros((len(ours), len(theirs)))
    sizes = [mask.area for mask in theirs]
    for row, one in enumerate(ours):
        area = one.area
        for col, other in enumerate(theirs):
            common = _common_pixels(one, other)
            if common:
                found[row, col] = common / (area + sizes[col] - common)
    return found


def fill_rings(
    rings: Sequence[NDArray[np.floating]], row: int, col: int, shape: Shape2d
) -> NDArray[np.bool_]:
    """(h, w) of a window that begins at `row` and `col`: whether a pixel's centre lies in any ring.

    A ring (M, 2) of x and y is filled by the even-odd rule.
    """
    filled = np.zeros(shape, np.bool_)
    for ring in rings:
        filled |= _filled(ring.astype(np.float64) - (col, row), shape)
    return filled


def least_rectangle(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(4, 2) corners of the rectangle of least area around points (N, 2).

    One of its sides lies along a side of the convex hull (Freeman and Shapira 1975). Points on one
    line, or fewer than three, have an upright one.
    """
    from scipy.spatial import ConvexHull, QhullError

    exact = points.astype(np.float64)
    try:
        hull = exact[ConvexHull(exact).vertices]
    except (QhullError, ValueError):  # scipy's words for points without extent, and for too few
        return _upright_around(exact)
    sides = np.roll(hull, -1, axis=0) - hull
    angles = np.unique(np.arctan2(sides[:, 1], sides[:, 0]) % (np.pi / 2))
    cos, sin = np.cos(angles), np.sin(angles)
    turns = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)
    turned = np.einsum("aij,nj->ain", turns, hull)
    low, high = turned.min(axis=2), turned.max(axis=2)
    best = int(np.argmin((high - low).prod(axis=1)))
    (x0, y0), (x1, y1) = low[best], high[best]
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    back: NDArray[np.float64] = corners @ turns[best]
    return back


def _upright_around(points: NDArray[np.float64]) -> NDArray[np.float64]:
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _filled(ring: NDArray[np.float64], shape: Shape2d) -> NDArray[np.bool_]:
    """(h, w): every side flips what lies to the right of it, row by row."""
    rows, cols = shape
    flips = np.zeros((rows, cols + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        # Centres at y + 0.5 with y0 <= y + 0.5 < y1.
        first, last = (min(max(int(np.ceil(y - 0.5)), 0), rows) for y in (y0, y1))
        at = np.arange(first, last)
        x = x0 + (at + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        left = np.clip(np.ceil(x - 0.5), 0, cols).astype(np.int64)
        np.add.at(flips, (at, left), 1)
    odd: NDArray[np.bool_] = np.cumsum(flips, axis=1)[:, :cols] % 2 == 1
    return odd


def _common_pixels(one: Mask, other: Mask) -> int:
    top, left = max(one.row, other.row), max(one.col, other.col)
    bottom = min(one.row + one.pixels.shape[0], other.row + other.pixels.shape[0])
    right = min(one.col + one.pixels.shape[1], other.col + other.pixels.shape[1])
    if top >= bottom or left >= right:
        return 0
    cuts = [
        each.pixels[top - each.row : bottom - each.row, left - each.col : right - each.col]
        for each in (one, other)
    ]
    return int((cuts[0] & cuts[1]).sum())


def _share(common: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(common, total, out=np.zeros_like(common), where=total > 0)


def _areas(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) signed areas of polygons (N, K, 2)."""
    after = np.roll(quads, -1, axis=1)
    cross = quads[..., 0] * after[..., 1] - quads[..., 1] * after[..., 0]
    area: NDArray[np.float64] = cross.sum(axis=1) / 2
    return area


def _wound(quads: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, 4, 2) all with positive area."""
    exact = quads.astype(np.float64)
    return np.where(_areas(exact)[:, None, None] < 0, exact[:, ::-1], exact)


def _within(points: NDArray[np.float64], quads: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(P, K): whether points (P, K, 2) lie in the quadrangles (P, 4, 2), borders included."""
    sides = np.roll(quads, -1, axis=1) - quads
    to = points[:, :, None] - quads[:, None]
    cross = sides[:, None, :, 0] * to[..., 1] - sides[:, None, :, 1] * to[..., 0]
    slack = _INSIDE * (sides**2).sum((1, 2))
    inside: NDArray[np.bool_] = (cross >= -slack[:, None, None]).all(axis=2)
    return inside


def _crossings(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(P, 16, 2) where each side of `a` crosses each of `b`, and (P, 16) whether it does."""
    p, q = a[:, :, None], b[:, None]
    r, s = (np.roll(a, -1, 1) - a)[:, :, None], (np.roll(b, -1, 1) - b)[:, None]
    cross = r[..., 0] * s[..., 1] - r[..., 1] * s[..., 0]
    flat = np.abs(cross) <= 1e-12 * np.sqrt((r**2).sum(-1) * (s**2).sum(-1))
    safe = np.where(flat, 1.0, cross)
    gap = q - p
    t = (gap[..., 0] * s[..., 1] - gap[..., 1] * s[..., 0]) / safe
    u = (gap[..., 0] * r[..., 1] - gap[..., 1] * r[..., 0]) / safe
    there = ~flat & (t >= 0) & (t <= 1) & (u >= 0) & (u <= 1)
    points = p + np.where(there, t, 0)[..., None] * r
    return points.reshape(len(a), 16, 2), there.reshape(len(a), 16)


def _common_area(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) areas that pairs of convex quadrangles (P, 4, 2) have in common."""
    # About each pair's own middle: far from 0, products of coordinates would lose the small areas.
    middle = a.mean(axis=1, keepdims=True)
    a, b = a - middle, b - middle
    crossed, there = _crossings(a, b)
    points = np.concatenate([a, b, crossed], axis=1)
    valid = np.concatenate([_within(a, b), _within(b, a), there], axis=1)
    count = valid.sum(axis=1)
    centre = np.where(valid[..., None], points, 0).sum(1) / np.maximum(count, 1)[:, None]
    spokes = points - centre[:, None]
    angle = np.where(valid, np.arctan2(spokes[..., 1], spokes[..., 0]), np.inf)
    order = np.argsort(angle, axis=1)
    rank = np.take_along_axis(valid, order, axis=1)
    walk = np.take_along_axis(spokes, order[..., None], axis=1)
    # Unused places repeat the first corner, and so close the shape.
    walk = np.where(rank[..., None], walk, walk[:, :1])
    return np.where(count >= 3, np.abs(_areas(walk)), 0.0)
