"""A fitted model as a teacher, and a task under it, as the training loop sees the two."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar, final

import torch
from torch import Tensor, nn

from earthloom.encoders import Encoder, Features
from earthloom.encoders.base import Level
from earthloom.errors import ContractError
from earthloom.fit.distil_lessons import Lesson
from earthloom.fit.features import encoder_digest
from earthloom.fit.model import Member, Model
from earthloom.sample import LayerSpec, Samples
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Score, Task
from earthloom.tasks.heads import Head
from earthloom.tasks.several import SeveralTasks
from earthloom.tasks.values import ValueTask

AGREEMENT, DECIDES = "agreement", "decides"
_Part = TypeVar("_Part", Encoder, Head)


@final
class Teacher:
    """A model that is asked, batch by batch, what it says."""

    def __init__(self, model: Model, device: torch.device) -> None:
        """Works on a copy; the caller's model stays where it is."""
        members = tuple(
            Member(_still(member.encoder, device), _still(member.head, device))
            for member in model.members
        )
        self.model = replace(model, members=members, task=uncorrected(model.task))
        self.digest = _digest(model)
        self._last: tuple[Batch, Any] | None = None

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        """Those of its members."""
        return tuple(member.encoder for member in self.model.members)

    def says(self, batch: Batch) -> Any:
        """The answer to a batch on its device, without a gradient; kept until the next batch comes,
        for a validation asks twice."""
        if self._last is None or self._last[0] is not batch:
            self._last = batch, _ordinary(self.model.answer(batch))
        return self._last[1]


def uncorrected(task: Task[Any]) -> Task[Any]:
    """The task without a correction of its intervals, which holds for one model alone."""
    if isinstance(task, SeveralTasks):
        return replace(task, tasks=tuple((key, uncorrected(each)) for key, each in task.tasks))
    return replace(task, correction=None) if isinstance(task, ValueTask) else task


def numbers_of(model: Model) -> int:
    """How many numbers a saved model holds: parameters, trees, running means."""
    parts = [part for member in model.members for part in (member.encoder, member.head)]
    return sum(value.numel() for part in parts for value in part.state_dict().values())


@final
@dataclass(frozen=True)
class Taught(Task[Any]):
    """A task whose loss is that of a lesson, with a share of its own where there is a label."""

    name: ClassVar[str] = "distil"
    main: ClassVar[str] = DECIDES
    task: Task[Any]
    teacher: Teacher
    lesson: Lesson
    temperature: float
    own: float
    """Share of the task's own loss."""

    @property
    def outputs(self) -> int:
        return self.task.outputs

    def fitted(self, samples: Samples) -> Self:
        """Itself: what the task must know, the teacher's knows."""
        return self

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        said = self.teacher.says(batch)
        soft = self.lesson.loss(self.task, head, features, said, self.temperature)
        return (1 - self.own) * soft + self.own * self.task.loss(head, features, batch)

    def answer(self, head: Head, features: Features) -> Any:
        return self.task.answer(head, features)

    def score(self) -> TaughtScore:
        return TaughtScore(self)

    def config(self) -> dict[str, Any]:
        return {
            "task": {"name": self.task.name} | self.task.config(),
            "teacher": self.teacher.digest,
            "temperature": self.temperature,
            "own": self.own,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """ContractError: a teacher cannot be made of a few arguments, and models keep the task."""
        raise ContractError(
            "a task under a teacher lasts for one training; saved is the task alone"
        )


@final
class TaughtScore(Score[Any]):
    """The task's metrics, `agreement` with the teacher, and `decides`: the task's main metric, or
    the agreement where no label says how good an answer is."""

    def __init__(self, taught: Taught) -> None:
        self._taught = taught
        self._score, self._tally = taught.task.score(), taught.lesson.tally()

    def update(self, answer: Any, batch: Batch) -> None:
        self._score.update(answer, batch)
        self._tally.add(answer, self._taught.teacher.says(batch))

    def compute(self) -> Mapping[str, float]:
        metrics, agreement = dict(self._score.compute()), self._tally.agreement
        main = metrics[self._taught.task.main]
        decides = agreement if math.isnan(main) else main
        return metrics | {AGREEMENT: agreement, DECIDES: decides}


@final
class Reading(Encoder):
    """A student for whom the layers that its teacher needs are read as well."""

    name = "reading"

    def __init__(self, student: Encoder, teachers: Sequence[Encoder]) -> None:
        """ContractError where student and teacher take different bands of a layer."""
        super().__init__((), {})
        self.student = student
        layers = {spec.key: spec for spec in student.layers}
        self._means: dict[str, Tensor] = {}
        for teacher in teachers:
            for spec in teacher.layers:
                if spec.key not in layers:
                    layers[spec.key], self._means[spec.key] = spec, teacher.mean_of(spec)
                layers[spec.key].check(spec)
        self.layers = tuple(layers.values())
        self._stride = math.lcm(student.stride, *(teacher.stride for teacher in teachers))

    @property
    def radius(self) -> int:
        return self.student.radius

    @property
    def stride(self) -> int:
        """Pieces of chips lie on the grid of both."""
        return self._stride

    @property
    def channels(self) -> int:
        return self.student.channels

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return self.student.pyramid

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return self.student.blocks

    @property
    def scene_channels(self) -> int:
        return self.student.scene_channels

    def config(self) -> dict[str, Any]:
        return {"student": {"name": self.student.name} | self.student.config()}

    def mean_of(self, spec: LayerSpec) -> Tensor:
        known = self._means.get(spec.key)
        return self.student.mean_of(spec) if known is None else known

    def forward(self, batch: Batch) -> Features:
        features: Features = self.student(batch)
        return features


def _still(module: _Part, device: torch.device) -> _Part:
    return copy.deepcopy(module).to(device).requires_grad_(False).eval()


def _ordinary(answer: Any) -> Any:
    """Tensors that a loss may keep, which those of an inference are not."""
    if isinstance(answer, Mapping):
        return {key: _ordinary(each) for key, each in answer.items()}
    return answer.clone()


def _digest(model: Model) -> str:
    """SHA-256 of a model's encoders and heads."""
    digest = hashlib.sha256()
    for member in model.members:
        digest.update(encoder_digest(member.encoder).encode())
        digest.update(f"{member.head.name} {member.head.config()}".encode())
        for name, tensor in sorted(member.head.state_dict().items()):
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
