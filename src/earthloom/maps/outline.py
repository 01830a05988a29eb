"""The outlines of a strip's patches, as polygons that share their borders vertex by vertex.

Vertices lie on the corners of pixels: x counts columns, y counts rows from the top of the map. A
vertex stands where a border turns, and where three patches meet, in the outline of all of them;
so the polygons are a coverage in the sense of the OGC, and borders can be simplified once for
both sides. Where a strip is cut from the next one, both have the same vertices along the cut.
"""

from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from earthloom.cube.compiled import compiled
from earthloom.maps.patches import OUTSIDE, Strip


class _Rings(NamedTuple):
    points: NDArray[np.int32]
    """(V, 2): x and y from the strip's first row; a ring ends where it began."""
    ends: NDArray[np.int64]
    """(R,): where each ring ends in `points`."""
    patches: NDArray[np.int32]
    """(R,): what each ring is of."""
    holes: NDArray[np.bool_]
    """(R,)."""


def outline_patches(strip: Strip, labels: NDArray[np.int32]) -> NDArray[np.object_]:
    """(N,): a polygon for each patch of a strip, in the order of their numbers.

    `labels` (H, W) numbers the patches from 0; each is connected by pixel sides. Where a patch
    touches itself with a corner alone, an outline is cut in two there, so that it is valid.
    """
    rings = _traced(strip, labels)
    order = np.lexsort((np.arange(len(rings.ends)), rings.holes, rings.patches))
    starts = np.concatenate([[0], rings.ends[:-1]])
    lengths = (rings.ends - starts)[order]
    at = np.repeat(starts[order] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    points = rings.points[at].astype(np.float64)
    points[:, 1] += strip.row
    ring_of = np.repeat(np.arange(len(order)), lengths)
    lines = np.asarray(shapely.linearrings(points, indices=ring_of))
    return np.asarray(shapely.polygons(lines, indices=rings.patches[order]))


def seam_vertices(strip: Strip) -> NDArray[np.bool_]:
    """(W + 1,): which vertices of a strip's lower edge are there for the cut alone.

    There a border goes straight on into the next strip, and no third patch meets it.
    """
    above = np.pad(strip.codes[-1].astype(np.int16), 1, constant_values=OUTSIDE)
    below = np.pad(strip.below, 1, constant_values=OUTSIDE)
    straight: NDArray[np.bool_] = (above[:-1] == below[:-1]) & (above[1:] == below[1:])
    return straight


def _traced(strip: Strip, labels: NDArray[np.int32]) -> _Rings:
    inside = np.vstack([strip.above, strip.codes, strip.below]).astype(np.int16)
    kept = _vertices(np.pad(inside, ((0, 0), (1, 1)), constant_values=OUTSIDE))
    framed = np.pad(labels, 1, constant_values=OUTSIDE)
    return _Rings(*_trace(framed, kept, int(kept.sum())))


def _vertices(codes: NDArray[np.int16]) -> NDArray[np.bool_]:
    """(H + 1, W + 1): where outlines have a vertex, from the codes (H + 2, W + 2) of the strip and
    what lies round it."""
    a, b, c, d = codes[:-1, :-1], codes[:-1, 1:], codes[1:, :-1], codes[1:, 1:]
    across = (a == b) & (c == d)
    down = (a == c) & (b == d)
    kept: NDArray[np.bool_] = ~(across | down)
    # Along a cut, outlines end whatever is on the other side.
    kept[0] = ~across[0]
    kept[-1] = ~across[-1]
    return kept


@compiled
def _emit(
    stack: NDArray[np.int32],
    begin: int,
    end: int,
    points: NDArray[np.int32],
    at: int,
) -> tuple[int, bool]:
    """Copies a loop of the stack, closed, to `points`; where it ends there, and if it is a hole."""
    twice = 0
    for step in range(begin, end):
        following = step + 1 if step + 1 < end else begin
        twice += np.int64(stack[step, 0]) * stack[following, 1]
        twice -= np.int64(stack[following, 0]) * stack[step, 1]
        points[at] = stack[step]
        at += 1
    points[at] = stack[begin]
    return at + 1, twice < 0


@compiled
def _trace(
    labels: NDArray[np.int32], kept: NDArray[np.bool_], vertices: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_]]:
    """Walks round every patch; see `_Rings`.

    `labels` (H + 2, W + 2) is framed by `OUTSIDE`; `kept` (H + 1, W + 1) says where vertices are.
    """
    rows, cols = labels.shape[0] - 2, labels.shape[1] - 2
    # Each vertex has at most four corners of patches, and a ring at least four vertices.
    points = np.empty((5 * vertices, 2), np.int32)
    ends = np.empty(vertices, np.int64)
    patches = np.empty(vertices, np.int32)
    holes = np.empty(vertices, np.bool_)
    stack = np.empty((4 * vertices, 2), np.int32)
    place = np.full((rows + 1, cols + 1), -1, np.int32)
    seen = np.zeros((rows, cols), np.bool_)
    used, found = 0, 0
    for row in range(rows):
        for col in range(cols):
            patch = labels[row + 1, col + 1]
            if labels[row, col + 1] == patch or seen[row, col]:
                continue
            used, ring = _walk(
                labels, kept, row, col, seen, place, stack, points, ends, holes, used, found
            )
            patches[found:ring] = patch
            found = ring
    return points[:used].copy(), ends[:found].copy(), patches[:found].copy(), holes[:found].copy()


@compiled
def _walk(
    labels: NDArray[np.int32],
    kept: NDArray[np.bool_],
    first_row: int,
    first_col: int,
    seen: NDArray[np.bool_],
    place: NDArray[np.int32],
    stack: NDArray[np.int32],
    points: NDArray[np.int32],
    ends: NDArray[np.int64],
    holes: NDArray[np.bool_],
    used: int,
    found: int,
) -> tuple[int, int]:
    """Walks once round a patch, east from a pixel's upper left corner, the patch on the right hand.

    Where four patches meet in a corner, the walk stays with its own pixel; a corner that it comes
    by twice cuts the loop between off, as a ring of its own. `seen` marks upper sides that were
    walked along, `place` where in the stack a corner lies. Returns `used` and `found` after it.
    """
    patch = labels[first_row + 1, first_col + 1]
    row, col, heading, top = first_row, first_col, 0, 1
    stack[0, 0], stack[0, 1] = col, row
    place[row, col] = 0
    while True:
        if heading == 0:
            seen[row, col] = True
        row, col, heading, corner = _step(labels, patch, row, col, heading)
        if row == first_row and col == first_col and heading == 0:
            break
        if corner and place[row, col] >= 0:
            begin = place[row, col]
            used, holes[found] = _emit(stack, begin, top, points, used)
            ends[found] = used
            found += 1
            for at in range(begin + 1, top):
                place[stack[at, 1], stack[at, 0]] = -1
            top = begin + 1
        elif kept[row, col]:
            stack[top, 0], stack[top, 1] = col, row
            if corner:
                place[row, col] = top
            top += 1
    used, holes[found] = _emit(stack, 0, top, points, used)
    ends[found] = used
    for at in range(top):
        place[stack[at, 1], stack[at, 0]] = -1
    return used, found + 1


@compiled
def _step(
    labels: NDArray[np.int32], patch: int, row: int, col: int, heading: int
) -> tuple[int, int, int, bool]:
    """One pixel side further: the vertex, the new heading (0 east, 1 south, 2 west, 3 north), and
    whether the patch touches itself there with a corner."""
    if heading == 0:
        col += 1
        left, right = labels[row, col + 1], labels[row + 1, col + 1]
    elif heading == 1:
        row += 1
        left, right = labels[row + 1, col + 1], labels[row + 1, col]
    elif heading == 2:
        col -= 1
        left, right = labels[row + 1, col], labels[row, col]
    else:
        row -= 1
        left, right = labels[row, col], labels[row, col + 1]
    if right != patch:
        return row, col, (heading + 1) % 4, left == patch
    if left != patch:
        return row, col, heading, False
    return row, col, (heading + 3) % 4, False
