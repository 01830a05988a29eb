"""Random windows of scenes, and an order that mixes scenes yet reads each piece of them once.

A shuffle over everything would need a block of a scene again for each chip that touches it. Here
scenes are cut into regions, a few regions are open at a time, and chips are dealt from these alone:
the shuffle buffer. Regions close one after another, so that the work of opening them is even.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError
from earthloom.sample import Shape2d


@dataclass(frozen=True)
class Draws:
    """Windows of scenes, all of one size, in pixels of each scene's base grid."""

    scene: NDArray[np.int64]
    """(n,) which scene."""
    row: NDArray[np.int64]
    """(n,) first row of the window."""
    col: NDArray[np.int64]
    """(n,) first column."""

    def __len__(self) -> int:
        return len(self.scene)

    def take(self, which: NDArray[np.int64] | slice) -> "Draws":
        """Some of the windows, in the order asked for."""
        return Draws(self.scene[which], self.row[which], self.col[which])


def draw_windows(
    shapes: Sequence[Shape2d], size: int, multiple: int, random: np.random.Generator
) -> Draws:
    """Windows at random places: of each scene as many as its area holds, so that a pixel is drawn
    once on average.

    `multiple` is what rows and columns must be multiples of, so that windows fit coarser layers.
    ContractError if a scene is smaller than a window.
    """
    counts = [_windows_in(shape, size) for shape in shapes]
    scene = np.repeat(np.arange(len(shapes)), counts)
    rooms = np.array([[(extent - size) // multiple + 1 for extent in each] for each in shapes])
    places = random.integers(0, rooms.reshape(-1, 2)[scene]) * multiple
    return Draws(scene, places[:, 0], places[:, 1])


def _windows_in(shape: Shape2d, size: int) -> int:
    if min(shape) < size:
        raise ContractError(
            f"a scene of {shape.rows} x {shape.cols} pixels holds no window of {size} x {size}"
        )
    return max(1, round(shape.rows * shape.cols / size**2))


def regions_of(
    draws: Draws, shapes: Sequence[Shape2d], size: int, side: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """The region that each window starts in (n,), numbered in the order in which they are opened.

    Scenes come in random order; the regions of one, about `side` pixels wide, row by row and to and
    fro, so that one shares blocks with the next.
    """
    extents = np.array(shapes).reshape(-1, 2)
    parts = np.maximum(1, np.rint(extents / side)).astype(np.int64)[draws.scene]
    room = extents[draws.scene] - size + 1
    row = draws.row * parts[:, 0] // room[:, 0]
    col = draws.col * parts[:, 1] // room[:, 1]
    to_and_fro = np.where(row % 2 == 0, col, parts[:, 1] - 1 - col)
    rank = random.permutation(len(shapes))[draws.scene]
    keys = np.stack([rank, row, to_and_fro], axis=1)
    _, region = np.unique(keys, axis=0, return_inverse=True)
    return np.asarray(region, np.int64).reshape(-1)


def shuffle(
    region: NDArray[np.int64], lanes: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """An order of windows (n,) in which at most `lanes` regions are open at any time.

    Each region is open for a stretch of time that begins when the one `lanes` before it ends, and
    its windows are served at random times within it. One ends after another.
    """
    ends = np.cumsum(np.bincount(region)).astype(np.float64)
    begins = np.concatenate([np.zeros(min(lanes, len(ends))), ends[:-lanes]])
    times = begins[region] + random.random(len(region)) * (ends - begins)[region]
    return np.argsort(times, kind="stable")


@dataclass(frozen=True)
class Share:
    """Which part of the chips one of several processes serves: a run of them, so that hardly any
    block is decoded by two. All parts are of one length; up to `world` - 1 chips are left over."""

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ContractError(f"rank {self.rank} is not among {self.world} processes (from 0)")

    def of(self, draws: Draws) -> Draws:
        """This process's part."""
        each = len(draws) // self.world
        return draws.take(slice(self.rank * each, (self.rank + 1) * each))
