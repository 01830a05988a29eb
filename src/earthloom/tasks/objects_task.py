"""What all tasks of finding things have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError, choices
from earthloom.sample import IGNORE, UNLABELLED, Samples, Shape2d, chips_of
from earthloom.sample.batch import Batch
from earthloom.sample.target import Target
from earthloom.tasks.base import Score, Task
from earthloom.tasks.detect_base import Found, Known, Limits, ThingHead, shape_of
from earthloom.tasks.detect_parts import levels_of
from earthloom.tasks.heads import Head
from earthloom.tasks.objects import Answer, Mask, Things
from earthloom.tasks.objects_scores import THRESHOLDS, Overlaps, ThingScore, check_thresholds

SIZES = (2.0, 25.0, 50.0, 75.0, 98.0)
"""Percentiles of the roots of the areas of training boxes that a task keeps."""
RATIOS = (10.0, 50.0, 90.0)
"""Percentiles of height over width."""
_APART = 1.3
"""Anchors are no nearer to each other in shape."""
_SEEN = 0.5
"""Least share of a thing's box that must have been seen for it to be named."""


@dataclass(frozen=True)
class ThingTask(Task[Answer]):
    """Things of one or more classes, each found one by one.

    `sizes` and `ratios` of training boxes, from which anchors are made, and `counts` come from
    `fitted`.
    """

    codes: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] = ()
    sizes: tuple[float, ...] = ()
    """Rising percentiles of the roots of the areas of training boxes, pixels of the base grid."""
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Heights over widths of anchors, rising."""
    counts: tuple[int, ...] = ()
    """Training things of each class."""
    threshold: float = 0.5
    """Score from which a thing is mapped, and counts in precision, recall and counts."""
    least_score: float = 0.05
    """Score from which a thing is named at all."""
    overlap: float = 0.5
    """Most intersection over union of two things of a class."""
    most: int = 500
    """Things of a chip."""
    thresholds: tuple[float, ...] = THRESHOLDS
    """Least overlaps of average precision."""

    main = "map_50"

    def __post_init__(self) -> None:
        for code, name in zip(self.codes, self.names, strict=True):
            if not UNLABELLED < code < IGNORE:
                raise ContractError(
                    f"class {name} has the code {code}; valid are {UNLABELLED + 1} to {IGNORE - 1}"
                )
        check_thresholds(self.thresholds)

    @property
    @abstractmethod
    def needs_masks(self) -> bool:
        """Whether the detector learns masks."""

    @property
    @abstractmethod
    def overlaps(self) -> Overlaps:
        """How much two things have in common."""

    @abstractmethod
    def known(self, target: Target) -> Things:
        """Labels as the things that are to be found; ContractError for labels of other kinds."""

    @abstractmethod
    def masks_to_learn(self, known: Things) -> tuple[Mask, ...]:
        """The mask of each of the known things, for a detector that learns them."""

    @abstractmethod
    def things(self, found: Found, shape: Shape2d) -> Things:
        """What a detector found in a chip as things, classes still as codes from 0."""

    @property
    def outputs(self) -> int:
        """Classes, and that there is nothing."""
        return len(self.codes) + 1

    @property
    def limits(self) -> Limits:
        """Which of the things that a detector sees it names."""
        return Limits(self.least_score, self.overlap, self.most)

    def fitted(self, samples: Samples) -> Self:
        """The task with sizes, shapes and counts of the training things.

        LabelError where there are none.
        """
        bounds, codes = [np.zeros((0, 4))], [np.zeros(0, np.uint8)]
        for chip in chips_of(samples):
            if chip.target is not None:
                known = self.known(chip.target)
                bounds.append(known.bounds.astype(np.float64))
                codes.append(known.codes)
        sides, code = np.diff(np.concatenate(bounds).reshape(-1, 2, 2), axis=1)[:, 0], _flat(codes)
        used = np.isin(code, self.codes) & (sides > 0).all(axis=1)
        if not used.any():
            raise LabelError(
                f"the training chips have no things of the classes {choices(self.names)}"
            )
        sizes = np.percentile(np.sqrt(sides[used].prod(axis=1)), SIZES)
        ratios = np.percentile(sides[used, 1] / sides[used, 0], RATIOS)
        return replace(
            self,
            sizes=tuple(round(float(size), 3) for size in sizes),
            ratios=_apart(ratios),
            counts=tuple(int((code[used] == each).sum()) for each in self.codes),
        )

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        """() the detector's losses over chips with a target, things or none."""
        detector = _detector(head)
        labelled = [at for at, target in enumerate(batch.targets) if target is not None]
        if not labelled:
            idle = [level.sum() * 0.0 for level in levels_of(features)]
            idle += [each.sum() * 0.0 for each in detector.parameters()]
            return torch.stack(idle).sum()
        shape, device = shape_of(features), features.pixels.device
        known = [self._learnable(batch.targets[at], shape, device) for at in labelled]
        return detector.losses(_of_chips(features, labelled), known)

    def answer(self, head: Head, features: Features) -> Answer:
        """The things of each chip, the surest first; none of which less than half was seen."""
        shape, seen = shape_of(features), features.seen.cpu().numpy()
        table = np.array(self.codes, np.uint8)
        answers = []
        for found, there in zip(_detector(head)(features, self.limits), seen, strict=True):
            things = self.things(found, shape)
            things = replace(things, codes=table[things.codes.astype(np.int64)])
            answers.append(things.some(np.flatnonzero(_seen(things, there, features.stride))))
        return tuple(answers)

    def score(self) -> Score[Answer]:
        names = dict(zip(self.codes, self.names, strict=True))
        return ThingScore(names, self.known, self.overlaps, self.threshold, self.thresholds)

    def config(self) -> dict[str, Any]:
        return {n: _listed(value) for n, value in asdict(self).items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(**{name: _tupled(value) for name, value in config.items()})

    def _learnable(self, target: Target | None, shape: Shape2d, device: torch.device) -> Known:
        """What a detector learns from a chip's labels, cut at the chip's edges."""
        assert target is not None
        known = self.known(target)
        known = known.some(np.isin(known.codes, self.codes))
        bounds = np.clip(known.bounds, 0, [shape.cols, shape.rows, shape.cols, shape.rows])
        kept = np.flatnonzero((bounds[:, 2:] - bounds[:, :2] >= 1).all(axis=1))
        known, bounds = known.some(kept), bounds[kept]
        masks = None
        if self.needs_masks:
            masks = torch.from_numpy(_on_image(self.masks_to_learn(known), shape)).to(device)
        index = np.searchsorted(np.array(self.codes), known.codes, sorter=np.argsort(self.codes))
        classes = np.argsort(self.codes)[index]
        return Known(
            torch.from_numpy(bounds.astype(np.float32)).to(device),
            torch.from_numpy(classes.astype(np.int64)).to(device),
            masks,
        )


def _detector(head: Head) -> ThingHead:
    if not isinstance(head, ThingHead):
        raise ContractError(f"things are found by a detector, not by the head '{head.name}'")
    return head


def _of_chips(features: Features, at: Sequence[int]) -> Features:
    """The features of some chips of a batch."""
    if len(at) == len(features.seen):
        return features
    index = torch.tensor(at, device=features.pixels.device)
    pyramid = tuple(level[index] for level in features.pyramid)
    pixels, seen = features.pixels[index], features.seen[index]
    return replace(features, pixels=pixels, seen=seen, pyramid=pyramid, vector=None)


def _seen(things: Things, seen: NDArray[np.bool_], stride: int) -> NDArray[np.bool_]:
    """(N,) whether enough of each thing's box was seen; `seen` (h, w) on the features' grid."""
    if seen.all():
        return np.ones(len(things), np.bool_)
    low = np.floor(things.bounds[:, :2] / stride).astype(int).clip(0)
    high = np.maximum(np.ceil(things.bounds[:, 2:] / stride).astype(int), low + 1)
    shares = [
        seen[y0:y1, x0:x1].mean() if seen[y0:y1, x0:x1].size else 0.0
        for (x0, y0), (x1, y1) in zip(low, high, strict=True)
    ]
    return np.asarray(np.array(shares, np.float64) >= _SEEN)


def _on_image(masks: Sequence[Mask], shape: Shape2d) -> NDArray[np.uint8]:
    """(N, H, W) masks on their image; what reaches over its edges is cut off."""
    image = np.zeros((len(masks), *shape), np.uint8)
    for plane, mask in zip(image, masks, strict=True):
        top, left = max(mask.row, 0), max(mask.col, 0)
        bottom = min(mask.row + mask.pixels.shape[0], shape.rows)
        right = min(mask.col + mask.pixels.shape[1], shape.cols)
        if top < bottom and left < right:
            plane[top:bottom, left:right] = mask.pixels[
                top - mask.row : bottom - mask.row, left - mask.col : right - mask.col
            ]
    return image


def _apart(ratios: NDArray[np.float64]) -> tuple[float, ...]:
    """Ratios without those that are near to the one in the middle."""
    low, middle, high = (float(ratio) for ratio in ratios)
    kept = [middle]
    if middle / low >= _APART:
        kept.insert(0, low)
    if high / middle >= _APART:
        kept.append(high)
    return tuple(round(ratio, 3) for ratio in kept)


def _flat(codes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.concatenate(codes)


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(each) for each in value) if isinstance(value, list | tuple) else value
