"""How windows lie over a grid, and how they are dealt out into parts.

Along each axis a window is a stretch of pixels; a window of the map is a stretch of rows by a
stretch of columns, so all that follows is said of one axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from earthloom.errors import ContractError
from earthloom.sample import LayerSpec, Shape2d, Window

PART = 1536
"""Pixels, both ways, that a part has about: a tile of a cube, so that a part reads whole files."""
EXACT_RADII = 6
"""Least width of an exact map's windows in radii of the model. A window's rim counts for nothing,
so that of windows so wide four ninths are used."""


class Looks(Protocol):
    """What a model says of how far it looks; `Model` and `Predictor` both say it."""

    @property
    def layers(self) -> Sequence[LayerSpec]:
        """What it was made for."""
        ...

    @property
    def radius(self) -> int:
        """Base pixels that it looks beyond the one it predicts."""
        ...

    @property
    def alignment(self) -> int:
        """Base pixels that its windows start on multiples of."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether nothing beyond the radius has any effect."""
        ...


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of a map."""

    length: int
    """Pixels of the map. The last window may end behind it, on a whole pixel of each layer."""
    starts: tuple[int, ...]
    """First pixel of each window, rising."""
    ends: tuple[int, ...]
    """The pixel behind the last one of each window, rising."""
    margin: int
    """Pixels inside a window's inner borders whose predictions do not count."""
    ramp: int
    """Pixels over which a window's weight rises from its inner borders."""

    @property
    def extent(self) -> int:
        """Pixels that the windows reach."""
        return self.ends[-1]


@dataclass(frozen=True)
class Tiling:
    """Windows of `size` pixels every `stride` pixels; where they overlap they are blended."""

    size: int
    stride: int
    margin: int = 0
    """See `Axis`; with it a map is exact if it is the model's radius."""
    multiple: int = 1
    """Windows end on multiples of so many pixels: whole pixels of every layer."""
    step: int = 1
    """Windows start on multiples of so many pixels; a multiple of `multiple`."""

    def axis(self, length: int) -> Axis:
        """The windows over so many pixels. The last one ends where the map does, and overlaps the
        one before it more than others do, so that it sees as much as they."""
        extent = _up(length, self.multiple)
        last = _up(max(extent - self.size, 0), self.step)
        starts = (*range(0, max(extent - self.size, 0), self.stride), last)
        ends = (*(start + self.size for start in starts[:-1]), extent)
        ramp = self.size - self.stride - 2 * self.margin
        return Axis(length, starts, ends, self.margin, ramp)


@dataclass(frozen=True)
class Block:
    """The stretch of one axis that a part covers.

    Its windows reach from `start` to `end`. What lies between `before` and `after` no other
    part's window reaches; the rest is shared with one neighbour on either side.
    """

    number: int
    first: int
    """The first of its windows."""
    last: int
    """Behind the last of its windows."""
    start: int
    before: int
    after: int
    end: int


def tiling_for(model: Looks, window: int, overlap: float, exact: bool = False) -> Tiling:
    """Windows that suit a model's layers and how far it looks.

    `overlap` is the share of a window that the next one covers too; a model that looks at single
    pixels needs none. An exact map takes wider windows where the model looks far, and the overlap
    that exactness needs. ContractError if the model cannot be exact.
    """
    multiple = math.lcm(*(spec.factor for spec in model.layers))
    step = math.lcm(multiple, model.alignment)
    size = max(window // step, 1) * step
    if exact and not model.is_local:
        raise ContractError(
            "map.exact asks for a model that looks at its surroundings alone; this one is "
            "normalised over its whole window: fit it with model.norm: batch, or set map.exact: "
            "false"
        )
    if model.radius == 0:
        return Tiling(size, size, multiple=multiple, step=step)
    if not exact:
        stride = max(int(size * (1 - overlap)) // step, 1) * step
        return Tiling(size, stride, multiple=multiple, step=step)
    size = max(size, _up(EXACT_RADII * model.radius, step), _up(2 * model.radius, step) + step)
    stride = (size - 2 * model.radius) // step * step
    return Tiling(size, stride, model.radius, multiple, step)


def blocks_of(axis: Axis, tiling: Tiling, part: int = PART) -> tuple[Block, ...]:
    """The windows of an axis in blocks of about `part` pixels, as even as can be.

    A block has so many windows that those of no more than two blocks meet in a pixel.
    """
    count = len(axis.starts)
    least = -(-tiling.size // tiling.stride)
    number = max(count // max(least, round(part / tiling.stride)), 1)
    edges = [count * each // number for each in range(number + 1)]
    return tuple(_block(axis, at, edges[at], edges[at + 1]) for at in range(number))


def _block(axis: Axis, number: int, first: int, last: int) -> Block:
    start, end = axis.starts[first], axis.ends[last - 1]
    return Block(
        number=number,
        first=first,
        last=last,
        start=start,
        before=axis.ends[first - 1] if first else start,
        after=axis.starts[last] if last < len(axis.starts) else end,
        end=end,
    )


@dataclass(frozen=True)
class Part:
    """A block of whole windows: the piece of a map that a worker does alone."""

    rows: Block
    cols: Block

    @property
    def name(self) -> str:
        """Unique among the parts of a map."""
        return f"{self.rows.number:05d}_{self.cols.number:05d}"

    @property
    def whole(self) -> Window:
        """All that its windows reach."""
        rows, cols = self.rows, self.cols
        return Window(rows.start, cols.start, Shape2d(rows.end - rows.start, cols.end - cols.start))


@dataclass(frozen=True)
class Layout:
    """All windows and parts of a map."""

    rows: Axis
    cols: Axis
    row_blocks: tuple[Block, ...]
    col_blocks: tuple[Block, ...]

    @property
    def shape(self) -> Shape2d:
        """Of the map."""
        return Shape2d(self.rows.length, self.cols.length)

    def parts(self) -> list[Part]:
        """All parts, row by row."""
        return [Part(rows, cols) for rows in self.row_blocks for cols in self.col_blocks]

    def window(self, row: int, col: int) -> Window:
        """The pixels of a window by its numbers among the windows of both axes."""
        top, left = self.rows.starts[row], self.cols.starts[col]
        return Window(top, left, Shape2d(self.rows.ends[row] - top, self.cols.ends[col] - left))

    def windows(self, part: Part) -> list[Window]:
        """The windows of a part, row by row."""
        rows, cols = part.rows, part.cols
        return [
            self.window(row, col)
            for row in range(rows.first, rows.last)
            for col in range(cols.first, cols.last)
        ]


def layout_of(shape: Shape2d, tiling: Tiling, part: int = PART) -> Layout:
    """The windows over a map and their parts."""
    rows, cols = tiling.axis(shape.rows), tiling.axis(shape.cols)
    return Layout(rows, cols, blocks_of(rows, tiling, part), blocks_of(cols, tiling, part))


def _up(length: int, multiple: int) -> int:
    """The next multiple that is not below a length."""
    return -(-length // multiple) * multiple
