"""Things with the pixels of each: buildings, fields, crowns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from earthloom.errors import ContractError
from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes, Instances, Target
from earthloom.tasks.boxes import codes_and_scores
from earthloom.tasks.detect_base import Found
from earthloom.tasks.objects import Mask, Things, known_masks
from earthloom.tasks.objects_scores import Overlaps
from earthloom.tasks.objects_shapes import mask_iou
from earthloom.tasks.objects_task import ThingTask


@final
@dataclass(frozen=True)
class InstanceMasks(ThingTask):
    """The pixels of each thing, found by masks over boxes (He et al. 2017, Mask R-CNN)."""

    name = "instances"

    @property
    def needs_masks(self) -> bool:
        return True

    @property
    def overlaps(self) -> Overlaps:
        return _mask_overlaps

    def known(self, target: Target) -> Things:
        """See `ThingTask`."""
        if not isinstance(target, Instances):
            raise ContractError(
                f"the task {self.name} needs labels of instances, not {type(target).__name__}"
            )
        return known_masks(target)

    def masks_to_learn(self, known: Things) -> tuple[Mask, ...]:
        """See `ThingTask`."""
        assert known.masks is not None
        return known.masks

    def things(self, found: Found, shape: Shape2d) -> Things:
        """See `ThingTask`; what has no pixel is left out."""
        assert found.masks is not None
        codes, scores = codes_and_scores(found)
        bounds = found.boxes.cpu().numpy()
        masks = tuple(
            mask_in_box(mask, box, shape)
            for mask, box in zip(found.masks.cpu(), bounds, strict=True)
        )
        things = Things(Boxes.upright(bounds, codes).corners, codes, scores, masks)
        return things.some(np.array([mask.area > 0 for mask in masks], np.bool_))


def mask_in_box(mask: torch.Tensor, box: NDArray[np.float32], shape: Shape2d) -> Mask:
    """The pixels of an image whose centres a mask (h, w) of probabilities over a box covers: read
    off between its own pixels' centres (bilinear), 0.5 and above."""
    left, top, right, bottom = (float(edge) for edge in box)
    row, col = max(int(np.floor(top)), 0), max(int(np.floor(left)), 0)
    rows = max(min(int(np.ceil(bottom)), shape.rows) - row, 1)
    cols = max(min(int(np.ceil(right)), shape.cols) - col, 1)
    y = (torch.arange(rows) + row + 0.5 - top) / max(bottom - top, 1e-6) * 2 - 1
    x = (torch.arange(cols) + col + 0.5 - left) / max(right - left, 1e-6) * 2 - 1
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    read = F.grid_sample(
        mask[None, None].float(), points, padding_mode="border", align_corners=False
    )
    inside = (x.abs() <= 1)[None] & (y.abs() <= 1)[:, None]
    return Mask(row, col, ((read[0, 0] >= 0.5) & inside).numpy())


def _mask_overlaps(ours: Things, theirs: Things) -> NDArray[np.float64]:
    return mask_iou(ours.masks or (), theirs.masks or ())
