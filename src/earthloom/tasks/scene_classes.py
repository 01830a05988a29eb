"""Whole chips are of one of several classes, or show several things at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from torch import Tensor

from earthloom.encoders import Features
from earthloom.errors import LabelError, choices
from earthloom.sample import Samples, chips_of
from earthloom.sample.batch import Batch
from earthloom.tasks.base import (
    Score,
    Task,
    chip_weights,
    is_counted,
    raw_scenes,
    weights_at,
)
from earthloom.tasks.class_scores import ClassTally
from earthloom.tasks.class_weights import ClassWeighting, InverseRoot, Unweighted
from earthloom.tasks.classes import (
    IGNORED,
    check_classes,
    check_counts,
    check_fit,
    class_arguments,
    class_config,
    class_weights,
    scene_codes,
    scene_index,
    scene_indices,
    seen_scenes,
)
from earthloom.tasks.heads import Head
from earthloom.tasks.label_losses import BinaryCrossEntropy, LabelCriterion, label_criterion_from
from earthloom.tasks.label_scores import LabelTally
from earthloom.tasks.losses import Criterion, CrossEntropy, Labelled, criterion_from


@final
@dataclass(frozen=True)
class SceneClass(Task[Tensor]):
    """The task of telling the one class of a whole chip: its target is `SceneClasses` of one code.

    The answer is the probability of each class (B, K), NaN for chips of which nothing was seen. A
    chip counts as much as the mean of its `Chip.weight`.
    """

    name: ClassVar[str] = "scene-class"
    main: ClassVar[str] = "macro_f1"
    """Rare classes count as much as frequent ones."""
    codes: tuple[int, ...]
    names: tuple[str, ...]
    criterion: Criterion = CrossEntropy()
    weighting: ClassWeighting = InverseRoot()
    counts: tuple[int, ...] | None = None
    """(K,) training chips of each class; None before `fitted`, when all weigh the same."""

    def __post_init__(self) -> None:
        check_classes(self.codes, self.names)
        check_fit(self.counts, len(self.codes))

    @property
    def outputs(self) -> int:
        return len(self.codes)

    def fitted(self, samples: Samples) -> Self:
        return replace(self, counts=count_scenes(samples, self.codes, self.names))

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        logits = raw_scenes(head, features)
        truth = scene_indices(batch, self.codes, logits.device)
        at = (truth != IGNORED) & seen_scenes(features)
        if not at.any():
            return logits.sum() * 0.0
        weights = class_weights(self.weighting, self.counts, logits, self.outputs)
        return self.criterion(Labelled(logits[at], truth[at], weights, weights_at(batch, at)))

    def answer(self, head: Head, features: Features) -> Tensor:
        return scenes_where_seen(raw_scenes(head, features).softmax(dim=1), features)

    def score(self) -> Score[Tensor]:
        return SceneScore(self.codes, ClassTally(self.names))

    def config(self) -> dict[str, Any]:
        return class_config(self) | {"criterion": self.criterion.config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        criterion = criterion_from(config["criterion"])
        return cls(criterion=criterion, **class_arguments(config))


@final
class SceneScore(Score[Tensor]):
    """Counts answers (B, K) against the one class of each chip; see `ClassTally`."""

    def __init__(self, codes: tuple[int, ...], tally: ClassTally) -> None:
        self._codes, self._tally = codes, tally

    def update(self, answer: Tensor, batch: Batch) -> None:
        truth = scene_indices(batch, self._codes, answer.device)
        at = truth != IGNORED
        self._tally.add(answer[at], truth[at], weights_at(batch, at))

    def compute(self) -> Mapping[str, float]:
        return self._tally.metrics()


@final
@dataclass(frozen=True)
class SceneLabels(Task[Tensor]):
    """The task of telling all that a chip shows: its target is `SceneClasses` of any number.

    The answer is the probability of each label by itself (B, K), NaN for chips of which nothing
    was seen. A target without codes says that the chip shows none; a chip without target says
    nothing. A chip counts as much as the mean of its `Chip.weight`.
    """

    name: ClassVar[str] = "scene-labels"
    main: ClassVar[str] = "macro_ap"
    """Rare labels count as much as frequent ones, and no threshold is chosen."""
    codes: tuple[int, ...]
    names: tuple[str, ...]
    criterion: LabelCriterion = BinaryCrossEntropy()
    weighting: ClassWeighting = Unweighted()
    counts: tuple[int, ...] | None = None
    """(K,) training chips that have each label; None before `fitted`."""

    def __post_init__(self) -> None:
        check_classes(self.codes, self.names)
        check_fit(self.counts, len(self.codes))

    @property
    def outputs(self) -> int:
        return len(self.codes)

    def fitted(self, samples: Samples) -> Self:
        rows = [
            [code in codes for code in self.codes]
            for chip in chips_of(samples)
            if (codes := scene_codes(chip.id, chip.target)) is not None and is_counted(chip)
        ]
        counts = np.array(rows, dtype=bool).reshape(-1, self.outputs).sum(axis=0)
        if not ((counts > 0) & (counts < len(rows))).any():
            raise LabelError(
                f"a model needs a label that some chips have and others have not; of {len(rows)} "
                f"labelled training chips all or none have each of: {choices(self.names)}"
            )
        return replace(self, counts=tuple(int(count) for count in counts))

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        logits = raw_scenes(head, features)
        truth, known = label_truth(batch, self.codes, logits)
        at = known & seen_scenes(features)
        if not at.any():
            return logits.sum() * 0.0
        weights = class_weights(self.weighting, self.counts, logits, self.outputs)
        return self.criterion(logits[at], truth[at], weights, weights_at(batch, at))

    def answer(self, head: Head, features: Features) -> Tensor:
        return scenes_where_seen(raw_scenes(head, features).sigmoid(), features)

    def score(self) -> Score[Tensor]:
        return LabelScore(self.codes, LabelTally(self.names))

    def config(self) -> dict[str, Any]:
        return class_config(self) | {"criterion": self.criterion.config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        criterion = label_criterion_from(config["criterion"])
        return cls(criterion=criterion, **class_arguments(config))


@final
class LabelScore(Score[Tensor]):
    """Keeps answers (B, K) beside the labels of each chip; see `LabelTally`."""

    def __init__(self, codes: tuple[int, ...], tally: LabelTally) -> None:
        self._codes, self._tally = codes, tally

    def update(self, answer: Tensor, batch: Batch) -> None:
        truth, known = label_truth(batch, self._codes, answer)
        self._tally.add(answer[known], truth[known] > 0, weights_at(batch, known))

    def compute(self) -> Mapping[str, float]:
        return self._tally.metrics()


def count_scenes(
    samples: Samples, codes: tuple[int, ...], names: tuple[str, ...]
) -> tuple[int, ...]:
    """(K,) chips of each class; LabelError if fewer than two classes are labelled."""
    counted = filter(is_counted, chips_of(samples))
    found = [scene_index(chip.id, chip.target, codes) for chip in counted]
    known = np.array([index for index in found if index != IGNORED], dtype=np.int64)
    counts = np.bincount(known, minlength=len(codes))
    check_counts(names, counts)
    return tuple(int(count) for count in counts)


def label_truth(batch: Batch, codes: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K) 1 for each label that a chip has, else 0, of the type and device of `like`; and (B,)
    bool, False for chips without target or weight."""
    truth = torch.zeros(len(batch.ids), len(codes), dtype=like.dtype)
    known = torch.zeros(len(batch.ids), dtype=torch.bool)
    for row, target in enumerate(batch.targets):
        shown = scene_codes(batch.ids[row], target)
        if shown is not None:
            known[row] = True
            truth[row] = torch.tensor([float(code in shown) for code in codes])
    each = chip_weights(batch)
    if each is not None:
        known &= each.cpu() > 0
    return truth.to(like.device), known.to(like.device)


def scenes_where_seen(answer: Tensor, features: Features) -> Tensor:
    """(B, P), NaN for chips of which nothing was seen."""
    return torch.where(seen_scenes(features)[:, None], answer, torch.nan)
