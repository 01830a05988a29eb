"""Boxes around things, upright or turned: trees, cars, ships, buildings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from earthloom.errors import ContractError
from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes, Instances, Target
from earthloom.tasks.detect_base import Found, Limits
from earthloom.tasks.objects import Mask, Things, known_boxes, mask_of_rings, suppressed
from earthloom.tasks.objects_scores import Overlaps
from earthloom.tasks.objects_shapes import least_rectangle, turned_iou, upright_iou
from earthloom.tasks.objects_task import ThingTask

_FINER = 4
"""How many times a mask is made finer before a rectangle is laid around it."""
_LOOSE = 0.8
"""Upright boxes around turned things overlap where the things do not: so much may they, before the
turned boxes are compared."""


@final
@dataclass(frozen=True)
class UprightBoxes(ThingTask):
    """Upright boxes around things; labels with turned boxes or outlines count by their bounds."""

    name = "boxes"

    @property
    def needs_masks(self) -> bool:
        return False

    @property
    def overlaps(self) -> Overlaps:
        return _upright_overlaps

    def known(self, target: Target) -> Things:
        """See `ThingTask`."""
        things = _known(target, self.name)
        upright = Boxes.upright(things.bounds, things.codes)
        return replace(things, corners=upright.corners)

    def masks_to_learn(self, known: Things) -> tuple[Mask, ...]:
        raise ContractError("a detector of upright boxes learns no masks")

    def things(self, found: Found, shape: Shape2d) -> Things:
        """See `ThingTask`."""
        codes, scores = codes_and_scores(found)
        boxes = Boxes.upright(found.boxes.cpu().numpy(), codes)
        return Things(boxes.corners, codes, scores)


@final
@dataclass(frozen=True)
class OrientedBoxes(ThingTask):
    """Boxes that lie as things lie: the least rectangles around masks that are learned from the
    labels' own boxes (Wang et al. 2019, Mask OBB)."""

    name = "oriented-boxes"

    @property
    def needs_masks(self) -> bool:
        return True

    @property
    def overlaps(self) -> Overlaps:
        return _turned_overlaps

    @property
    def limits(self) -> Limits:
        """See `ThingTask`."""
        return Limits(self.least_score, _LOOSE, self.most)

    def known(self, target: Target) -> Things:
        """See `ThingTask`; instances count by the least rectangles around their outlines."""
        if isinstance(target, Instances) and target.polygons is not None:
            corners = [least_rectangle(np.concatenate(rings)) for rings in target.polygons]
            turned = np.array(corners, np.float32).reshape(-1, 4, 2)
            return Things(turned, target.codes, np.ones(len(turned), np.float32))
        return _known(target, self.name)

    def masks_to_learn(self, known: Things) -> tuple[Mask, ...]:
        """See `ThingTask`."""
        return tuple(mask_of_rings((quad,)) for quad in known.corners)

    def things(self, found: Found, shape: Shape2d) -> Things:
        """See `ThingTask`."""
        assert found.masks is not None
        codes, scores = codes_and_scores(found)
        turned = _rectangles(found.masks, found.boxes)
        things = Things(turned.astype(np.float32), codes, scores)
        return things.some(suppressed(things, turned_iou(turned, turned), self.overlap))


def codes_and_scores(found: Found) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(N,) classes from 0 and (N,) scores, in numpy."""
    return found.classes.cpu().numpy().astype(np.uint8), found.scores.cpu().numpy()


def _rectangles(masks: torch.Tensor, boxes: torch.Tensor) -> NDArray[np.float64]:
    """(N, 4, 2) the least rectangles around masks (N, h, w), each over its box (N, 4); the box
    itself where a mask is empty."""
    upright = Boxes.upright(boxes.cpu().numpy(), np.zeros(len(boxes), np.uint8)).corners
    made = upright.astype(np.float64)
    if not len(masks):
        return made
    finer = F.interpolate(masks[:, None], scale_factor=_FINER, mode="bilinear")[:, 0]
    inside = (finer >= 0.5).cpu().numpy()
    rows, cols = inside.shape[1:]
    for at, (mask, (left, top, right, bottom)) in enumerate(
        zip(inside, boxes.cpu().numpy().astype(np.float64), strict=True)
    ):
        if not mask.any():
            continue
        points = _rims(mask) * ((right - left) / cols, (bottom - top) / rows) + (left, top)
        made[at] = least_rectangle(points)
    return made


def _rims(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(M, 2) x and y of the outer corners of the first and last pixel of each row of a mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    x, y = np.concatenate([first, last]), np.concatenate([rows, rows])
    return np.stack([np.concatenate([x, x]), np.concatenate([y, y + 1])], axis=1).astype(float)


def _known(target: Target, name: str) -> Things:
    if not isinstance(target, Boxes | Instances):
        raise ContractError(
            f"the task {name} needs labels of boxes or instances, not {type(target).__name__}"
        )
    return known_boxes(target)


def _upright_overlaps(ours: Things, theirs: Things) -> NDArray[np.float64]:
    return upright_iou(ours.bounds, theirs.bounds)


def _turned_overlaps(ours: Things, theirs: Things) -> NDArray[np.float64]:
    return turned_iou(ours.corners, theirs.corners)
