"""What a project predicts, the labels of its areas, and how they are cut into chips."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earthloom.chips.divide import rule_of
from earthloom.chips.labels import (
    Labels,
    RasterLabels,
    ValueLabels,
    VectorLabels,
    read_labels,
    read_values,
)
from earthloom.chips.make import Cutting
from earthloom.chips.store import Storage
from earthloom.errors import LabelError, ProjectError
from earthloom.grid import Area
from earthloom.progress import say
from earthloom.project import FoldsAssessment, PixelValueChoice, Project
from earthloom.tasks import PixelClasses
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.value_scale import Scale


def values_of(project: Project) -> PixelValueTask | None:
    """The task of a project that maps numbers; None for one that maps classes."""
    chosen = project.task
    if not isinstance(chosen, PixelValueChoice):
        return None
    return PixelValueTask(
        chosen.unit, chosen.quantity, level=chosen.level, scale=Scale(chosen.link)
    )


def classes_of(project: Project) -> PixelClasses:
    """A project's classes as a task; ProjectError for a project that maps numbers."""
    classes = project.classes
    if not classes:
        raise ProjectError(f"{project.file}: a map of numbers has no classes")
    return PixelClasses(
        codes=tuple(each.code for each in classes),
        names=tuple(each.name for each in classes),
        colours=tuple(each.rgb for each in classes),
    )


def task_inputs(project: Project) -> dict[str, Any]:
    """What is predicted, for a manifest."""
    inputs: dict[str, Any] = {"classes": [each.as_inputs() for each in project.classes]}
    values = values_of(project)
    return inputs if values is None else inputs | {"task": values.config()}


def label_path(project: Project, area: str) -> Path:
    """The label file of an area, whether there is one or not."""
    return project.path(project.labels.path.replace("{place}", area))


def labels_of(project: Project, areas: Mapping[str, Area]) -> dict[str, Labels | ValueLabels]:
    """The labels of each area that has some; LabelError where none has."""
    labels: dict[str, Labels | ValueLabels] = {}
    for name, area in areas.items():
        path = label_path(project, name)
        if path.exists() or "{place}" not in project.labels.path:
            labels[name] = _read_labels(project, path, area)
            if labels[name].report.read:
                say(f"labels     {name}: {labels[name].report.sentence()}")
    if not labels:
        raise LabelError(
            f"no file fits labels.path, {project.labels.path}, for any of the places "
            f"{', '.join(areas)}"
        )
    return labels


def as_class_labels(
    project: Project, labels: Mapping[str, Labels | ValueLabels]
) -> dict[str, Labels]:
    """The labels of each area as class codes; ProjectError where they are numbers."""
    found: dict[str, Labels] = {
        name: each for name, each in labels.items() if isinstance(each, RasterLabels | VectorLabels)
    }
    if len(found) < len(labels):
        raise ProjectError(f"{project.file}: the labels are numbers, not classes")
    return found


def cutting_of(project: Project) -> Cutting:
    """How a project's chips are cut and dealt; with whole places where folds are of these."""
    settings, assess = project.chips, project.assess
    return Cutting(
        size=settings.size,
        stride=settings.stride or settings.size,
        by_place=isinstance(assess, FoldsAssessment) and assess.by == "place",
        storage=Storage(compressed=settings.compressed),
        split=rule_of(settings.split) if settings.split else None,
        seed=project.seed,
    )


def _read_labels(project: Project, path: Path, area: Area) -> Labels | ValueLabels:
    settings, task = project.labels, project.task
    if isinstance(task, PixelValueChoice):
        return read_values(path, settings, task.unit, area.box)
    return read_labels(path, settings, project.classes, area.box)
