"""Counts of clear observations added up strip by strip: pictures, histograms and gaps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from earthloom.cube.coverage_assessment import least_of

MOST = 200
"""Pixels, both ways, of the pictures that are kept of a layer."""


@dataclass(frozen=True)
class LayerGrid:
    """A layer's grid and time steps as the store says."""

    box: GeoBox
    spans: tuple[tuple[date, date], ...]
    """First and last day of each step."""

    @cached_property
    def block(self) -> int:
        """Pixels, both ways, of the layer to one of its picture."""
        return -(-max(self.box.shape.y, self.box.shape.x) // MOST)

    @property
    def small(self) -> GeoBox:
        """The grid of the picture."""
        shape = (-(-self.box.shape.y // self.block), -(-self.box.shape.x // self.block))
        return GeoBox(shape, self.box.affine * Affine.scale(self.block), self.box.crs)


class Tally:
    """Sums over a layer's strips."""

    def __init__(self, grid: LayerGrid, months: int, month_of: list[int]) -> None:
        self._grid, self._month_of = grid, month_of
        steps, shape = len(grid.spans), tuple(grid.small.shape)
        first = min(start for start, _ in grid.spans)
        self._spans = [((a - first).days, (b - first).days) for a, b in grid.spans]
        self._last = max(end for _, end in self._spans)
        self.pixels = 0
        self.sums = np.zeros(steps, np.int64)
        self.seen = np.zeros(steps, np.int64)
        self.observations = np.zeros(255 * steps + 1, np.int64)
        self.gaps = np.zeros(self._last + 2, np.int64)
        self._inside = np.zeros(shape, np.int64)
        self.months = np.zeros((months, *shape), np.int64)
        self.months_seen = np.zeros(months, np.int64)
        self.steps = np.zeros(shape, np.int64)
        self.gap = np.zeros(shape, np.int64)

    def count(
        self, strips: Iterable[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]
    ) -> Iterator[NDArray[np.bool_]]:
        """Counts strips (first row, counts (T, rows, W), inside (rows, W)) as they pass, and hands
        on which of their pixels inside were clean: (T, pixels)."""
        for row, counts, inside in strips:
            within = counts[:, inside]
            clean = within > 0
            self.pixels += within.shape[1]
            self.sums += within.sum(axis=1, dtype=np.int64)
            self.seen += clean.sum(axis=1)
            for month in range(len(self.months_seen)):
                of_month = [step for step, each in enumerate(self._month_of) if each == month]
                self.months_seen[month] += np.count_nonzero(clean[of_month].any(axis=0))
            total = within.sum(axis=0, dtype=np.int64)
            self.observations += np.bincount(total, minlength=len(self.observations))
            longest = longest_gap(clean, self._spans, self._last)
            self.gaps += np.bincount(longest, minlength=len(self.gaps))
            self._draw(row, counts, inside, longest)
            yield clean

    def _draw(
        self,
        row: int,
        counts: NDArray[np.uint8],
        inside: NDArray[np.bool_],
        longest: NDArray[np.int32],
    ) -> None:
        """Adds a strip to the pictures."""
        gap = np.zeros(inside.shape, np.int32)
        gap[inside] = longest
        self._add(self._inside, row, inside)
        self._add(self.gap, row, gap)
        for step, month in enumerate(self._month_of):
            image = np.where(inside, counts[step], 0)
            self._add(self.months[month], row, image)
            self._add(self.steps, row, image > 0)

    def _add(self, sums: NDArray[np.int64], row: int, image: NDArray[Any]) -> None:
        """Adds a strip (rows, W) that begins at a row of the layer to sums over blocks (h, w)."""
        block = self._grid.block
        across = np.add.reduceat(image, range(0, image.shape[1], block), axis=1, dtype=np.int64)
        first = row // block
        starts = [max(at - row, 0) for at in range(first * block, row + len(image), block)]
        down = np.add.reduceat(across, starts, axis=0)
        sums[first : first + len(down)] += down

    def picture(self, sums: NDArray[np.int64]) -> NDArray[np.float32]:
        """Means over the pixels inside of sums over blocks (..., h, w); NaN where none is."""
        pixels = np.where(self._inside > 0, self._inside, np.nan)
        means: NDArray[np.float32] = (sums / pixels).astype(np.float32)
        return means


def longest_gap(
    clean: NDArray[np.bool_], spans: list[tuple[int, int]], last: int
) -> NDArray[np.int32]:
    """Days of the longest time without a step that saw the pixel, from (T, N) to (N,).

    `spans` are the first and last day of each step, in their order, from day 0 to day `last`.
    """
    longest = np.zeros(clean.shape[1], np.int32)
    seen_to = np.full(clean.shape[1], -1, np.int32)
    for step, (start, end) in enumerate(spans):
        gap = np.where(clean[step], start - 1 - seen_to, 0).astype(np.int32)
        np.maximum(longest, gap, out=longest)
        seen_to[clean[step]] = end
    return np.maximum(longest, last - seen_to).astype(np.int32)


def sparse(histogram: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """What a histogram counts, without what there is none of."""
    return tuple((int(at), int(histogram[at])) for at in np.flatnonzero(histogram))


def quantile(histogram: tuple[tuple[int, int], ...], share: float) -> int:
    """The least value that so large a share of all do not exceed."""
    values, numbers = zip(*histogram)
    below = np.cumsum(numbers)
    return int(values[int(np.searchsorted(below, least_of(share, int(below[-1]))))])
