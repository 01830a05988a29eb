"""A detector as a head, of two stages: Faster R-CNN (Ren et al. 2015), Mask R-CNN (He et al. 2017).

The two stages are torchvision's; the pyramid, its anchors and the cutting of features are over any
encoder's levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from earthloom.encoders import Encoder, Features
from earthloom.tasks.detect_base import (
    Found,
    Known,
    Limits,
    ThingHead,
    grids_under,
    in_mode,
    levels_under,
    shape_of,
)
from earthloom.tasks.detect_parts import Anchors, Grid, Pool

if TYPE_CHECKING:
    from earthloom.tasks.objects_task import ThingTask

POOLED = 7
"""Pixels, both ways, of a box's features."""
MASK_POOLED = 14
PROPOSALS = {"training": 300, "testing": 1000}
"""Boxes of an image, at most, that the first stage hands to the second."""
ANCHORS = 256
"""Anchors of an image that the first stage learns from in a step, half of them of things."""
SAMPLED = 64
"""Boxes of an image that the second stage learns from in a step, a quarter of them of things.
Cutting their features, and its gradient, is most of a step's work on a processor."""


@final
class DetectHead(ThingHead):
    """Things by class, box and, with `masks`, mask, from an encoder's pyramid.

    `given` are the encoder's levels, finest first, as (channels, stride); `grids` those that things
    are looked for on, as (stride, sizes of anchors); `ratios` heights over widths of anchors.
    """

    name = "detector"

    def __init__(
        self,
        given: Sequence[Sequence[int]],
        grids: Sequence[tuple[int, Sequence[float]]],
        ratios: Sequence[float],
        classes: int,
        masks: bool = False,
        width: int = 64,
        hidden: int = 256,
    ) -> None:
        super().__init__(given, [stride for stride, _ in grids], width)
        self.grids = tuple(Grid(stride, tuple(sizes)) for stride, sizes in grids)
        self.ratios, self.classes, self.masks = tuple(ratios), classes, masks
        self.hidden = hidden
        self.proposals = _first_stage(self.grids, self.ratios, width)
        self.boxes = _second_stage(self.grids, width, hidden, classes, masks)

    def config(self) -> dict[str, Any]:
        return {
            "given": [[level.channels, level.stride] for level in self.given],
            "grids": [[grid.stride, list(grid.sizes)] for grid in self.grids],
            "ratios": list(self.ratios),
            "classes": self.classes,
            "masks": self.masks,
            "width": self.width,
            "hidden": self.hidden,
        }

    def losses(self, features: Features, known: Sequence[Known]) -> Tensor:
        """() the sum of the losses of both stages, a mean over the images.

        While the head is being trained, boxes are drawn by torch's own generator; else always the
        same ones.
        """
        pyramid, images = self.pyramid(features), _images(features)
        targets = [_target(each) for each in known]
        with _as_in_training(self):
            boxes, of_first = self.proposals(images, pyramid, targets)
            _, of_second = self.boxes(pyramid, boxes, images.image_sizes, targets)
        terms = [*of_first.values(), *of_second.values()]
        return torch.stack([term.float() for term in terms]).sum()

    @torch.no_grad()
    def forward(self, features: Features, limits: Limits) -> tuple[Found, ...]:
        """What is found in each chip."""
        _limit(self.boxes, limits)
        pyramid, images = self.pyramid(features), _images(features)
        with in_mode(self, training=False):
            boxes, _ = self.proposals(images, pyramid)
            found, _ = self.boxes(pyramid, boxes, images.image_sizes)
        return tuple(_found(each) for each in found)


def detector_for(task: ThingTask, encoder: Encoder, width: int = 64) -> DetectHead:
    """A detector for a task that is fitted, over an encoder with a pyramid or without one."""
    return DetectHead(
        given=[(level.channels, level.stride) for level in levels_under(encoder)],
        grids=[(grid.stride, grid.sizes) for grid in grids_under(task, encoder)],
        ratios=task.ratios,
        classes=len(task.codes),
        masks=task.needs_masks,
        width=width,
    )


def _images(features: Features) -> Any:
    """Sizes of the chips, as torchvision has them."""
    from torchvision.models.detection.image_list import ImageList

    return ImageList(torch.empty(0), [tuple(shape_of(features))] * len(features.seen))


def _first_stage(grids: Sequence[Grid], ratios: Sequence[float], width: int) -> nn.Module:
    from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

    stage: nn.Module = RegionProposalNetwork(
        Anchors(grids, ratios),
        RPNHead(width, len(grids[0].sizes) * len(ratios)),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=ANCHORS,
        positive_fraction=0.5,
        pre_nms_top_n=PROPOSALS,
        post_nms_top_n=PROPOSALS,
        nms_thresh=0.7,
    )
    return stage


def _second_stage(
    grids: Sequence[Grid], width: int, hidden: int, classes: int, masks: bool
) -> nn.Module:
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.models.detection.roi_heads import RoIHeads

    stage: nn.Module = RoIHeads(
        Pool(grids, POOLED),
        TwoMLPHead(width * POOLED**2, hidden),
        FastRCNNPredictor(hidden, classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=SAMPLED,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=100,
        mask_roi_pool=Pool(grids, MASK_POOLED) if masks else None,
        mask_head=MaskRCNNHeads(width, (width, width), dilation=1) if masks else None,
        mask_predictor=MaskRCNNPredictor(width, width, classes + 1) if masks else None,
    )
    return stage


def _limit(second: Any, limits: Limits) -> None:
    """Tells torchvision's second stage what to name; these are no part of its weights."""
    second.score_thresh, second.nms_thresh = limits.score, limits.overlap
    second.detections_per_img = limits.most


def _target(known: Known) -> dict[str, Tensor]:
    """As torchvision has it: class 0 is what is no thing."""
    target = {"boxes": known.boxes, "labels": known.classes + 1}
    return target if known.masks is None else target | {"masks": known.masks}


def _found(result: dict[str, Tensor]) -> Found:
    masks = result["masks"][:, 0].float() if "masks" in result else None
    return Found(result["boxes"].float(), result["labels"] - 1, result["scores"].float(), masks)


@contextmanager
def _as_in_training(head: DetectHead) -> Iterator[None]:
    """torchvision has losses in training alone; a loss for validation must draw the same boxes
    every time, and leave the generator as it was."""
    if head.training:
        yield
        return
    with in_mode(head, training=True), torch.random.fork_rng():
        torch.manual_seed(0)
        yield
