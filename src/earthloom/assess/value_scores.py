"""Scores of predicted numbers by leaving out one group of labels after the other."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.assess.estimate import or_none
from earthloom.fit import Model
from earthloom.sample import Samples, chips_of
from earthloom.sample.batch import Batch, collate
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.value_scores import ValueScore

_PER_CHIP = 40
"""Pixels of a chip that a report's charts show; figures are over all of them."""


@dataclass
class ValueFolds:
    """Scores of one way of predicting, over all folds and of each."""

    task: PixelValueTask
    pooled: ValueScore
    folds: dict[str, ValueScore] = field(default_factory=dict)
    shown: list[NDArray[np.float32]] = field(default_factory=list)
    """(n, 2) predicted and true numbers of some pixels."""

    @staticmethod
    def of(task: PixelValueTask) -> "ValueFolds":
        """Nothing yet."""
        return ValueFolds(task, task.score())

    def add(self, fold: str, answers: Iterator[tuple[Tensor, Batch]], seed: int) -> None:
        """Takes the answers to a fold's held-out chips, a chip at a time."""
        score = self.folds.setdefault(fold, self.task.score())
        random = np.random.default_rng([seed, len(self.folds)])
        for answer, batch in answers:
            score.update(answer, batch)
            self.pooled.update(answer, batch)
            truth = self.task.truth_of(batch)
            if truth is not None:
                self.shown.append(_some(answer[:, 0], truth, random))

    def summary(self) -> dict[str, Any]:
        """Pooled and per-fold metrics as JSON values."""
        folds = {name: plain(score.compute()) for name, score in self.folds.items()}
        return plain(self.pooled.compute()) | {"folds": folds}

    @property
    def pairs(self) -> NDArray[np.float32]:
        """(n, 2) predicted and true numbers of some pixels."""
        return np.concatenate([np.zeros((0, 2), np.float32), *self.shown])


def answers_of(model: Model, samples: Samples) -> Iterator[tuple[Tensor, Batch]]:
    """A model's answers to chips, one at a time."""
    for chip in chips_of(samples):
        batch = collate([chip])
        yield model.answer(batch), batch


def mean_answers(
    task: PixelValueTask, train: Samples, test: Samples
) -> Iterator[tuple[Tensor, Batch]]:
    """The mean of what the training chips know, as the answer to every pixel; no interval."""
    total, count = 0.0, 0
    for chip in chips_of(train):
        values = task.values_of(chip.target)
        if values is not None:
            known = values[~np.isnan(values)].astype(np.float64)
            total, count = total + float(known.sum()), count + len(known)
    mean = total / count if count else math.nan
    for chip in chips_of(test):
        planes = torch.full((1, 3, *chip.shape), math.nan)
        planes[:, 0] = mean
        yield planes, collate([chip])


def plain(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON has them: None for NaN."""
    return {name: or_none(value) for name, value in metrics.items()}


def _some(value: Tensor, truth: Tensor, random: np.random.Generator) -> NDArray[np.float32]:
    both = np.stack([value.cpu().numpy().ravel(), truth.numpy().ravel()], axis=1)
    known = np.flatnonzero(~np.isnan(both).any(axis=1))
    return np.asarray(both[np.sort(random.permutation(known)[:_PER_CHIP])], np.float32)
