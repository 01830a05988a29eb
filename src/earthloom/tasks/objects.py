"""What a detector says of a chip: things with a box each, and a mask where a task asks for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError
from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes, Instances, Target
from earthloom.tasks.objects_shapes import fill_rings


@dataclass(frozen=True)
class Mask:
    """The pixels of a thing, cut out of its image."""

    row: int
    """Of the cut-out's first row in the image; it may lie outside."""
    col: int
    pixels: NDArray[np.bool_]
    """(h, w): True where the thing is."""

    @property
    def area(self) -> int:
        """Pixels of the thing."""
        return int(self.pixels.sum())


@dataclass(frozen=True)
class Things:
    """The things of a chip, found by a detector or known from labels."""

    corners: NDArray[np.float32]
    """(N, 4, 2) x and y of the boxes' corners in pixels of the base grid, see
    `earthloom.sample.target.Boxes`."""
    codes: NDArray[np.uint8]
    """(N,) class codes."""
    scores: NDArray[np.float32]
    """(N,) from 0 to 1, how sure the detector is; 1 where things are known."""
    masks: tuple[Mask, ...] | None = None
    """N masks; None of a task that has boxes alone."""

    def __post_init__(self) -> None:
        count = len(self.codes)
        fits = self.corners.shape == (count, 4, 2) and self.codes.shape == (count,)
        fits &= self.scores.shape == (count,)
        fits &= self.masks is None or len(self.masks) == count
        if not fits:
            raise ContractError(
                f"corners {self.corners.shape}, codes {self.codes.shape}, scores "
                f"{self.scores.shape} and masks of things do not fit each other"
            )

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def bounds(self) -> NDArray[np.float32]:
        """(N, 4) left, top, right, bottom of the upright boxes around the boxes."""
        return np.concatenate([self.corners.min(axis=1), self.corners.max(axis=1)], axis=1)

    def some(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Things:
        """Those things that an index or a mask (N,) chooses, in its order."""
        at = np.arange(len(self))[chosen]
        masks = None if self.masks is None else tuple(self.masks[index] for index in at)
        return Things(self.corners[at], self.codes[at], self.scores[at], masks)

    def moved(self, row: int, col: int) -> Things:
        """The same things where the image begins at `row` and `col` of a larger one."""
        masks = self.masks
        if masks is not None:
            masks = tuple(replace(m, row=m.row + row, col=m.col + col) for m in masks)
        corners = self.corners + np.array([col, row], self.corners.dtype)
        return replace(self, corners=corners, masks=masks)


Answer = tuple[Things, ...]
"""What a detector says of a batch: the things of each chip, the surest first."""


def no_things(with_masks: bool = False) -> Things:
    """Nothing at all."""
    return Things(
        np.zeros((0, 4, 2), np.float32),
        np.zeros(0, np.uint8),
        np.zeros(0, np.float32),
        () if with_masks else None,
    )


def mask_of_rings(rings: tuple[NDArray[np.float32], ...]) -> Mask:
    """The pixels whose centres lie in any of a thing's rings (M, 2), cut out around them."""
    points = np.concatenate(rings)
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    row, col = int(top), int(left)
    shape = Shape2d(max(int(bottom) - row, 1), max(int(right) - col, 1))
    return Mask(row, col, fill_rings(rings, row, col, shape))


def masks_of_ids(ids: NDArray[np.int32], count: int) -> tuple[Mask, ...]:
    """The pixels of each thing 1 to `count` of an image of their numbers (H, W)."""
    from scipy.ndimage import find_objects

    found = []
    for number, place in enumerate(find_objects(ids, max_label=count), start=1):
        if place is None:
            found.append(Mask(0, 0, np.zeros((1, 1), np.bool_)))
            continue
        rows, cols = place
        found.append(Mask(int(rows.start), int(cols.start), ids[place] == number))
    return tuple(found)


def bounds_of_mask(mask: Mask) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a thing's pixels; without extent where it has none."""
    rows, cols = np.flatnonzero(mask.pixels.any(1)), np.flatnonzero(mask.pixels.any(0))
    if not len(rows):
        return (float(mask.col), float(mask.row), float(mask.col), float(mask.row))
    return (
        float(mask.col + cols[0]),
        float(mask.row + rows[0]),
        float(mask.col + cols[-1] + 1),
        float(mask.row + rows[-1] + 1),
    )


def known_boxes(target: Boxes | Instances) -> Things:
    """The boxes of labels; of instances, the upright boxes around them."""
    if isinstance(target, Instances):
        known = known_masks(target)
        return Things(known.corners, known.codes, known.scores)
    return Things(target.corners, target.codes, np.ones(len(target.codes), np.float32))


def known_masks(target: Instances) -> Things:
    """The masks of labels, with the upright boxes around them.

    An image of numbers is taken as it is; polygons, which may overlap, are filled where there is
    none. Things without a pixel are left out.
    """
    if target.ids is not None:
        masks = masks_of_ids(target.ids, len(target.codes))
    else:
        masks = tuple(mask_of_rings(rings) for rings in target.polygons or ())
    bounds = np.array([bounds_of_mask(mask) for mask in masks], np.float32).reshape(-1, 4)
    boxes = Boxes.upright(bounds, target.codes)
    things = Things(boxes.corners, boxes.codes, np.ones(len(masks), np.float32), masks)
    return things.some(np.array([mask.area > 0 for mask in masks], np.bool_))


Known = Callable[[Target], Things]
"""Labels as the things that a task is to find."""


def suppressed(things: Things, overlaps: NDArray[np.float64], most: float) -> NDArray[np.int64]:
    """Indices of the things that stay, the surest first: of two of a class whose overlap (N, N) is
    above `most`, the surer one (greedy non-maximum suppression)."""
    order = np.argsort(-things.scores, kind="stable")
    alike = (overlaps > most) & (things.codes[:, None] == things.codes[None, :])
    gone = np.zeros(len(things), np.bool_)
    kept = []
    for index in order.tolist():
        if not gone[index]:
            kept.append(index)
            gone |= alike[index]
    return np.array(kept, np.int64)
