"""A model over a whole area, window by window, in memory that does not grow with the area."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from earthloom.cube import Cube
from earthloom.fit import Model
from earthloom.sample import Chip, Moments, Shape2d, Window
from earthloom.sample.batch import collate

BATCH_PIXELS = 256 * 256
"""How many pixels the model is given at a time."""


@dataclass(frozen=True)
class Tiling:
    """How windows lie over a grid.

    Windows of `size` pixels start every `stride` pixels. Where the model looks beyond its pixel
    they overlap, and their predictions are blended with weights that fall towards the edges.
    """

    size: int
    stride: int

    def starts(self, length: int) -> list[int]:
        """Where windows start along an axis, so that the last one reaches its end."""
        return list(range(0, max(length - self.size, 0) + self.stride, self.stride))

    def ramp(self) -> NDArray[np.float32]:
        """Weight of each pixel along one axis of a window: one in the middle, falling linearly
        over the overlap, never zero."""
        overlap = self.size - self.stride
        distance = np.minimum(np.arange(self.size), np.arange(self.size)[::-1]) + 1
        return np.minimum(distance / (overlap + 1), 1).astype(np.float32)


def tiling_for(model: Model, window: int, overlap: float) -> Tiling:
    """Windows that suit a model's layers and its receptive radius."""
    multiple = int(np.lcm.reduce([spec.factor for spec in model.layers]))
    size = max(window // multiple, 1) * multiple
    if model.radius == 0:
        return Tiling(size, size)
    stride = max(int(size * (1 - overlap)) // multiple, 1) * multiple
    return Tiling(size, stride)


def predict_strips(
    model: Model,
    cube: Cube,
    tiling: Tiling,
    tick: Callable[[int, int], None],
    moments: Moments | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Probabilities strip by strip: the first row, and (K, rows, W); NaN where nothing was seen.

    Holds one row of windows: what lies above the next row of windows is finished and leaves.
    """
    shape = cube.shape
    rows, cols = tiling.starts(shape.rows), tiling.starts(shape.cols)
    width = cols[-1] + tiling.size
    classes = len(model.task.codes)
    total = np.zeros((classes, tiling.size, width), np.float32)
    weight = np.zeros((tiling.size, width), np.float32)
    ramp = tiling.ramp()
    share = ramp[:, None] * ramp[None, :]
    for number, row in enumerate(rows):
        for col, probabilities in _row_of_windows(model, cube, tiling, row, cols, moments):
            across = slice(col, col + tiling.size)
            seen = ~np.isnan(probabilities[0])
            total[:, :, across] += np.where(seen, probabilities, 0) * share
            weight[:, across] += seen * share
        finished = tiling.size if row == rows[-1] else tiling.stride
        inside = min(finished, shape.rows - row)
        with np.errstate(invalid="ignore"):
            yield row, total[:, :inside, : shape.cols] / weight[:inside, : shape.cols]
        total = _moved_up(total, tiling.stride)
        weight = _moved_up(weight, tiling.stride)
        tick(number + 1, len(rows))


def _row_of_windows(
    model: Model,
    cube: Cube,
    tiling: Tiling,
    row: int,
    cols: list[int],
    moments: Moments | None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each window of a row: its first column, and its probabilities (K, size, size)."""
    shape = Shape2d(tiling.size, tiling.size)
    batch = max(BATCH_PIXELS // tiling.size**2, 1)
    for first in range(0, len(cols), batch):
        some = cols[first : first + batch]
        chips = [
            Chip(f"{row}_{col}", shape, cube.window(Window(row, col, shape)), moments=moments)
            for col in some
        ]
        probabilities = model.probabilities(collate(chips)).to(torch.float32).cpu().numpy()
        yield from zip(some, probabilities)


def _moved_up(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """The array (..., rows, W) moved up, with zeros coming in from below."""
    moved = np.zeros_like(array)
    moved[..., : array.shape[-2] - rows, :] = array[..., rows:, :]
    return moved
