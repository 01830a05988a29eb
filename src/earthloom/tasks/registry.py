"""The tasks and the heads that a saved model may name."""

from typing import Any

from earthloom.tasks.base import Task
from earthloom.tasks.boosted import BoostedHead
from earthloom.tasks.boxes import OrientedBoxes, UprightBoxes
from earthloom.tasks.counts import CountTask
from earthloom.tasks.detect import DetectHead
from earthloom.tasks.detect_points import PointHead
from earthloom.tasks.forest import ForestHead
from earthloom.tasks.heads import ConvHead, Head
from earthloom.tasks.instances import InstanceMasks
from earthloom.tasks.linear import LinearHead
from earthloom.tasks.machine import MachineHead
from earthloom.tasks.mask_classes import MaskHead
from earthloom.tasks.neighbours import NeighboursHead
from earthloom.tasks.ordinal import PixelOrdinal, SceneOrdinal
from earthloom.tasks.pixel_classes import PixelClasses
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.ridge import RidgeHead
from earthloom.tasks.scene_classes import SceneClass, SceneLabels
from earthloom.tasks.scene_tree import SceneTree
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.tasks.several import Heads, SeveralTasks

_HEADS: tuple[type[Head], ...] = (
    BoostedHead,
    ConvHead,
    DetectHead,
    ForestHead,
    Heads,
    LinearHead,
    MachineHead,
    MaskHead,
    NeighboursHead,
    PointHead,
    RidgeHead,
)
_TASKS: tuple[type[Task[Any]], ...] = (
    CountTask,
    InstanceMasks,
    OrientedBoxes,
    PixelClasses,
    PixelOrdinal,
    PixelValueTask,
    SceneClass,
    SceneLabels,
    SceneOrdinal,
    SceneTree,
    SceneValueTask,
    SeveralTasks,
    UprightBoxes,
)

HEADS: dict[str, type[Head]] = {head.name: head for head in _HEADS}
"""By `Head.name`."""

TASKS: dict[str, type[Task[Any]]] = {task.name: task for task in _TASKS}
"""By `Task.name`."""
