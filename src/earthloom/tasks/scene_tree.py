"""Whole chips are of one class of a tree of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from torch import Tensor

from earthloom.encoders import Features
from earthloom.sample import Samples, chips_of
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Score, Task, is_counted, raw_scenes, weights_at
from earthloom.tasks.class_scores import ClassTally
from earthloom.tasks.class_tree import ROOT, ClassTree
from earthloom.tasks.class_weights import ClassWeighting, InverseRoot
from earthloom.tasks.classes import (
    IGNORED,
    check_counts,
    check_fit,
    class_arguments,
    class_config,
    class_weights,
    ignored_without_weight,
    scene_codes,
    seen_scenes,
)
from earthloom.tasks.heads import Head
from earthloom.tasks.losses import Criterion, CrossEntropy, Labelled, criterion_from
from earthloom.tasks.scene_classes import scenes_where_seen


@final
@dataclass(frozen=True)
class SceneTree(Task[Tensor]):
    """The task of telling a chip's class on every level of a tree of classes.

    Its target is `SceneClasses` of one class, alone or with its parents. That class need not be a
    leaf: what is known only above a level is passed over there. The head tells the leaves apart,
    and a parent is as probable as its parts together (as in Redmon and Farhadi 2017), so that the
    levels never contradict each other. The loss is the mean of that of each level, which makes a
    confusion of two oaks a smaller error than one of an oak and a lake (Bertinetto et al. 2020).
    The answer is the probability of every class, in the order of the tree's (B, N), NaN for chips
    of which nothing was seen.
    """

    name: ClassVar[str] = "scene-tree"
    main: ClassVar[str] = "macro_f1"
    tree: ClassTree
    criterion: Criterion = CrossEntropy()
    weighting: ClassWeighting = InverseRoot()
    counts: tuple[int, ...] | None = None
    """(N,) training chips of each class or of its parts; None before `fitted`."""

    def __post_init__(self) -> None:
        check_fit(self.counts, len(self.tree.codes))

    @property
    def codes(self) -> tuple[int, ...]:
        """Of all classes, in the order of the answer."""
        return self.tree.codes

    @property
    def names(self) -> tuple[str, ...]:
        """Of all classes, in the order of the answer."""
        return self.tree.names

    @property
    def outputs(self) -> int:
        return len(self.tree.leaves)

    def fitted(self, samples: Samples) -> Self:
        counts = np.zeros(len(self.codes), np.int64)
        for chip in filter(is_counted, chips_of(samples)):
            code = self.tree.deepest(chip.id, scene_codes(chip.id, chip.target) or ())
            for each in self.tree.path(code) if code != ROOT else ():
                counts[self.codes.index(each)] += 1
        fitted = replace(self, counts=tuple(int(count) for count in counts))
        # One level with a question that has two answers is enough to learn from.
        levels = [(level, np.array(fitted._counts_of(level))) for level in self.tree.levels]
        level, of_level = max(levels, key=lambda each: int((each[1] > 0).sum()))
        check_counts(self.tree.names_of(level), of_level)
        return fitted

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        leaves = raw_scenes(head, features).log_softmax(dim=1)
        seen = seen_scenes(features)
        losses = []
        for level in self.tree.levels:
            truth = level_truth(self.tree, level, batch).to(leaves.device)
            at = (truth != IGNORED) & seen
            if at.any():
                weights = class_weights(self.weighting, self._counts_of(level), leaves, len(level))
                logarithms = self.tree.logarithms(leaves[at], level)
                each = weights_at(batch, at)
                losses.append(self.criterion(Labelled(logarithms, truth[at], weights, each)))
        return torch.stack(losses).mean() if losses else leaves.sum() * 0.0

    def answer(self, head: Head, features: Features) -> Tensor:
        leaves = raw_scenes(head, features).log_softmax(dim=1)
        return scenes_where_seen(self.tree.logarithms(leaves, self.codes).exp(), features)

    def score(self) -> Score[Tensor]:
        return TreeScore(self.tree)

    def config(self) -> dict[str, Any]:
        own = {"parents": list(self.tree.parents), "criterion": self.criterion.config()}
        return class_config(self) | own

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        given = class_arguments(config)
        tree = ClassTree(given["codes"], given["names"], tuple(config["parents"]))
        criterion = criterion_from(config["criterion"])
        return cls(tree, criterion, given["weighting"], given["counts"])

    def _counts_of(self, level: tuple[int, ...]) -> tuple[int, ...] | None:
        if self.counts is None:
            return None
        return tuple(self.counts[self.codes.index(code)] for code in level)


@final
class TreeScore(Score[Tensor]):
    """Answers (B, N) of a tree: the metrics of `ClassTally` on its leaves, and on every level.

    A level's metrics end in its number, from the top: `macro_f1_level_1`.
    """

    def __init__(self, tree: ClassTree) -> None:
        self._tree = tree
        self._tallies = [ClassTally(tree.names_of(level)) for level in tree.levels]

    def update(self, answer: Tensor, batch: Batch) -> None:
        for level, tally in zip(self._tree.levels, self._tallies, strict=True):
            truth = level_truth(self._tree, level, batch).to(answer.device)
            at = truth != IGNORED
            columns = [self._tree.codes.index(code) for code in level]
            tally.add(answer[at][:, columns], truth[at], weights_at(batch, at))

    def compute(self) -> Mapping[str, float]:
        metrics = self._tallies[-1].metrics()
        for number, tally in enumerate(self._tallies, start=1):
            metrics |= {f"{what}_level_{number}": v for what, v in tally.metrics().items()}
        return metrics


def level_truth(tree: ClassTree, level: tuple[int, ...], batch: Batch) -> Tensor:
    """(B,) index in a level of each chip's class, `IGNORED` where it is not known that far, or
    where the chip weighs nothing."""
    found = [IGNORED] * len(batch.ids)
    for row, target in enumerate(batch.targets):
        chip = batch.ids[row]
        found[row] = tree.index_in(level, tree.deepest(chip, scene_codes(chip, target) or ()))
    return ignored_without_weight(torch.tensor(found, dtype=torch.int64), batch)
