"""The task of a dataset, and the metric that decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from earthloom.errors import ContractError, choices
from earthloom.tasks.base import Task
from earthloom.tasks.boxes import OrientedBoxes, UprightBoxes
from earthloom.tasks.instances import InstanceMasks
from earthloom.tasks.pixel_classes import PixelClasses
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.scene_classes import SceneClass, SceneLabels
from earthloom.tasks.scene_value import SceneValueTask


@dataclass(frozen=True)
class Kind:
    """What a task of the registry of datasets is here."""

    make: Callable[[tuple[str, ...], str], Task[Any]]
    """From names of classes and a unit."""
    metric: str
    """The metric that decides unless the bench file says otherwise."""
    words: str
    """For the page."""


def _codes(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(range(1, len(names) + 1))


def _pixels(names: tuple[str, ...], unit: str) -> Task[Any]:
    return PixelClasses(_codes(names), names, ((0, 0, 0),) * len(names))


KINDS: Mapping[str, Kind] = {
    "pixel-class": Kind(_pixels, "macro_iou", "class of each pixel"),
    "series-class": Kind(_pixels, "macro_f1", "class of a pixel's series"),
    "change": Kind(_pixels, "f1", "change between two dates"),
    "scene-class": Kind(lambda n, u: SceneClass(_codes(n), n), "accuracy", "class of a scene"),
    "scene-labels": Kind(lambda n, u: SceneLabels(_codes(n), n), "macro_f1", "classes of a scene"),
    "scene-value": Kind(lambda n, u: SceneValueTask(u), "r2", "value of a scene"),
    "pixel-value": Kind(lambda n, u: PixelValueTask(u), "r2", "value of each pixel"),
    "boxes": Kind(lambda n, u: UprightBoxes(_codes(n), n), UprightBoxes.main, "upright boxes"),
    "oriented-boxes": Kind(
        lambda n, u: OrientedBoxes(_codes(n), n), OrientedBoxes.main, "oriented boxes"
    ),
    "instances": Kind(lambda n, u: InstanceMasks(_codes(n), n), InstanceMasks.main, "instances"),
}
"""By the registry's code word."""


def kind_of(task: str) -> Kind:
    """ContractError for a task that nothing is made for."""
    if task not in KINDS:
        raise ContractError(f"there is no bench for the task '{task}'; tasks: {choices(KINDS)}")
    return KINDS[task]
