"""Which parts of a project file go with a task of numbers."""

from typing import TYPE_CHECKING

from earthloom.project.archives import SeriesArchive
from earthloom.project.assess import FoldsAssessment
from earthloom.project.splits import ClassesSplitChoice
from earthloom.project.tasks import PixelValueChoice

if TYPE_CHECKING:
    from earthloom.project.load import Project

_OF_CLASSES = ("background", "scheme", "mapping")
"""Keys of `labels` that say what classes are."""


def check_task(project: "Project") -> None:
    """ValueError unless classes, labels, model and assessment fit the task."""
    if not isinstance(project.task, PixelValueChoice):
        _check_classes(project)
        return
    found = next((words for holds, words in _misfits(project) if holds), None)
    if found is not None:
        raise ValueError(f"the task 'pixel-value' maps numbers: {found}")


def _check_classes(project: "Project") -> None:
    if not project.classes:
        raise ValueError(
            "'classes' is missing: a map shows classes, or, with "
            "'task: {kind: pixel-value, unit: t/ha}', numbers"
        )
    assess = project.assess
    if isinstance(assess, FoldsAssessment) and "mean" in assess.baselines:
        raise ValueError(
            "the baseline 'mean' is for maps of numbers ('task: {kind: pixel-value, ...}'); "
            "with classes there are: forest, change-vectors"
        )


def _misfits(project: "Project") -> list[tuple[bool, str]]:
    """Whether something does not fit a map of numbers, and what to do about it."""
    assess, given = project.assess, project.labels.model_fields_set
    of_classes = [key for key in _OF_CLASSES if key in given]
    folds = assess if isinstance(assess, FoldsAssessment) else None
    return [
        (bool(project.classes), "it takes no 'classes'; leave out the one or the other"),
        (bool(of_classes), f"labels.{''.join(of_classes[:1])} is for classes; leave it out"),
        (
            project.model.name == "boosted-change",
            "model.name 'boosted-change' tells classes; valid: ridge, forest, boosted, unet",
        ),
        (
            isinstance(project.archive, SeriesArchive),
            "a table of series has classes alone; take an archive of images",
        ),
        (
            isinstance(project.chips.split, ClassesSplitChoice),
            "chips.split.by 'classes' needs classes; valid: random, groups, blocks, cells, areas, "
            "time",
        ),
        (project.map.polygons is not None, "map.polygons are made of classes; leave them out"),
        (
            folds is not None and folds.focus is not None,
            "assess.focus is a class; leave it out",
        ),
        (
            folds is not None and "change-vectors" in folds.baselines,
            "the baseline 'change-vectors' tells classes; valid: mean, forest",
        ),
    ]
