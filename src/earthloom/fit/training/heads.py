"""Which head is put on an encoder."""

from dataclasses import dataclass
from typing import Any, Protocol

from earthloom.encoders import Encoder
from earthloom.tasks.base import Task
from earthloom.tasks.heads import ConvHead, Head

_OF_SCENES = "scene-"
"""How the names of tasks begin that are about a chip as a whole."""
_DENSE = ("pixel-", _OF_SCENES)


class HeadChoice(Protocol):
    """Makes heads; a frozen dataclass."""

    @property
    def pyramid(self) -> bool:
        """Whether its heads look at `Features.pyramid`."""
        ...

    def serves(self, task: Task[Any]) -> bool:
        """Whether its heads fit such a task."""
        ...

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        """A new head with random weights from torch's generator."""
        ...


@dataclass(frozen=True)
class Convolution:
    """A 1 x 1 convolution, for tasks of pixels and of whole chips: a linear head."""

    @property
    def pyramid(self) -> bool:
        return False

    def serves(self, task: Task[Any]) -> bool:
        return task.name.startswith(_DENSE)

    def make(self, encoder: Encoder, task: Task[Any]) -> Head:
        whole = task.name.startswith(_OF_SCENES)
        channels = encoder.scene_channels if whole else encoder.channels
        return ConvHead(channels, task.outputs)
