"""Things that were found in overlapping windows, made one wherever they are one.

Of two windows that overlap, each thing of the one is at most one thing of the other: the one with
which it has most in common, as far as both windows see it. In windows that only touch, things are
one that meet at the seam. What belongs together is taken from a
window in which it lies whole; what every window cut is put together from its pieces.

Windows come row by row. A thing is done when no window that comes could see it, so that memory
holds some rows of windows and not the map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from earthloom.sample import Shape2d, Window

Geometries = NDArray[np.object_]

ALIKE = 0.5
"""Least intersection over union, where both windows see them, of two things that are one."""
EXPLAINED = 0.5
"""Least share of a piece that lies in a thing found whole elsewhere, of which it is then a part."""
MARGIN = 3.0
"""Pixels: what comes so near to a window's border may go on behind it."""
TOUCH = 0.25
"""Pixels: what comes so near to a seam touches it."""
_NOTHING = 1e-9

Join = Callable[[Geometries], BaseGeometry]
"""Puts the pieces of a thing together."""


def _box_around(pieces: Geometries) -> BaseGeometry:
    box: BaseGeometry = shapely.box(*shapely.total_bounds(pieces))
    return box


def _turned_box_around(pieces: Geometries) -> BaseGeometry:
    box: BaseGeometry = shapely.minimum_rotated_rectangle(shapely.union_all(pieces))
    return box


def _all_of_them(pieces: Geometries) -> BaseGeometry:
    union: BaseGeometry = shapely.union_all(pieces)
    return union


JOINS: Mapping[str, Join] = {
    "boxes": _box_around,
    "oriented-boxes": _turned_box_around,
    "instances": _all_of_them,
}
"""By `Task.name`."""


@dataclass(frozen=True)
class Pieces:
    """What was found in one window."""

    window: Window
    shapes: Geometries
    """(N,) polygons; x counts columns, y rows of the map."""
    codes: NDArray[np.uint8]
    """(N,) class codes."""
    scores: NDArray[np.float32]
    """(N,)."""

    def in_order(self) -> Pieces:
        """The same ones, the surest first, of equal ones the first by place."""
        left, top, right, bottom = shapely.bounds(self.shapes).reshape(-1, 4).T
        order = np.lexsort((right, bottom, left, top, self.codes, -self.scores))
        return Pieces(self.window, self.shapes[order], self.codes[order], self.scores[order])


@dataclass(frozen=True)
class Merged:
    """Things of a map, in the order of their upper edges, then of their left ones."""

    shapes: Geometries
    codes: NDArray[np.uint8]
    scores: NDArray[np.float32]
    joined: NDArray[np.bool_]
    """(N,) whether no window saw the thing whole."""

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass
class _Thing:
    """A thing, as far as it is known."""

    shapes: list[BaseGeometry]
    codes: list[int]
    scores: list[float]
    whole: list[bool]
    windows: set[Window]
    top: float
    end: int
    """The row behind the last window that saw it."""

    def take(self, other: _Thing) -> None:
        self.shapes += other.shapes
        self.codes += other.codes
        self.scores += other.scores
        self.whole += other.whole
        self.windows |= other.windows
        self.top, self.end = min(self.top, other.top), max(self.end, other.end)


@dataclass(frozen=True)
class _Settled:
    shape: BaseGeometry
    code: int
    score: float
    whole: bool
    windows: frozenset[Window]
    bounds: tuple[float, float, float, float]
    """Left, top, right, bottom."""

    @property
    def place(self) -> tuple[float, ...]:
        left, top, right, bottom = self.bounds
        return (top, left, bottom, right, self.code, -self.score)


@dataclass
class _Live:
    """A window that others may meet, and the number of the thing that each piece is of."""

    pieces: Pieces
    numbers: list[int]


@dataclass
class Merger:
    """Takes rows of windows from top to bottom, and gives things when they are done.

    `shape` is the map's; `join` puts pieces together. The result does not depend on the order of
    the windows of a row.
    """

    shape: Shape2d
    join: Join
    _live: list[_Live] = field(default_factory=list)
    _things: dict[int, _Thing] = field(default_factory=dict)
    _parents: dict[int, int] = field(default_factory=dict)
    _count: int = 0
    _settled: list[_Settled] = field(default_factory=list)
    """Things that are done and were not given."""
    _wholes: list[_Settled] = field(default_factory=list)
    """Things that were seen whole, as long as a piece of them may come."""

    def push(self, row: Sequence[Pieces], following: int | None) -> Merged:
        """The things that are done after a row of windows; `following` is the first pixel of the
        next row, None after the last."""
        for pieces in sorted((each.in_order() for each in row), key=lambda p: p.window.col):
            live = _Live(pieces, self._begun(pieces))
            for other in self._live:
                for ours, theirs in same_things(pieces, other.pieces, self.shape):
                    self._unite(live.numbers[ours], other.numbers[theirs])
            self._live.append(live)
        reached = float("inf") if following is None else float(following)
        # Windows that touch are compared too.
        self._live = [e for e in self._live if _end(e.pieces.window) >= reached]
        self._settle(reached)
        return self._given(reached)

    def _begun(self, pieces: Pieces) -> list[int]:
        whole = ~is_cut(pieces.shapes, pieces.window, self.shape)
        tops = shapely.bounds(pieces.shapes).reshape(-1, 4)[:, 1]
        numbers = []
        for at, shape in enumerate(pieces.shapes):
            number, self._count = self._count, self._count + 1
            self._parents[number] = number
            self._things[number] = _Thing(
                [shape],
                [int(pieces.codes[at])],
                [float(pieces.scores[at])],
                [bool(whole[at])],
                {pieces.window},
                float(tops[at]),
                _end(pieces.window),
            )
            numbers.append(number)
        return numbers

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def _unite(self, one: int, other: int) -> None:
        one, other = sorted((self._root(one), self._root(other)))
        if one != other:
            self._parents[other] = one
            self._things[one].take(self._things.pop(other))

    def _settle(self, reached: float) -> None:
        """Ends the things that no window which comes can see."""
        done = [number for number, thing in self._things.items() if thing.end < reached]
        for number in done:
            settled = _settled(self._things.pop(number), self.join)
            self._settled.append(settled)
            if settled.whole:
                self._wholes.append(settled)
        kept = {self._root(number) for live in self._live for number in live.numbers}
        numbers = [number for live in self._live for number in live.numbers]
        self._parents = {n: self._root(n) for n in {*numbers, *kept}}

    def _given(self, reached: float) -> Merged:
        """Those of the things that are done before which none can come any more."""
        open_tops = [thing.top for thing in self._things.values()]
        first = min([reached, *open_tops])
        decided, waiting = [], []
        for thing in sorted(self._settled, key=lambda each: each.place):
            if not thing.whole and thing.bounds[3] > first:
                waiting.append(thing)
            elif thing.whole or not self._is_explained(thing):
                decided.append(thing)
        border = min([first, *(thing.bounds[1] for thing in waiting)])
        given = [thing for thing in decided if thing.bounds[1] < border]
        self._settled = waiting + [thing for thing in decided if thing.bounds[1] >= border]
        self._wholes = [whole for whole in self._wholes if whole.bounds[3] > border]
        return _merged(given)

    def _is_explained(self, piece: _Settled) -> bool:
        """Whether a piece is most likely a part of a thing that was found whole elsewhere."""
        left, top, right, bottom = piece.bounds
        area = shapely.area(piece.shape)
        for whole in self._wholes:
            x0, y0, x1, y1 = whole.bounds
            apart = x0 >= right or x1 <= left or y0 >= bottom or y1 <= top
            # A window that saw both knew that they are two.
            if apart or whole.code != piece.code or whole.windows & piece.windows:
                continue
            common = shapely.area(shapely.intersection(whole.shape, piece.shape))
            if common >= EXPLAINED * area:
                return True
        return False


def merge(
    rows: Iterable[tuple[int, Sequence[Pieces]]], shape: Shape2d, join: Join
) -> Iterable[Merged]:
    """All things of a map; `rows` are rows of windows with their first pixels, top to bottom."""
    merger = Merger(shape, join)
    waiting: Sequence[Pieces] | None = None
    for top, row in rows:
        if waiting is not None:
            yield merger.push(waiting, top)
        waiting = row
    if waiting is not None:
        yield merger.push(waiting, None)


def same_things(ours: Pieces, theirs: Pieces, whole: Shape2d) -> list[tuple[int, int]]:
    """Pairs of indices of what is one thing in two windows, each in one pair at most.

    First those that are alike where both windows see them; then, of what is left, pieces that a
    window cut, and that lie mostly in the other thing.
    """
    seen = _in_common(ours, theirs)
    if seen is None:
        return []
    (mine, a), (yours, b) = seen
    if not len(a) or not len(b):
        return []
    some_cut, other_cut = (is_cut(each.shapes, each.window, whole) for each in (ours, theirs))
    rows, cols = np.nonzero(ours.codes[mine][:, None] == theirs.codes[yours][None])
    common = shapely.area(shapely.intersection(a[rows], b[cols]))
    areas = shapely.area(a)[rows], shapely.area(b)[cols]
    shares = common / (areas[0] + areas[1] - common)
    parts = np.where(some_cut[mine][rows] | other_cut[yours][cols], common / np.minimum(*areas), 0)
    pairs = _one_to_one(rows, cols, shares)
    used = [{pair[side] for pair in pairs} for side in (0, 1)]
    free = ~np.isin(rows, list(used[0])) & ~np.isin(cols, list(used[1]))
    pairs += _one_to_one(rows, cols, np.where(free, parts, 0))
    return [(int(mine[row]), int(yours[col])) for row, col in pairs]


def _one_to_one(
    rows: NDArray[np.int64], cols: NDArray[np.int64], shares: NDArray[np.float64]
) -> list[tuple[int, int]]:
    """Pairs with the greatest shares first, none below `ALIKE`, each row and column once."""
    pairs, used = [], (set[int](), set[int]())
    for at in np.argsort(-shares, kind="stable"):
        row, col = int(rows[at]), int(cols[at])
        if shares[at] < ALIKE:
            break
        if row not in used[0] and col not in used[1]:
            used[0].add(row)
            used[1].add(col)
            pairs.append((row, col))
    return pairs


def is_cut(shapes: Geometries, window: Window, whole: Shape2d) -> NDArray[np.bool_]:
    """(N,) whether a thing comes near a border of its window that is not the map's."""
    left, top, right, bottom = shapely.bounds(shapes).reshape(-1, 4).T
    end_row, end_col = _end(window), window.col + window.shape.cols
    cut = np.zeros(len(shapes), np.bool_)
    if window.col > 0:
        cut |= left < window.col + MARGIN
    if window.row > 0:
        cut |= top < window.row + MARGIN
    if end_col < whole.cols:
        cut |= right > end_col - MARGIN
    if end_row < whole.rows:
        cut |= bottom > end_row - MARGIN
    return cut


_Seen = tuple[NDArray[np.int64], Geometries]
"""Indices of things, and what of each is compared."""


def _in_common(ours: Pieces, theirs: Pieces) -> tuple[_Seen, _Seen] | None:
    """What two windows both see of their things; None where they are apart."""
    a, b = ours.window, theirs.window
    top, end_row = max(a.row, b.row), min(_end(a), _end(b))
    left = max(a.col, b.col)
    end_col = min(a.col + a.shape.cols, b.col + b.shape.cols)
    high, wide = end_row - top, end_col - left
    if high < 0 or wide < 0 or (high == 0 and wide == 0):
        return None
    if high > 0 and wide > 0:
        zone = (left, top, end_col, end_row)
        return _clipped(ours, zone), _clipped(theirs, zone)
    seam = (left, top, end_col, end_row)
    return _beside(ours, seam), _beside(theirs, seam)


def _beside(pieces: Pieces, seam: tuple[int, int, int, int]) -> _Seen:
    """How far along a seam each thing touches it, as boxes of one width."""
    left, top, right, bottom = seam
    at, shapes = _clipped(pieces, (left - TOUCH, top - TOUCH, right + TOUCH, bottom + TOUCH))
    x0, y0, x1, y1 = shapely.bounds(shapes).reshape(-1, 4).T
    zero, one = np.zeros(len(at)), np.ones(len(at))
    if left == right:
        return at, shapely.box(zero, np.maximum(y0, top), one, np.minimum(y1, bottom))
    return at, shapely.box(np.maximum(x0, left), zero, np.minimum(x1, right), one)


def _clipped(pieces: Pieces, zone: tuple[float, float, float, float]) -> _Seen:
    left, top, right, bottom = zone
    x0, y0, x1, y1 = shapely.bounds(pieces.shapes).reshape(-1, 4).T
    at = np.flatnonzero((x0 < right) & (x1 > left) & (y0 < bottom) & (y1 > top))
    cut = shapely.intersection(pieces.shapes[at], shapely.box(*zone))
    there = shapely.area(cut) > _NOTHING
    return at[there], cut[there]


def _settled(thing: _Thing, join: Join) -> _Settled:
    """The surest of those that a window saw whole, the first by place among equals; else all."""
    shapes = np.array(thing.shapes, object)
    places = shapely.bounds(shapes)
    order = sorted(range(len(shapes)), key=lambda at: (-thing.scores[at], *places[at]))
    wholes = [at for at in order if thing.whole[at]]
    at = wholes[0] if wholes else order[0]
    shape = shapes[at] if wholes or len(shapes) == 1 else join(shapes[order])
    left, top, right, bottom = (float(edge) for edge in shapely.bounds(shape))
    return _Settled(
        shape,
        thing.codes[at],
        thing.scores[at],
        bool(wholes),
        frozenset(thing.windows),
        (left, top, right, bottom),
    )


def _merged(things: Sequence[_Settled]) -> Merged:
    shapes = np.empty(len(things), object)
    shapes[:] = [thing.shape for thing in things]
    return Merged(
        shapes,
        np.array([thing.code for thing in things], np.uint8),
        np.array([thing.score for thing in things], np.float32),
        np.array([not thing.whole for thing in things], np.bool_),
    )


def _end(window: Window) -> int:
    return window.row + window.shape.rows
