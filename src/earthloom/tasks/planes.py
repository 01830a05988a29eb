"""What planes of pixels a task's map is made of."""

from typing import Any, Protocol, runtime_checkable

from earthloom.errors import ContractError
from earthloom.tasks.base import Task
from earthloom.tasks.ordinal import PixelOrdinal
from earthloom.tasks.pixel_classes import PixelClasses

ClassesOfPixels = PixelClasses | PixelOrdinal
"""Tasks whose answers are a probability of each class for every pixel."""


@runtime_checkable
class Mapped(Protocol):
    """A task of numbers whose answers, (B, P, H, W), are planes of pixels."""

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of those first planes of an answer that hold numbers, as a map's bands have them.

        Planes behind them are NaN throughout, such as the interval of a task without one."""
        ...

    @property
    def unit(self) -> str:
        """Of the numbers."""
        ...


def planes_of(task: Task[Any]) -> tuple[str, ...]:
    """Names of the planes that a map is blended from: a probability of each class, or numbers.

    ContractError for a task that says nothing of pixels.
    """
    if isinstance(task, ClassesOfPixels):
        return task.names
    if isinstance(task, Mapped):
        return task.planes
    raise ContractError(
        f"a model of the task '{task.name}' says nothing of pixels, so no map can be made of it; "
        "maps are made of: pixel-class, pixel-ordinal, pixel-value, counts"
    )
