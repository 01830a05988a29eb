"""Chips made new by what leaves their meaning alone: pieces, turns and flips.

Pixels, masks and labels move together. The place is dropped, which a turned chip no longer has.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.sample import Chip, Layer, Shape2d

Move = Callable[[NDArray[Any], int], NDArray[Any]]
"""Of an array (..., H, W) and the factor of its layer."""


def cropped(chip: Chip, size: int, random: np.random.Generator) -> Chip:
    """A random square piece of a chip, whose edges lie on pixels of every layer."""
    step = max(layer.spec.factor for layer in chip.layers.values())
    size = max(size // step, 1) * step
    row, col = (
        int(random.integers(0, (length - size) // step + 1)) * step for length in chip.shape
    )

    def cut(values: NDArray[Any], factor: int) -> NDArray[Any]:
        first, left, length = row // factor, col // factor, size // factor
        return values[..., first : first + length, left : left + length]

    return _moved(chip, cut, Shape2d(size, size))


def turned(chip: Chip, random: np.random.Generator) -> Chip:
    """The chip in one of its eight orientations, at random."""
    quarters, mirrored = int(random.integers(0, 4)), bool(random.integers(0, 2))

    def turn(values: NDArray[Any], factor: int) -> NDArray[Any]:
        rotated = np.rot90(values, quarters, axes=(-2, -1))
        return np.ascontiguousarray(rotated[..., ::-1] if mirrored else rotated)

    rows, cols = chip.shape
    return _moved(chip, turn, Shape2d(cols, rows) if quarters % 2 else chip.shape)


def _moved(chip: Chip, move: Move, shape: Shape2d) -> Chip:
    layers = {
        key: Layer(
            layer.spec,
            move(layer.pixels, layer.spec.factor),
            move(layer.valid, layer.spec.factor),
            layer.days,
        )
        for key, layer in chip.layers.items()
    }
    label = None if chip.label is None else move(chip.label, 1)
    return replace(chip, shape=shape, layers=layers, label=label, place=None)
