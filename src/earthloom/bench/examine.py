"""Testing a fitted model: its answers counted by test group."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.bench.tally import ClassTally, LabelsTally, Sums, Tally, ValueTally, Weights
from earthloom.bench.truth import Truth
from earthloom.fit.model import Model
from earthloom.sample import Chip, Samples
from earthloom.sample.batch import Batch
from earthloom.sample.room import collate_ragged
from earthloom.sample.target import PixelValues, SceneClasses, SceneValue
from earthloom.tasks.base import Score, Task, is_counted

_BATCH_NUMBERS = 4_000_000
"""Numbers of pixels that are answered at a time."""


class Reading(Protocol):
    """How an answer to one chip becomes sums, for one kind of task."""

    @property
    def tally(self) -> Tally: ...

    def sums(self, model: Model, answer: Tensor, chip: Chip) -> tuple[Sums, int, int]:
        """(S,) sums; how many labels were answered, of how many."""
        ...

    def constant(self, sums: Sums, truth: Truth) -> Sums:
        """The sums (..., S) had one answer always been given, the best by the training samples."""
        ...


@dataclass(frozen=True)
class ClassReading(ABC):
    """Probabilities of K classes, one of which is true."""

    classes: int

    @property
    def tally(self) -> ClassTally:
        return ClassTally(self.classes)

    @abstractmethod
    def sums(self, model: Model, answer: Tensor, chip: Chip) -> tuple[Sums, int, int]: ...

    def counted(
        self,
        model: Model,
        shares: NDArray[np.floating],
        true: NDArray[np.integer],
        each: Weights | None,
    ) -> tuple[Sums, int, int]:
        """Sums of probabilities (N, K) and class indices (N,) that count `each` (N,), by the
        model's threshold where it has one, else by the most probable class; how many were answered,
        of how many."""
        seen = np.isfinite(shares).all(axis=1)
        each = np.ones(len(seen)) if each is None else each
        sums = _decided(self.tally, model, shares[seen], true[seen], each[seen])
        return sums, int(seen.sum()), len(seen)

    def constant(self, sums: Sums, truth: Truth) -> Sums:
        return self.tally.constant(sums, int((truth.weights @ truth.counts).argmax()))


@final
class PixelReading(ClassReading):
    """Class probabilities of pixels (K, H, W) against the chip's label."""

    def sums(self, model: Model, answer: Tensor, chip: Chip) -> tuple[Sums, int, int]:
        label = chip.usable_label
        assert label is not None
        labelled = (label > 0) & (label <= self.classes)
        shares = answer.numpy().reshape(len(answer), -1).T[labelled.ravel()]
        each = None if chip.weight is None else chip.weight[labelled]
        return self.counted(model, shares, label[labelled].astype(np.intp) - 1, each)


@final
class SceneReading(ClassReading):
    """Class probabilities of a chip (K,) against its one class."""

    def sums(self, model: Model, answer: Tensor, chip: Chip) -> tuple[Sums, int, int]:
        target = chip.target
        known = target.codes if isinstance(target, SceneClasses) and is_counted(chip) else ()
        if len(known) != 1:
            return np.zeros(self.tally.width), 0, 0
        true = np.array([known[0] - 1])
        return self.counted(model, answer.numpy()[None], true, weight_of(chip))


@dataclass(frozen=True)
class LabelsReading:
    """Probabilities of a chip's classes (K,) against all that it has."""

    classes: int

    @property
    def tally(self) -> LabelsTally:
        return LabelsTally(self.classes)

    def sums(self, model: Model, answer: Tensor, chip: Chip) -> tuple[Sums, int, int]:
        if not isinstance(chip.target, SceneClasses) or not is_counted(chip):
            return np.zeros(self.tally.width), 0, 0
        true = np.zeros((1, self.classes), np.bool_)
        true[0, [code - 1 for code in chip.target.codes]] = True
        shares = answer.numpy()[None]
        return self.tally.of(shares, true, weight_of(chip)), int(np.isfinite(shares).all()), 1

    def constant(self, sums: Sums, truth: Truth) -> Sums:
        shown = np.average(truth.counts > 0, axis=0, weights=truth.weights)
        return self.tally.constant(sums, shown >= 0.5)


@dataclass(frozen=True)
class NumberReading(ABC):
    """Numbers against true ones."""

    tally: ValueTally = field(default_factory=ValueTally)

    @abstractmethod
    def sums(self, model: Model, answer: Tensor, chip: Chip) -> tuple[Sums, int, int]: ...

    def counted(
        self, said: NDArray[np.floating], true: NDArray[np.floating], each: Weights | None
    ) -> tuple[Sums, int, int]:
        """Sums of answers (N,) to N known numbers that count `each` (N,); how many were answered,
        of how many."""
        return self.tally.of(said, true, each), int(np.isfinite(said).sum()), len(said)

    def constant(self, sums: Sums, truth: Truth) -> Sums:
        known = np.isfinite(truth.values)
        mean = np.average(truth.values[known], weights=truth.weights[known])
        return self.tally.constant(sums, float(mean))


@final
class ValueReading(NumberReading):
    """A chip's value (first of P) against the true one."""

    def sums(self, model: Model, answer: Tensor, chip: Chip) -> tuple[Sums, int, int]:
        if not isinstance(chip.target, SceneValue) or not is_counted(chip):
            return np.zeros(self.tally.width), 0, 0
        true = np.array([chip.target.value])
        if not np.isfinite(true).all():
            return np.zeros(self.tally.width), 0, 0
        return self.counted(answer.numpy().reshape(-1)[:1], true, weight_of(chip))


@final
class PixelValueReading(NumberReading):
    """Values of pixels (first plane of (P, H, W)) against those that are known."""

    def sums(self, model: Model, answer: Tensor, chip: Chip) -> tuple[Sums, int, int]:
        if not isinstance(chip.target, PixelValues):
            return np.zeros(self.tally.width), 0, 0
        known = np.isfinite(chip.target.values)
        if chip.weight is not None:
            known &= chip.weight > 0
        each = None if chip.weight is None else chip.weight[known]
        return self.counted(answer.numpy()[0][known], chip.target.values[known], each)


def reading_of(task: str, classes: int) -> Reading | None:
    """How answers to a registry's task are counted; None for things, which the task scores."""
    if task in ("pixel-class", "change", "series-class"):
        return PixelReading(classes)
    readings: Mapping[str, Reading] = {
        "scene-class": SceneReading(classes),
        "scene-labels": LabelsReading(classes),
        "scene-value": ValueReading(),
        "pixel-value": PixelValueReading(),
    }
    return readings.get(task)


@dataclass
class Examination:
    """What was counted so far, over any number of models and folds, under one condition."""

    reading: Reading | None
    score: Score[Any]
    """For tasks without a reading."""
    by_group: dict[str, Sums] = field(default_factory=dict)
    answered: int = 0
    labelled: int = 0
    tested: int = 0

    def add(self, model: Model, batch: Batch, chips: Sequence[Chip]) -> None:
        """Counts the answers to a batch of these chips."""
        answer = model.answer(batch)
        self.tested += len(chips)
        if self.reading is None:
            self.score.update(answer, batch)
            return
        for number, chip in enumerate(chips):
            sums, answered, labelled = self.reading.sums(model, answer[number].float(), chip)
            known = self.by_group.get(chip.group)
            self.by_group[chip.group] = sums if known is None else known + sums
            self.answered += answered
            self.labelled += labelled

    @property
    def sums(self) -> tuple[tuple[str, ...], Sums]:
        """Groups in order, and their sums (G, S)."""
        names = tuple(sorted(self.by_group))
        return names, np.stack([self.by_group[name] for name in names])

    def metrics(self) -> dict[str, float]:
        """All metrics of what was seen."""
        if self.reading is None:
            return {name: float(value) for name, value in self.score.compute().items()}
        _, sums = self.sums
        found = self.reading.tally.metrics(sums.sum(axis=0))
        return {name: float(value) for name, value in found.items()}


def batches(samples: Samples) -> Iterator[tuple[Batch, list[Chip]]]:
    """All chips, those beside each other of one shape together."""
    waiting: list[Chip] = []
    numbers = 0
    for index in range(len(samples)):
        chip = samples[index]
        own = sum(layer.pixels.size for layer in chip.layers.values())
        if waiting and (chip.shape != waiting[0].shape or numbers + own > _BATCH_NUMBERS):
            yield collate_ragged(waiting, samples.specs), waiting
            waiting, numbers = [], 0
        waiting.append(chip)
        numbers += own
    if waiting:
        yield collate_ragged(waiting, samples.specs), waiting


def main_score(
    task: Task[Any], reading: Reading | None, metric: str, model: Model, samples: Samples
) -> float:
    """One metric of a model on samples."""
    examination = Examination(reading, task.score())
    with torch.inference_mode():
        for batch, chips in batches(samples):
            examination.add(model, batch, chips)
    return examination.metrics()[metric]


def weight_of(chip: Chip) -> Weights | None:
    """(1,) how much a chip as a whole counts; None for 1."""
    return None if chip.weight is None else np.array([chip.weight.mean()])


def _decided(
    tally: ClassTally,
    model: Model,
    shares: NDArray[np.floating],
    true: NDArray[np.integer],
    each: Weights,
) -> Sums:
    """Sums by the model's threshold where it has one, else by the most probable class."""
    if model.threshold is None or tally.classes != 2:
        return tally.of(shares, true, each)
    chosen = (shares[:, 1] >= model.threshold).astype(np.intp)
    sure = np.where(chosen == 1, shares[:, 1], shares[:, 0])
    return tally.of_decided(chosen, sure, true, each)
