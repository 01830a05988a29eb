"""Distillation: a small encoder and head learn to answer as any fitted model does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

import numpy as np
import torch

from earthloom.chips.sampling import Cycled
from earthloom.encoders import Encoder
from earthloom.errors import ContractError, LabelError
from earthloom.fit.distil_lessons import Lesson, lesson_for
from earthloom.fit.distil_teacher import Reading, Taught, Teacher, numbers_of
from earthloom.fit.model import Model
from earthloom.fit.training.adapt import ByGradient
from earthloom.fit.training.feed import validation_batches
from earthloom.fit.training.loop import train as run_training
from earthloom.fit.training.result import Trained
from earthloom.fit.training.run import fabric_for
from earthloom.fit.training.settings import Training
from earthloom.sample import Chip, LayerSpec, Samples
from earthloom.tasks.base import Task
from earthloom.tasks.heads import Head
from earthloom.tasks.several import SeveralTasks

_ASKED = ("name", "codes", "names", "parents", "unit", "quantity")
"""Of a task's configuration what an answer means; the rest says how it is learnt."""


@final
@dataclass(frozen=True)
class Distil(ByGradient):
    """Encoder and head are trained to answer as a teacher does (Hinton et al. 2015).

    Every chip is learnt from, with a label or without: the teacher is asked what it says of the
    very pixels that the student sees, augmented as they are (Beyer et al. 2022). Where there is a
    label the task's own loss counts as well. The student's task is the teacher's, with what that
    knew of its training data. The student may take fewer sensors than the teacher, but not fewer
    bands of one.

    ContractError for a teacher of another question, and for tasks whose answers are no numbers.
    """

    name: ClassVar[str] = "distil"
    teacher: Model = field(kw_only=True, hash=False)
    temperature: float = 2.0
    """What logits are divided by before they are compared; no matter for values."""
    own: float = 0.1
    """Share of the task's own loss, from 0 to below 1."""
    more: Samples | None = field(default=None, hash=False)
    """Chips beside those of `fit`. Their labels, if they have any, are not looked at."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ContractError(f"temperature is {self.temperature}; valid is above 0")
        if not 0 <= self.own < 1:
            raise ContractError(f"own is {self.own}; valid is from 0 to below 1")

    def serves(self, task: Task[Any]) -> bool:
        return (
            self.heads.serves(task)
            and lesson_for(task) is not None
            and _question(task) == _question(self.teacher.task)
        )

    def choose(self, encoder: Encoder) -> None:
        encoder.requires_grad_(True)

    def card(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "own": self.own}

    def fit(
        self,
        encoder: Encoder,
        train: Samples,
        task: Task[Any],
        seed: int,
        validation: Samples | None = None,
    ) -> Model:
        """A student of the teacher, see `Adaptation.fit`; `encoder` is where it starts."""
        lesson, chips = self._lesson(task), self._chips(train)
        for each in (encoder, *(member.encoder for member in self.teacher.members)):
            each.check(chips.specs)
        settings = self.settings(self.teacher.task, seed)
        teacher = Teacher(self.teacher, fabric_for(settings).device)
        taught = Taught(teacher.model.task, teacher, lesson, self.temperature, self.own)
        student, head = self.start(encoder, taught.task, seed)
        reading = Reading(student, teacher.encoders)
        training = self.bounded(reading, head, taught, _Marked(chips), settings)
        every = Cycled(np.arange(len(chips)), training.drawn)
        trained = run_training(
            reading, head, taught, chips, training, validation=validation, rule=every
        )
        agreement = _agreement(reading, trained, taught, validation, training)
        model = self.model(student, trained, taught.task, training)
        record = self._record(model, teacher, len(chips), agreement)
        return replace(model, threshold=self.teacher.threshold, record=model.record | record)

    def _lesson(self, task: Task[Any]) -> Lesson:
        lesson, asked, taught = lesson_for(task), _question(task), _question(self.teacher.task)
        if lesson is None:
            raise ContractError(
                f"distillation does not serve the task '{task.name}': a student learns from "
                "probabilities and numbers, and there are none for things such as boxes; valid are "
                "tasks of classes, labels, values and counts"
            )
        if asked != taught:
            differing = sorted(
                k for k in asked.keys() | taught.keys() if asked.get(k) != taught.get(k)
            )
            shown = "; ".join(f"{k} {taught.get(k)} and not {asked.get(k)}" for k in differing)
            raise ContractError(f"the teacher answers another question: {shown}")
        return lesson

    def _chips(self, train: Samples) -> Samples:
        chips = train if self.more is None else _Extended(train, self.more)
        if not len(chips):
            raise LabelError("distillation takes chips, with labels or without, but there is none")
        return chips

    def _record(
        self, model: Model, teacher: Teacher, chips: int, agreement: float | None
    ) -> dict[str, Any]:
        large, small = numbers_of(self.teacher), numbers_of(model)
        return {
            "teacher": {
                "adaptation": self.teacher.record.get("adaptation"),
                "encoders": [encoder.name for encoder in teacher.encoders],
                "digest": teacher.digest,
                "numbers": large,
            },
            "numbers": small,
            "times_smaller": large / small,
            "chips": chips,
            "agreement": agreement,
        }


def _agreement(
    reading: Reading,
    trained: Trained,
    taught: Taught,
    validation: Samples | None,
    training: Training,
) -> float | None:
    """With the teacher on validation chips; None where there is nothing to compare."""
    if validation is None or not len(validation):
        return None
    device, tally = fabric_for(training).device, taught.lesson.tally()
    head: Head = trained.head.to(device)
    reading.to(device).eval()
    with closing(validation_batches(validation, reading, training)) as batches, torch.no_grad():
        for batch in batches:
            batch = batch.to(device)
            tally.add(taught.answer(head, reading(batch)), taught.teacher.says(batch))
    head.cpu()
    return None if math.isnan(tally.agreement) else tally.agreement


def _question(task: Task[Any]) -> dict[str, Any]:
    """What an answer to a task means."""
    config = {"name": task.name} | task.config()
    asked = {key: config[key] for key in _ASKED if key in config}
    if isinstance(task, SeveralTasks):
        asked |= {key: _question(each) for key, each in task.tasks}
    return asked


@dataclass(frozen=True)
class _Extended:
    """Chips, then others of the same layers, whose labels are left out."""

    first: Samples
    more: Samples

    def __post_init__(self) -> None:
        given = self.more.specs
        for key, spec in self.first.specs.items():
            if key not in given:
                raise ContractError(f"the chips without labels have no layer {key}")
            spec.check(given[key])

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.first.specs

    @property
    def groups(self) -> Sequence[str]:
        return [*self.first.groups, *self.more.groups]

    def __len__(self) -> int:
        return len(self.first) + len(self.more)

    def __getitem__(self, index: int) -> Chip:
        if index < len(self.first):
            return self.first[index]
        chip = self.more[index - len(self.first)]
        return replace(chip, label=None, target=None, weight=None)


@dataclass(frozen=True)
class _Marked:
    """The same chips, each with a label, for measures of memory, which take labelled chips."""

    chips: Samples

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.chips.specs

    @property
    def groups(self) -> Sequence[str]:
        return self.chips.groups

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, index: int) -> Chip:
        chip = self.chips[index]
        return replace(chip, label=np.ones(tuple(chip.shape), np.uint8), weight=None)
