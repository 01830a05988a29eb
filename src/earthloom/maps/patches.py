"""Patches of a class map: connected pixels of one class, numbered strip by strip.

A map of any size is read in strips of whole rows. What a strip's patches have in common with those
of the strip above is told by `Seam`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from earthloom.cube.compiled import compiled

STRIP_PIXELS = 4_000_000
"""Pixels that are held at a time."""

_BLOCK = 256
"""Rows of a block of our COGs; strips of whole blocks are read without waste."""

OUTSIDE = -1
"""Stands for a code where there is no pixel."""


@dataclass(frozen=True)
class Patches:
    """The patches of a strip (H, W), in the order of their first pixels, row by row."""

    labels: NDArray[np.int32]
    """(H, W): the number of each pixel's patch, from 0."""
    first: NDArray[np.int64]
    """(N,): where the first pixel of each patch is, counted through the strip row by row."""

    @property
    def count(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Strip:
    """Whole rows of a map."""

    row: int
    """Of the map, the strip's first."""
    codes: NDArray[np.uint8]
    """(H, W)."""
    above: NDArray[np.int16]
    """(W,): the codes of the row above the strip; `OUTSIDE` at the top of the map."""
    below: NDArray[np.int16]
    """(W,): the codes of the row below it; `OUTSIDE` at the bottom of the map."""

    @property
    def last(self) -> bool:
        """Whether the map ends with this strip."""
        return bool(self.below[0] == OUTSIDE)


@dataclass(frozen=True)
class Seam:
    """Where two strips meet: pairs of a patch above and one below."""

    same: NDArray[np.int64]
    """(S, 2): patches that are one, as they have one class and touch."""
    beside: NDArray[np.int64]
    """(D, 3): pairs of patches of two classes, no data left out, and the pixel sides they share: 1,
    or 0 for pixels that touch with a corner."""


def strip_rows(rows: int, cols: int) -> int:
    """How many rows of a map are held at a time."""
    fitting = max(STRIP_PIXELS // max(cols, 1), 1)
    if fitting >= _BLOCK:
        fitting -= fitting % _BLOCK
    return min(fitting, rows)


def read_strips(source: DatasetReader, height: int) -> Iterator[Strip]:
    """The first band of a map (uint8), strip by strip, each with the rows beside it."""
    nothing = np.full(source.width, OUTSIDE, np.int16)
    above = nothing
    for row in range(0, source.height, height):
        rows = min(height, source.height - row)
        more = min(rows + 1, source.height - row)
        read = source.read(1, window=RasterWindow(0, row, source.width, more))
        below = read[rows].astype(np.int16) if more > rows else nothing
        yield Strip(row, read[:rows], above, below)
        above = read[rows - 1].astype(np.int16)


def label_patches(codes: NDArray[np.uint8], diagonal: bool) -> Patches:
    """Numbers the patches of a strip (H, W); no data is a class like others.

    Pixels that touch with a side are of one patch and, with `diagonal`, those that touch with a
    corner. Two passes with union-find (Rosenfeld and Pfaltz 1966).
    """
    labels, first = _label(np.ascontiguousarray(codes), diagonal)
    return Patches(labels, first)


def seam_of(
    above: NDArray[np.int64],
    above_codes: NDArray[np.int16],
    below: NDArray[np.int64],
    below_codes: NDArray[np.int16],
    diagonal: bool,
) -> Seam:
    """What meets between two rows (W,) of patch numbers and codes; no data (0) is left out."""
    same, beside = [], []
    for shift in (0, -1, 1) if diagonal else (0,):
        upper = slice(max(-shift, 0), len(above) - max(shift, 0))
        lower = slice(max(shift, 0), len(below) - max(-shift, 0))
        code, other = above_codes[upper], below_codes[lower]
        pairs = np.column_stack([above[upper], below[lower], np.full(len(code), int(shift == 0))])
        same.append(pairs[(code == other) & (other > 0), :2])
        beside.append(pairs[(code != other) & (code > 0) & (other > 0)])
    return Seam(np.unique(np.concatenate(same), axis=0), np.concatenate(beside))


@compiled
def sizes_of(labels: NDArray[np.int32], count: int, units: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,): the size of each of `count` patches (H, W), a pixel of a row being so many `units`."""
    sizes = np.zeros(count, np.int64)
    rows, cols = labels.shape
    for row in range(rows):
        for col in range(cols):
            sizes[labels[row, col]] += units[row]
    return sizes


@compiled
def _root(parent: NDArray[np.int32], label: int) -> int:
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@compiled
def _join(parent: NDArray[np.int32], one: int, other: int) -> int:
    """The root of both, the earlier of their two; `one` may be -1 for none."""
    found = _root(parent, other)
    if one < 0 or one == found:
        return found
    if one < found:
        parent[found] = one
        return one
    parent[one] = found
    return found


@compiled
def _provisional(
    codes: NDArray[np.uint8], diagonal: bool, labels: NDArray[np.int32], parent: NDArray[np.int32]
) -> int:
    """Numbers pixels in one pass, and notes which numbers mean one patch; returns their count."""
    rows, cols = codes.shape
    count = 0
    for row in range(rows):
        for col in range(cols):
            code = codes[row, col]
            best = -1
            if col > 0 and codes[row, col - 1] == code:
                best = _root(parent, labels[row, col - 1])
            if row > 0:
                for shift in range(-1, 2):
                    near = col + shift
                    if (shift != 0 and not diagonal) or near < 0 or near >= cols:
                        continue
                    if codes[row - 1, near] == code:
                        best = _join(parent, best, labels[row - 1, near])
            if best < 0:
                best = count
                parent[count] = count
                count += 1
            labels[row, col] = best
    return count


@compiled
def _label(codes: NDArray[np.uint8], diagonal: bool) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """See `label_patches`."""
    rows, cols = codes.shape
    labels = np.empty((rows, cols), np.int32)
    parent = np.empty(rows * cols, np.int32)
    count = _provisional(codes, diagonal, labels, parent)
    # A patch's root is the number that its first pixel was given, so that roots are in order.
    number = np.full(count, -1, np.int32)
    first = np.empty(count, np.int64)
    found = 0
    for row in range(rows):
        for col in range(cols):
            root = _root(parent, labels[row, col])
            if number[root] < 0:
                number[root] = found
                first[found] = row * cols + col
                found += 1
            labels[row, col] = number[root]
    return labels, first[:found].copy()
