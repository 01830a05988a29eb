"""Puts the parts of a map together, row of parts by row of parts.

A part's own pixels go from its first one to the first one of the next part. Most of them are its
core, which is finished. The rest is shared with the parts above and to the left: their sums are
added in one fixed order, so that the same parts give the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.maps.parts import Finish, Sums, frame_pieces, read_core, read_piece
from earthloom.maps.tiling import Part
from earthloom.sample import Shape2d, Window

Numbers = NDArray[Any]


def stitch(
    parts: Sequence[Part],
    path_of: Callable[[Part], Path],
    planes: int,
    finish: Finish,
    write: Callable[[int, int, int, Numbers], None],
) -> None:
    """Finishes what parts share, and hands all numbers to `write`.

    `planes` is the K of the prediction. `write` takes the number of an output, the first row and
    column, and the numbers (bands, h, w), which may reach behind the map's last row and column.
    """
    known = {(part.rows.number, part.cols.number): part for part in parts}
    for part in parts:
        row, col = part.rows.number, part.cols.number
        beside = ((row - 1, col - 1), (row - 1, col), (row, col - 1), (row, col))
        near = [known[place] for place in beside if place in known]
        for zone in _shared_zones(part):
            sums = _summed(zone, near, path_of, planes)
            for number, numbers in enumerate(finish.numbers(zone.row, zone.col, sums)):
                write(number, zone.row, zone.col, numbers)
        for number in range(len(finish.outputs)):
            core = read_core(path_of(part), number)
            if core.size:
                write(number, part.rows.before, part.cols.before, core)


def _shared_zones(part: Part) -> Iterator[Window]:
    """What of a part's own pixels other parts reach as well: above its core, and left of it."""
    rows, cols = part.rows, part.cols
    above = Shape2d(rows.before - rows.start, cols.after - cols.start)
    beside = Shape2d(rows.after - rows.before, cols.before - cols.start)
    for row, shape in ((rows.start, above), (rows.before, beside)):
        if shape.rows and shape.cols:
            yield Window(row, cols.start, shape)


def _summed(
    zone: Window, near: Sequence[Part], path_of: Callable[[Part], Path], planes: int
) -> Sums:
    """(K + 1, h, w): the sums and weights over a zone of all parts that reach it."""
    total = np.zeros((planes + 1, *zone.shape), np.float32)
    for part in near:
        for name, piece in frame_pieces(part).items():
            rows = _common(zone.row, zone.shape.rows, piece.row, piece.shape.rows)
            cols = _common(zone.col, zone.shape.cols, piece.col, piece.shape.cols)
            if rows is None or cols is None:
                continue
            sums = read_piece(path_of(part), name)
            total[:, rows[0], cols[0]] += sums[:, rows[1], cols[1]]
    return total


def _common(start: int, length: int, other: int, size: int) -> tuple[slice, slice] | None:
    """What two stretches have in common, as a slice of each; None for nothing."""
    first, last = max(start, other), min(start + length, other + size)
    if first >= last:
        return None
    return slice(first - start, last - start), slice(first - other, last - other)
