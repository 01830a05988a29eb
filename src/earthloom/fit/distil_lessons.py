"""What a student learns from a teacher's answers, and how far the two agree, by the kind of task.

Answers are those of `Task.answer`, so that any fitted model can teach: a network, a forest, the
mean of several. Where either says nothing (NaN), nothing is learnt.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.encoders import Features
from earthloom.tasks.base import Task, raw_scenes
from earthloom.tasks.counts import CountTask, numbers_in
from earthloom.tasks.heads import Head
from earthloom.tasks.ordinal import PixelOrdinal, SceneOrdinal
from earthloom.tasks.pixel_classes import PixelClasses
from earthloom.tasks.scene_classes import SceneClass, SceneLabels
from earthloom.tasks.scene_tree import SceneTree
from earthloom.tasks.several import Heads, SeveralTasks
from earthloom.tasks.value_scale import LINKS, RunningMoments
from earthloom.tasks.values import ValueTask

_LEAST = 1e-12
"""Probability whose logarithm stands for that of any lower one."""
_CERTAIN = 1e-6
"""The same for labels, each of which stands alone."""
_STEP = 1e-5
"""Standard deviations that rounding may add to a number that is at the least value."""


class Tally(ABC):
    """How far a student agrees with a teacher, over any number of batches."""

    @abstractmethod
    def add(self, answer: Any, said: Any) -> None:
        """Takes the answers of student and teacher to a batch."""

    @property
    @abstractmethod
    def agreement(self) -> float:
        """1 where both say the same; NaN where there was nothing to compare."""


class Lesson(ABC):
    """How answers to one kind of task are learnt from; a frozen dataclass."""

    @abstractmethod
    def loss(
        self, task: Task[Any], head: Head, features: Features, said: Any, temperature: float
    ) -> Tensor:
        """() how far a student is from what the teacher `said`; 0, with a gradient, where there is
        nothing to compare."""

    @abstractmethod
    def tally(self) -> Tally:
        """A tally that has seen nothing yet."""


@final
@dataclass(frozen=True)
class OneOfClasses(Lesson):
    """Probabilities that sum to one, of pixels or chips: Kullback-Leibler divergence from the
    teacher's to the student's, both softened by a temperature (Hinton et al. 2015)."""

    columns: tuple[int, ...] | None = None
    """Those of the answer that sum to one; None for all."""

    def loss(
        self, task: Task[Any], head: Head, features: Features, said: Any, temperature: float
    ) -> Tensor:
        own, theirs = self._rows(task.answer(head, features)), self._rows(said)
        known = ~(own.isnan() | theirs.isnan()).any(dim=1)
        if not known.any():
            return own[known].sum()
        # Logits differ from logarithms of probabilities by a constant, which a softmax passes over.
        logarithms = own[known].clamp(min=_LEAST).log() / temperature
        soft = (theirs[known].clamp(min=_LEAST).log() / temperature).softmax(dim=1)
        away = F.kl_div(logarithms.log_softmax(dim=1), soft, reduction="batchmean")
        # Gradients fall with the square of the temperature.
        return away * temperature**2

    def tally(self) -> Tally:
        return Share(lambda answer: self._rows(answer).argmax(dim=1), self._rows)

    def _rows(self, answer: Tensor) -> Tensor:
        """(N, K) of every pixel or chip."""
        rows = answer.movedim(1, -1).flatten(0, -2)
        return rows if self.columns is None else rows[:, list(self.columns)]


@final
@dataclass(frozen=True)
class EachLabel(Lesson):
    """Probabilities of labels by themselves (B, K): the entropy of each, softened like those of
    classes."""

    def loss(
        self, task: Task[Any], head: Head, features: Features, said: Any, temperature: float
    ) -> Tensor:
        raw = raw_scenes(head, features)
        known = ~(task.answer(head, features).isnan() | said.isnan()).any(dim=1)
        if not known.any():
            return raw[known].sum()
        soft = (said[known].logit(eps=_CERTAIN) / temperature).sigmoid()
        away = F.binary_cross_entropy_with_logits(raw[known] / temperature, soft)
        return away * temperature**2

    def tally(self) -> Tally:
        return Share(lambda answer: (answer >= 0.5).flatten(), lambda answer: answer.reshape(-1, 1))


@final
@dataclass(frozen=True)
class Values(Lesson):
    """Numbers, and the ends of their intervals where there are any: the squared error in standard
    deviations of the teacher's training data."""

    def loss(
        self, task: Task[Any], head: Head, features: Features, said: Any, temperature: float
    ) -> Tensor:
        assert isinstance(task, ValueTask)
        raw, seen = task.raw(head, features)
        ends = task.criterion.interval(raw, task.level)
        own = torch.stack([task.criterion.value(raw), *ends], dim=1)
        theirs = task.scale.standardised(said)
        known = seen[:, None] & own.isfinite() & theirs.isfinite()
        if not known.any():
            return own[known].sum()
        gaps = own[known] - theirs[known]
        # Below the least value that the link takes all answers are the same.
        least = task.scale.standardised(own.new_tensor(LINKS[task.scale.link].least))
        gaps = torch.where(theirs[known] <= least + _STEP, gaps.clamp(min=0), gaps)
        return (gaps**2).mean()

    def tally(self) -> Tally:
        return Explained(lambda answer: answer[:, 0])


@final
@dataclass(frozen=True)
class Densities(Lesson):
    """Densities of things: squared errors of pixels and absolute ones of sums, in the units of the
    loss of `CountTask`."""

    def loss(
        self, task: Task[Any], head: Head, features: Features, said: Any, temperature: float
    ) -> Tensor:
        assert isinstance(task, CountTask)
        own = task.answer(head, features)
        known = ~(own.isnan() | said.isnan()).any(dim=1)
        if not known.any():
            return own.movedim(1, -1)[known].sum()
        rates = own.new_tensor(task.rates or (1.0,) * len(task.codes))
        gaps = torch.where(known[:, None], own - said, 0.0)
        squares = (gaps**2).sum(dim=(0, 2, 3)) / known.sum()
        placed = squares / (rates / (4 * math.pi * task.sigma**2))
        rows, cols = known.shape[-2:]
        counted = gaps.sum(dim=(2, 3)).abs() / (rates * rows * cols)
        loss: Tensor = placed.mean() + counted.mean()
        return loss

    def tally(self) -> Tally:
        return Explained(numbers_in)


@final
@dataclass(frozen=True)
class Several(Lesson):
    """The sum over several tasks, each with a lesson of its own."""

    parts: tuple[tuple[str, Lesson], ...]

    def loss(
        self, task: Task[Any], head: Head, features: Features, said: Any, temperature: float
    ) -> Tensor:
        assert isinstance(task, SeveralTasks)
        assert isinstance(head, Heads)
        tasks = dict(task.tasks)
        losses = [
            lesson.loss(tasks[key], head[key], features, said[key], temperature)
            for key, lesson in self.parts
        ]
        return torch.stack(losses).sum()

    def tally(self) -> Tally:
        return Mean({key: lesson.tally() for key, lesson in self.parts})


@final
class Share(Tally):
    """The share of decisions that are the same."""

    def __init__(
        self, decide: Callable[[Tensor], Tensor], rows: Callable[[Tensor], Tensor]
    ) -> None:
        """`decide` gives a decision (N,) for each of the rows (N, ...) of an answer."""
        self._decide, self._rows = decide, rows
        self._same = self._count = 0

    def add(self, answer: Any, said: Any) -> None:
        unknown = (self._rows(answer).isnan() | self._rows(said).isnan()).any(dim=1)
        same = self._decide(answer) == self._decide(said)
        self._same += int((same & ~unknown).sum())
        self._count += int((~unknown).sum())

    @property
    def agreement(self) -> float:
        return self._same / self._count if self._count else math.nan


@final
class Explained(Tally):
    """The share of the variance of a teacher's numbers that a student's explain (R2)."""

    def __init__(self, numbers: Callable[[Tensor], Tensor]) -> None:
        self._numbers, self._theirs, self._errors = numbers, RunningMoments(), 0.0

    def add(self, answer: Any, said: Any) -> None:
        own, theirs = (
            self._numbers(each).detach().double().cpu().flatten() for each in (answer, said)
        )
        known = own.isfinite() & theirs.isfinite()
        self._theirs.add(theirs[known].numpy())
        self._errors += float(((own - theirs)[known] ** 2).sum())

    @property
    def agreement(self) -> float:
        return 1 - self._errors / self._theirs.squares if self._theirs.squares else math.nan


@final
class Mean(Tally):
    """The mean over several tasks, without those that nothing is known of."""

    def __init__(self, parts: Mapping[str, Tally]) -> None:
        self._parts = parts

    def add(self, answer: Any, said: Any) -> None:
        for key, part in self._parts.items():
            part.add(answer[key], said[key])

    @property
    def agreement(self) -> float:
        known = [each.agreement for each in self._parts.values() if not math.isnan(each.agreement)]
        return float(np.mean(known)) if known else math.nan


def lesson_for(task: Task[Any]) -> Lesson | None:
    """How answers to a task are learnt from; None for those that are no numbers, such as boxes."""
    return next((make(task) for kind, make in _LESSONS.items() if isinstance(task, kind)), None)


def _of_tree(task: Any) -> Lesson:
    return OneOfClasses(tuple(task.codes.index(code) for code in task.tree.leaves))


def _of_several(task: Any) -> Lesson | None:
    parts = tuple((key, lesson) for key, each in task.tasks if (lesson := lesson_for(each)))
    return Several(parts) if len(parts) == len(task.tasks) else None


_LESSONS: Mapping[type, Callable[[Any], Lesson | None]] = {
    PixelClasses: lambda task: OneOfClasses(),
    PixelOrdinal: lambda task: OneOfClasses(),
    SceneClass: lambda task: OneOfClasses(),
    SceneOrdinal: lambda task: OneOfClasses(),
    SceneTree: _of_tree,
    SceneLabels: lambda task: EachLabel(),
    ValueTask: lambda task: Values(),
    CountTask: lambda task: Densities(),
    SeveralTasks: _of_several,
}
