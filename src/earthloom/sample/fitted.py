"""Chips of many sizes brought to one: what is too small is padded, what is too large is cut."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError
from earthloom.sample.chip import IGNORE, Chip, Layer, LayerSpec
from earthloom.sample.moving import LEAST_SEEN, move_target
from earthloom.sample.place import Shape2d, Window
from earthloom.sample.samples import Samples

_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True)
class Fitted:
    """Samples whose chips all have one size, as a loader and an encoder need it.

    A chip that is too small is padded to the right and below, so that its upper left corner stays:
    nothing is valid there, labels are `IGNORE`, values NaN. Of one that is too large the middle is
    kept. The answer is moved with the pixels, see `move_target`.
    """

    samples: Samples
    size: int
    """Rows and columns of the base grid; a multiple of every layer's factor."""
    least_seen: float = LEAST_SEEN
    """Boxes and instances of which less than this share is left are dropped."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % self._step:
            raise ContractError(
                f"chips cannot be fitted to {self.size} pixels; the layers need a multiple of "
                f"{self._step}"
            )

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.samples.specs

    @property
    def groups(self) -> Sequence[str]:
        return self.samples.groups

    @property
    def shape(self) -> Shape2d:
        """Of every chip."""
        return Shape2d(self.size, self.size)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Chip:
        chip = self.samples[index]
        if chip.shape == self.shape:
            return chip
        row, col = (max(side - self.size, 0) // 2 // self._step * self._step for side in chip.shape)
        return cut_chip(chip, Window(row, col, self.shape), self.least_seen)

    @cached_property
    def _step(self) -> int:
        return math.lcm(*(spec.factor for spec in self.samples.specs.values()))


@dataclass(frozen=True)
class Cut:
    """A window of a chip, which may reach over its edges; a `Mover`."""

    window: Window
    whole: Shape2d
    """Of the chip before."""

    @property
    def shape(self) -> Shape2d:
        return self.window.shape

    @property
    def cuts(self) -> bool:
        row, col, (rows, cols) = self.window.row, self.window.col, self.window.shape
        return row > 0 or col > 0 or row + rows < self.whole.rows or col + cols < self.whole.cols

    @property
    def mirrors(self) -> bool:
        return False

    @property
    def matrix(self) -> NDArray[np.float64]:
        return np.array([[1, 0, self.window.col], [0, 1, self.window.row], [0, 0, 1]], np.float64)

    def nearest(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        return _cut(numbers, self.window, 0)

    def smooth(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return _cut(values, self.window, np.nan)


def cut_chip(chip: Chip, window: Window, least_seen: float = LEAST_SEEN) -> Chip:
    """A window of a chip; what lies beyond its edges is not valid, `IGNORE` and NaN.

    ContractError if the window does not lie on whole pixels of every layer.
    """
    return replace(
        chip,
        shape=window.shape,
        layers={key: _layer(layer, window) for key, layer in chip.layers.items()},
        label=None if chip.label is None else _cut(chip.label, window, IGNORE),
        place=None if chip.place is None else chip.place.window(window),
        weight=None if chip.weight is None else _cut(chip.weight, window, 0.0),
        target=move_target(chip.target, Cut(window, chip.shape), least_seen),
    )


def _layer(layer: Layer, window: Window) -> Layer:
    part = window.coarser(layer.spec.factor)
    pixels, valid = _cut(layer.pixels, part, np.nan), _cut(layer.valid, part, False)
    return replace(layer, pixels=pixels, valid=valid)


def _cut(plane: NDArray[_Number], window: Window, beyond: Any) -> NDArray[_Number]:
    """A window of (..., H, W)."""
    rows, cols = plane.shape[-2:]
    made = np.full((*plane.shape[:-2], *window.shape), beyond, plane.dtype)
    top, left = max(window.row, 0), max(window.col, 0)
    bottom = min(window.row + window.shape.rows, rows)
    right = min(window.col + window.shape.cols, cols)
    if bottom > top and right > left:
        to_rows = slice(top - window.row, bottom - window.row)
        to_cols = slice(left - window.col, right - window.col)
        made[..., to_rows, to_cols] = plane[..., top:bottom, left:right]
    return made
