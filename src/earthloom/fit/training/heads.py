"""Which head is put on an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, final

from earthloom.encoders import Encoder
from earthloom.errors import ContractError
from earthloom.tasks.base import Task
from earthloom.tasks.counts import CountTask
from earthloom.tasks.detect import detector_for
from earthloom.tasks.detect_points import point_detector_for
from earthloom.tasks.heads import ConvHead, Head
from earthloom.tasks.mask_classes import MaskHead
from earthloom.tasks.objects_task import ThingTask
from earthloom.tasks.pixel_classes import PixelClasses
from earthloom.tasks.several import SeveralTasks

_OF_SCENES = "scene-"
"""How the names of tasks begin that are about a chip as a whole."""
_DENSE = ("pixel-", _OF_SCENES)


class HeadChoice(Protocol):
    """Makes heads; a frozen dataclass."""

    def serves(self, task: Task[Any]) -> bool:
        """Whether its heads fit such a task."""
        ...

    def needs_pyramid(self, task: Task[Any]) -> bool:
        """Whether the head of a task that it serves looks at `Features.pyramid`."""
        ...

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        """A new head for a task that is fitted, with random weights from torch's generator."""
        ...


@final
@dataclass(frozen=True)
class Convolution:
    """A 1 x 1 convolution, for tasks of pixels, of whole chips and of counts: a linear head."""

    def serves(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return task.name.startswith(_DENSE) or isinstance(task, CountTask)

    def needs_pyramid(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return False

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        """See `HeadChoice`."""
        whole = task.name.startswith(_OF_SCENES)
        channels = encoder.scene_channels if whole else encoder.channels
        return ConvHead(channels, task.outputs)


@final
@dataclass(frozen=True)
class Masks:
    """Mask classification, for classes of pixels; see `earthloom.tasks.mask_classes`."""

    queries: int = 16
    """At least; as many as there are classes where those are more."""
    width: int = 64

    def serves(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return isinstance(task, PixelClasses)

    def needs_pyramid(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return False

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        """See `HeadChoice`."""
        queries = max(self.queries, task.outputs)
        return MaskHead(encoder.channels, task.outputs, queries, self.width)


@final
@dataclass(frozen=True)
class Detector:
    """Faster R-CNN or Mask R-CNN, for tasks of things; see `earthloom.tasks.detect`."""

    width: int = 64
    """Channels of its own pyramid, a multiple of 8."""

    def serves(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return isinstance(task, ThingTask)

    def needs_pyramid(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return True

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        """See `HeadChoice`."""
        assert isinstance(task, ThingTask)
        return detector_for(task, encoder, self.width)


@final
@dataclass(frozen=True)
class Points:
    """FCOS, for tasks of things without masks; see `earthloom.tasks.detect_points`."""

    width: int = 64
    """Channels of its own pyramid, a multiple of 8."""

    def serves(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return isinstance(task, ThingTask) and not task.needs_masks

    def needs_pyramid(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return True

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        """See `HeadChoice`."""
        assert isinstance(task, ThingTask)
        return point_detector_for(task, encoder, self.width)


@final
@dataclass(frozen=True)
class ForEach:
    """A head for each of several tasks, all by one choice."""

    choice: HeadChoice

    def serves(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return isinstance(task, SeveralTasks) and all(
            self.choice.serves(each) for _, each in task.tasks
        )

    def needs_pyramid(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        assert isinstance(task, SeveralTasks)
        return any(self.choice.needs_pyramid(each) for _, each in task.tasks)

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        """See `HeadChoice`."""
        assert isinstance(task, SeveralTasks)
        return task.heads(lambda each: self.choice.make(encoder, each))


@final
@dataclass(frozen=True)
class FirstThatServes:
    """Of several choices the first one that serves a task; of several tasks each has its own.

    The choices there are without being told serve every task of the registry.
    """

    choices: tuple[HeadChoice, ...] = (Convolution(), Detector())

    def serves(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return any(choice.serves(task) for choice in self._all)

    def needs_pyramid(self, task: Task[Any]) -> bool:
        """See `HeadChoice`."""
        return self._of(task).needs_pyramid(task)

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        """See `HeadChoice`; ContractError for a task that none of the choices serves."""
        return self._of(task).make(encoder, task)

    @property
    def _all(self) -> tuple[HeadChoice, ...]:
        return (*self.choices, ForEach(self))

    def _of(self, task: Task[Any]) -> HeadChoice:
        for choice in self._all:
            if choice.serves(task):
                return choice
        names = ", ".join(type(choice).__name__ for choice in self._all)
        raise ContractError(f"no head is made for the task '{task.name}' by any of: {names}")
