"""A detector of one stage as a head: FCOS (Tian et al. 2019), without anchors.

Every pixel of every grid says which class it lies in, how far the box's edges are, and how near it
is to the middle. Convolutions, box coding and losses are torchvision's; which pixel is to say what
follows from the sizes of the training things, as the grids do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from earthloom.encoders import Encoder, Features
from earthloom.errors import ContractError
from earthloom.sample import Shape2d
from earthloom.tasks.detect_base import (
    Found,
    Known,
    Limits,
    ThingHead,
    grids_under,
    levels_under,
    shape_of,
)
from earthloom.tasks.detect_parts import Anchors, Grid, borders_of, grid_of

if TYPE_CHECKING:
    from earthloom.tasks.objects_task import ThingTask

NEAR = 1.5
"""Pixels of its grid, along both axes, from a thing's middle within which a pixel learns it."""
DEPTH = 2
"""Convolutions before what is said of classes, and of boxes; half of the paper's."""
CANDIDATES = 1000
"""Boxes of an image, at most, of which those that overlap are dropped."""
_LEAST = 1e-2
"""Side of a box, in pixels of the base grid, below which it is nothing."""


@final
class PointHead(ThingHead):
    """Things by class and box from an encoder's pyramid, in one stage.

    `given` are the encoder's levels, finest first, as (channels, stride); `grids` those that things
    are looked for on, as (stride, sizes of things, rising), as `DetectHead` has them.
    """

    name = "point-detector"

    def __init__(
        self,
        given: Sequence[Sequence[int]],
        grids: Sequence[tuple[int, Sequence[float]]],
        classes: int,
        width: int = 64,
        depth: int = DEPTH,
    ) -> None:
        super().__init__(given, [stride for stride, _ in grids], width)
        self.grids = tuple(Grid(stride, tuple(sizes)) for stride, sizes in grids)
        self.classes, self.depth = classes, depth
        self.borders = borders_of(self.grids)
        # One square a pixel, as large as the pixel: what distances are measured by.
        squares = [Grid(grid.stride, (float(grid.stride),)) for grid in self.grids]
        self.points = Anchors(squares, ratios=(1.0,))
        self.sayings = _sayings(width, classes, depth)

    def config(self) -> dict[str, Any]:
        return {
            "given": [[level.channels, level.stride] for level in self.given],
            "grids": [[grid.stride, list(grid.sizes)] for grid in self.grids],
            "classes": self.classes,
            "width": self.width,
            "depth": self.depth,
        }

    def losses(self, features: Features, known: Sequence[Known]) -> Tensor:
        """() focal loss of classes, loss of boxes and of nearness to the middle, each a mean over
        the pixels that lie in the middle of things."""
        said, pixels, numbers = self._said(features)
        targets = [{"boxes": each.boxes, "labels": each.classes} for each in known]
        chosen = [_chosen(pixels, numbers, each.boxes, self.borders) for each in known]
        terms = self.sayings.compute_loss(targets, said, [pixels] * len(known), chosen)
        return torch.stack(list(terms.values())).sum()

    @torch.no_grad()
    def forward(self, features: Features, limits: Limits) -> tuple[Found, ...]:
        """What is found in each chip."""
        said, pixels, _ = self._said(features)
        sure = said["cls_logits"].sigmoid() * said["bbox_ctrness"].sigmoid()
        boxes = self.sayings.box_coder.decode(said["bbox_regression"], pixels)
        shape = shape_of(features)
        return tuple(
            _found(scores, where, shape, limits)
            for scores, where in zip(sure.sqrt(), boxes, strict=True)
        )

    def _said(self, features: Features) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """What each pixel of all grids says (B, N, ...), their squares (N, 4), and the number of
        the grid that each is of (N,)."""
        levels = list(self.pyramid(features).values())
        said = {name: each.float() for name, each in self.sayings(levels).items()}
        pixels = self.points.of(levels)
        counts = torch.tensor([level.shape[-2] * level.shape[-1] for level in levels])
        numbers = torch.arange(len(levels)).repeat_interleave(counts).to(pixels.device)
        return said, pixels, numbers


def point_detector_for(
    task: ThingTask, encoder: Encoder, width: int = 64, depth: int = DEPTH
) -> PointHead:
    """A detector of one stage for a task that is fitted, over an encoder with a pyramid or without
    one. ContractError for a task that needs masks."""
    if task.needs_masks:
        raise ContractError(
            f"a detector of one stage has no masks, which the task {task.name} needs; "
            "take that of two stages"
        )
    return PointHead(
        given=[(level.channels, level.stride) for level in levels_under(encoder)],
        grids=[(grid.stride, grid.sizes) for grid in grids_under(task, encoder)],
        classes=len(task.codes),
        width=width,
        depth=depth,
    )


def _sayings(width: int, classes: int, depth: int) -> Any:
    """torchvision's two towers, normalised by groups of eight channels or more."""
    from torchvision.models.detection.fcos import (
        FCOSClassificationHead,
        FCOSHead,
        FCOSRegressionHead,
    )

    norm = partial(nn.GroupNorm, 8)
    made = FCOSHead(width, 1, classes, num_convs=0)
    made.classification_head = FCOSClassificationHead(width, 1, classes, depth, norm_layer=norm)
    made.regression_head = FCOSRegressionHead(width, 1, depth, norm_layer=norm)
    return made


def _chosen(pixels: Tensor, numbers: Tensor, boxes: Tensor, borders: Sequence[float]) -> Tensor:
    """(N,) the box that each pixel learns, by number, -1 for none: one that is of the pixel's grid
    and whose middle is near; of several the smallest."""
    if not len(boxes):
        return torch.full_like(numbers, -1)
    middles = (pixels[:, :2] + pixels[:, 2:]) / 2
    sides = pixels[:, 2:] - pixels[:, :2]
    away = (middles[:, None] - (boxes[:, :2] + boxes[:, 2:]) / 2).abs()
    near = (away < NEAR * sides[:, None]).all(dim=2)
    inside = (away < (boxes[:, 2:] - boxes[:, :2]) / 2).all(dim=2)
    own = numbers[:, None] == grid_of(boxes, borders)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    least, index = torch.where(near & inside & own, areas, torch.inf).min(dim=1)
    return torch.where(least.isinf(), -1, index)


def _found(scores: Tensor, boxes: Tensor, shape: Shape2d, limits: Limits) -> Found:
    """Of boxes (N, 4) with scores (N, K) of every class, those that are named."""
    from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

    flat = scores.flatten()
    usable = torch.nonzero(flat > limits.score)[:, 0]
    usable = usable[flat[usable].topk(min(CANDIDATES, len(usable))).indices]
    places = clip_boxes_to_image(boxes[usable // scores.shape[1]], tuple(shape))
    large = remove_small_boxes(places, _LEAST)
    places, usable = places[large], usable[large]
    classes = usable % scores.shape[1]
    kept = batched_nms(places, flat[usable], classes, limits.overlap)[: limits.most]
    return Found(places[kept], classes[kept], flat[usable][kept], None)
