"""Boxes and outlines of things on one image: cut at its edges, and what was done counted."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import LabelError, choices
from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes, Instances, Ring

CUT = "boxes cut at the edge of their image"
OUTSIDE = "boxes or outlines outside their image left out"
EMPTY = "boxes or outlines without extent left out"
CROWD = "crowds left out"
UNLABELLED_IMAGE = "images without a label file taken to show nothing"

_PIXEL = 0.01
"""Boxes may reach so far over the edge by rounding alone."""

Bounds = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels: edges."""


def checked(bounds: Sequence[float], where: str) -> Bounds:
    """Bounds whose sides are in order; LabelError for those that are not, or not finite."""
    left, top, right, bottom = bounds
    if not (np.isfinite(bounds).all() and left <= right and top <= bottom):
        raise LabelError(
            f"{where}: the box {choices(f'{edge:g}' for edge in bounds)} (left, top, right, "
            "bottom) ends before it begins"
        )
    return left, top, right, bottom


def upright_boxes(
    rows: Sequence[tuple[Bounds, int]], size: Shape2d, changed: Counter[str]
) -> Boxes:
    """Boxes and their codes, cut at the edges of an image of `size`."""
    given = np.array([bounds for bounds, _ in rows], np.float64).reshape(-1, 4)
    codes = np.array([code for _, code in rows], np.uint8)
    cut = np.clip(given, 0, [size.cols, size.rows] * 2)
    kept = _with_extent(given, cut, changed)
    changed[CUT] += int((np.abs(cut - given)[kept] > _PIXEL).any(axis=1).sum())
    return Boxes.upright(cut[kept].astype(np.float32), codes[kept])


def turned_boxes(
    rows: Sequence[tuple[Sequence[float], int]], size: Shape2d, changed: Counter[str]
) -> Boxes:
    """Boxes of eight coordinates each; those that reach over an edge stay as they are, since a
    turned box that is cut is none."""
    corners = np.array([each for each, _ in rows], np.float64).reshape(-1, 4, 2)
    codes = np.array([code for _, code in rows], np.uint8)
    if not len(rows):
        return Boxes(corners.astype(np.float32), codes)
    around = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    kept = _with_extent(around, np.clip(around, 0, [size.cols, size.rows] * 2), changed)
    return Boxes(corners[kept].astype(np.float32), codes[kept])


def outlines(
    things: Sequence[tuple[Sequence[Ring], int]], size: Shape2d, changed: Counter[str]
) -> Instances:
    """Things of some rings each; rings of fewer than three corners are none."""
    found: list[tuple[tuple[Ring, ...], int]] = []
    for rings, code in things:
        whole = tuple(ring for ring in rings if len(ring) >= 3)
        if not whole:
            changed[EMPTY] += 1
            continue
        corners = np.concatenate(whole)
        if (corners.max(axis=0) <= 0).any() or (corners.min(axis=0) >= size[::-1]).any():
            changed[OUTSIDE] += 1
            continue
        found.append((whole, code))
    return Instances(
        codes=np.array([code for _, code in found], np.uint8),
        polygons=tuple(rings for rings, _ in found),
    )


def _with_extent(
    given: NDArray[np.float64], cut: NDArray[np.float64], changed: Counter[str]
) -> NDArray[np.bool_]:
    """(N,) which boxes have an extent in their image; others are counted."""
    extent, left = [(each[:, 2:] > each[:, :2]).all(axis=1) for each in (given, cut)]
    changed[EMPTY] += int((~extent).sum())
    changed[OUTSIDE] += int((extent & ~left).sum())
    return np.asarray(extent & left)
