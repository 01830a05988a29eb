"""A model over the windows of one part of a map: read, predicted, blended, row by row.

Reading goes on in a thread (`ahead`) while the model works, so that neither waits for the other.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.maps.blend import Sums, weights_along
from earthloom.maps.tiling import Layout, Part
from earthloom.sample import Chip, Layer, LayerSpec, Moments, Place, Shape2d, Window
from earthloom.sample.batch import Batch, collate

READ = 256
"""Rows of the base grid that are read at a time, as high as a chunk of a cube."""
AHEAD = 2
"""Batches that are made ready while the model works on another."""
T = TypeVar("T")


class Predictor(Protocol):
    """A model that was made ready to predict."""

    @property
    def planes(self) -> int:
        """Planes K of what it predicts."""
        ...

    @property
    def ahead(self) -> int:
        """How many batches to begin before the first result is asked for, so that it never waits
        for windows."""
        ...

    def begin(self, batch: Batch) -> "Pending":
        """Starts on a batch in the background."""
        ...


class Pending(Protocol):
    """A prediction that is being made."""

    def result(self) -> Tensor:
        """Waits for it: (B, K, H, W) float32 on the base grid, in memory of the processor; NaN in
        every plane where nothing was seen. The caller may write it over."""
        ...


class Pixels(Protocol):
    """What is predicted from; a `Cube` is one."""

    @property
    def shape(self) -> Shape2d:
        """Of the base grid."""
        ...

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        """The layers, by key."""
        ...

    def window(self, window: Window) -> dict[str, Layer]:
        """All layers of a window, which may reach over the edges."""
        ...


@dataclass(frozen=True)
class PartPixels:
    """The pixels of a part, and what else its chips need."""

    pixels: Pixels
    layout: Layout
    part: Part
    batch: int
    """Windows, at most, that the model is given at a time."""
    wanted: frozenset[Window]
    """Those windows of which anything is mapped."""
    moments: Moments | None = None
    place: Place | None = None
    """Of the base grid, for encoders that look at where a chip is."""

    def batches(self) -> Iterator["Windows"]:
        """The windows of a part that are wanted and were seen, row by row, in batches of one
        shape."""
        for _, alike in groupby(self._chips(), key=lambda each: each[2].shape):
            while some := list(islice(alike, self.batch)):
                places = tuple((row, col) for row, col, _ in some)
                yield Windows(places, collate([chip for _, _, chip in some]))

    def _chips(self) -> Iterator[tuple[int, int, Chip]]:
        """Each window with the numbers of its row and column."""
        rows, cols = self.part.rows, self.part.cols
        pieces = _Pieces(self.pixels, self.part)
        for row in range(rows.first, rows.last):
            for col in range(cols.first, cols.last):
                window = self.layout.window(row, col)
                if window not in self.wanted:
                    continue
                layers = pieces.window(window)
                if _anything_seen(layers):
                    name = f"{window.row}_{window.col}"
                    place = None if self.place is None else self.place.window(window)
                    chip = Chip(name, window.shape, layers, place=place, moments=self.moments)
                    yield row, col, chip


@dataclass(frozen=True)
class Windows:
    """Windows of one shape, ready to be predicted."""

    places: tuple[tuple[int, int], ...]
    """The row and the column of each among the windows of the map."""
    batch: Batch


def predict_part(
    predictor: Predictor, layout: Layout, part: Part, batches: Iterator[Windows]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The blended sums of a part strip by strip: the first row, and (K + 1, rows, W).

    The last plane is the weights; K planes over it are the prediction. W is all that the part's
    windows reach, which is more than its core. `batches` are those of the part's pixels.
    """
    starts, ends = layout.rows.starts, layout.rows.ends
    along_rows, along_cols = weights_along(layout.rows), weights_along(layout.cols)
    sums = Sums(predictor.planes, part.cols.end - part.cols.start)
    predicted = _predicted(predictor, batches)
    waiting = next(predicted, None)
    for row in range(part.rows.first, part.rows.last):
        sums.reach(ends[row] - starts[row])
        while waiting is not None and waiting[0] == row:
            _, col, shares = waiting
            weight = torch.from_numpy(np.outer(along_rows[row], along_cols[col]))
            sums.add(layout.cols.starts[col] - part.cols.start, shares, weight)
            waiting = next(predicted, None)
        below = starts[row + 1] if row + 1 < part.rows.last else part.rows.end
        yield starts[row], sums.leave(below - starts[row])


def _predicted(
    predictor: Predictor, batches: Iterator[Windows]
) -> Iterator[tuple[int, int, Tensor]]:
    """Row, column and prediction (K, h, w) of each window, in order."""
    begun: deque[tuple[Windows, Pending]] = deque()
    for windows in batches:
        begun.append((windows, predictor.begin(windows.batch)))
        if len(begun) > predictor.ahead:
            yield from _results(*begun.popleft())
    for each in begun:
        yield from _results(*each)


def _results(windows: Windows, pending: Pending) -> Iterator[tuple[int, int, Tensor]]:
    for (row, col), shares in zip(windows.places, pending.result(), strict=True):
        yield row, col, shares


class _Pieces:
    """The pixels of a part, read in pieces that lie as the chunks of a cube do, each once."""

    def __init__(self, pixels: Pixels, part: Part) -> None:
        factors = (spec.factor for spec in pixels.specs.values())
        self._high = int(np.lcm.reduce([READ, *factors]))
        self._pixels, self._part = pixels, part
        self._read: dict[int, dict[str, Layer]] = {}
        """By number; those above the last window that was asked for are let go."""

    def window(self, window: Window) -> dict[str, Layer]:
        """All layers of a window; windows come row by row."""
        first, last = window.row, window.row + window.shape.rows
        numbers = range(first // self._high, -(-last // self._high))
        if self._read.keys() != set(numbers):
            self._read = {n: self._read[n] for n in numbers if n in self._read}
            for number in numbers:
                if number not in self._read:
                    self._read[number] = self._piece(number)
        return {
            key: _stacked([self._cut(number, key, window) for number in numbers])
            for key in self._pixels.specs
        }

    def _piece(self, number: int) -> dict[str, Layer]:
        top, end = self._rows(number)
        shape = Shape2d(end - top, self._part.cols.end - self._part.cols.start)
        return self._pixels.window(Window(top, self._part.cols.start, shape))

    def _rows(self, number: int) -> tuple[int, int]:
        """The rows of a piece that lie in the part."""
        top, end = number * self._high, (number + 1) * self._high
        return max(top, self._part.rows.start), min(end, self._part.rows.end)

    def _cut(self, number: int, key: str, window: Window) -> Layer:
        """What a window and a piece have in common, of one layer."""
        top, end = self._rows(number)
        layer, left = self._read[number][key], window.col - self._part.cols.start
        factor = layer.spec.factor
        rows = slice(
            (max(window.row, top) - top) // factor,
            (min(window.row + window.shape.rows, end) - top) // factor,
        )
        cols = slice(left // factor, (left + window.shape.cols) // factor)
        pixels, valid = layer.pixels[..., rows, cols], layer.valid[..., rows, cols]
        return Layer(layer.spec, pixels, valid, layer.days)


def _stacked(parts: list[Layer]) -> Layer:
    """Stretches of a layer, one below the other."""
    if len(parts) == 1:
        return parts[0]
    pixels = np.concatenate([part.pixels for part in parts], axis=2)
    valid = np.concatenate([part.valid for part in parts], axis=1)
    return Layer(parts[0].spec, pixels, valid, parts[0].days)


def _anything_seen(layers: Mapping[str, Layer]) -> bool:
    """Whether a layer that changes in time was seen anywhere; see `encoders.base.seen_in`."""
    moving = [layer for layer in layers.values() if layer.spec.dates != ("static",)]
    return any(bool(layer.valid.any()) for layer in moving or layers.values())


@contextmanager
def ahead(items: Iterator[T], count: int = AHEAD) -> Iterator[Iterator[T]]:
    """The same items in the same order, made by a thread while the last ones are worked on; the
    first ones at once."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(_next, items) for _ in range(count))
        try:
            yield _in_turn(waiting, lambda: thread.submit(_next, items))
        finally:
            thread.shutdown(cancel_futures=True)


def _in_turn(
    waiting: deque[Future[tuple[T] | None]], another: Callable[[], Future[tuple[T] | None]]
) -> Iterator[T]:
    while found := waiting.popleft().result():
        waiting.append(another())
        yield found[0]


def _next(items: Iterator[T]) -> tuple[T] | None:
    """The next item in a tuple, or None behind the last one."""
    for item in items:
        return (item,)
    return None
