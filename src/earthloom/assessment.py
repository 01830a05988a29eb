"""The last stage of a project: its assessment and the report."""

from pathlib import Path
from typing import Any

import numpy as np

from earthloom.assess.area import (
    ACCURACY,
    SAMPLE,
    accuracy_json,
    estimate_from,
    read_accuracy,
    reference_codes,
    truth_of,
    write_accuracy,
    write_sample,
)
from earthloom.assess.folds import FoldScores, score_change_vectors, score_map, score_samples
from earthloom.assess.folds_report import FoldsReportInputs, PlaceInputs, write_folds_report
from earthloom.assess.forest_baseline import LabelledPlace, forest_confusions
from earthloom.assess.report import ReportInputs, write_report
from earthloom.assess.sample import SampleDesign, draw_sample
from earthloom.assessment_values import assess_values
from earthloom.chips.divide import leaks_of
from earthloom.errors import ProjectError, choices
from earthloom.mapping import map_of, sampled_map
from earthloom.maps import MAP
from earthloom.pipeline import Pipeline
from earthloom.progress import bar
from earthloom.project import FoldsAssessment, SampleAssessment, SeriesArchive
from earthloom.sample import Subset
from earthloom.stages import StageResult

REPORT = "report.html"


def assess_project(pipeline: Pipeline) -> tuple[StageResult, dict[str, Any]]:
    """Assesses a project's maps as its file says; returns the stage and its figures."""
    assess, values = pipeline.project.assess, pipeline.values
    if values is not None:
        result = assess_values(pipeline, values, assess)
    elif isinstance(assess, SampleAssessment):
        result = _by_sample(pipeline, assess)
    else:
        result = _by_folds(pipeline, assess)
    return result, read_accuracy(result.folder / ACCURACY)


def _by_sample(pipeline: Pipeline, settings: SampleAssessment) -> StageResult:
    mapped = sampled_map(pipeline, settings)
    name = mapped.name
    cube, cube_stage = pipeline.cubes[name]

    def write(folder: Path) -> None:
        figures = _sample_figures(pipeline, settings, mapped.made.folder / MAP, folder)
        write_accuracy(folder / ACCURACY, figures)
        write_report(
            folder / REPORT,
            ReportInputs(
                project=pipeline.project,
                figures=figures,
                map_folder=mapped.made.folder,
                cube=cube,
                area=pipeline.areas[name],
                model_record=pipeline.model()[0].record,
                scenes=pipeline.scenes[name],
                failed=pipeline.failed,
            ),
        )

    inputs = {**mapped.inputs, "cube": cube_stage.digest}
    return pipeline.stage("assess", inputs, write)


def _sample_figures(
    pipeline: Pipeline, settings: SampleAssessment, map_path: Path, folder: Path
) -> dict[str, Any]:
    project, task = pipeline.project, pipeline.classes
    (name,) = pipeline.areas
    labels = pipeline.training_labels(name)
    design = SampleDesign(settings.points, settings.min_per_class, settings.apart_m, project.seed)
    sample = draw_sample(map_path, task.codes, labels.table if labels else None, design)
    if settings.reference is None:
        write_sample(folder / SAMPLE, sample, None, task)
        return {"classes": list(task.names), "points": len(sample.points)}
    reference = reference_codes(project.path(settings.reference), sample.points, project.classes)
    write_sample(folder / SAMPLE, sample, reference, task)
    found = estimate_from(sample, reference, task)
    truth = (
        truth_of(map_path, project.path(settings.truth), task, sample.pixel_area_ha)
        if settings.truth
        else None
    )
    figures = accuracy_json(found, task, truth)
    figures["points"] = len(sample.points)
    figures["eligible_share"] = sum(sample.eligible_pixels.values()) / sum(
        sample.stratum_pixels.values()
    )
    return figures


def _by_folds(pipeline: Pipeline, settings: FoldsAssessment) -> StageResult:
    names = pipeline.classes.names
    if settings.focus is not None and settings.focus not in names:
        raise ProjectError(
            f"assess.focus '{settings.focus}' is no class of the project; "
            f"classes are: {choices(names)}"
        )
    digests = {fold: pipeline.model(fold)[1].digest for fold in pipeline.folds}
    maps = _maps(pipeline)
    inputs = {
        "samples": pipeline.samples[1],
        "models": digests,
        "assess": settings.as_inputs(),
        "classes": list(names),
        "maps": {name: result.digest for name, result in maps.items()},
        "failed": dict(pipeline.failed),
    }

    def write(folder: Path) -> None:
        figures = {"classes": list(names)} | _fold_figures(pipeline, settings)
        figures["leaks"] = _leaks(pipeline)
        write_accuracy(folder / ACCURACY, figures)
        places = [_place(pipeline, name, result) for name, result in maps.items()]
        write_folds_report(
            folder / REPORT,
            FoldsReportInputs(
                project=pipeline.project,
                assess=settings,
                figures=figures,
                places=places,
                failed=pipeline.failed,
            ),
        )

    return pipeline.stage("assess", inputs, write)


def _leaks(pipeline: Pipeline) -> dict[str, list[str]]:
    """What is not honest about each fold, in words."""
    table, names = pipeline.chip_table
    with bar("leaks") as tick:
        return leaks_of(table, pipeline.folds, names, tick)


def _maps(pipeline: Pipeline) -> dict[str, StageResult]:
    """The map of each area; pixel series have no place to map."""
    if isinstance(pipeline.project.archive, SeriesArchive):
        return {}
    return {name: map_of(pipeline, name) for name in pipeline.areas}


def _place(pipeline: Pipeline, name: str, mapped: StageResult) -> PlaceInputs:
    return PlaceInputs(
        area=pipeline.areas[name],
        cube=pipeline.cubes[name][0],
        map_folder=mapped.folder,
        labels=pipeline.class_labels.get(name),
        scenes=pipeline.scenes[name],
    )


def _fold_figures(pipeline: Pipeline, settings: FoldsAssessment) -> dict[str, Any]:
    """Figures of the model and of each baseline, on the same folds."""
    project, task, focus = pipeline.project, pipeline.classes, settings.focus
    ways = ["model", *settings.baselines]
    figures = {}
    with bar("assess") as tick:
        total = len(ways) * len(pipeline.folds)
        for way_number, way in enumerate(ways):
            if way == "forest" and _by_area(pipeline, settings):
                confusions = forest_confusions(_truths(pipeline), task, project.seed, tick)
                figures[way] = FoldScores(confusions).summary(task, focus)
                continue
            confusions = {}
            for number, fold in enumerate(pipeline.folds, start=1):
                confusions[fold] = _confusion(pipeline, settings, way, fold)
                tick(way_number * len(pipeline.folds) + number, total, f"{way} {fold}")
            figures[way] = FoldScores(confusions).summary(task, focus)
    return figures


def _by_area(pipeline: Pipeline, settings: FoldsAssessment) -> bool:
    """Whether folds are whole places, which are predicted wall to wall."""
    return settings.by == "place" and not isinstance(pipeline.project.archive, SeriesArchive)


def _truths(pipeline: Pipeline) -> dict[str, LabelledPlace]:
    return {
        fold: LabelledPlace(
            pipeline.cubes[fold][0], pipeline.class_labels[fold].onto(pipeline.areas[fold].box)
        )
        for fold in pipeline.folds
    }


def _confusion(
    pipeline: Pipeline, settings: FoldsAssessment, way: str, fold: str
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Counts of one way of predicting on one fold."""
    if way == "change-vectors":
        area, cube = pipeline.areas[fold], pipeline.cubes[fold][0]
        return score_change_vectors(cube, area, pipeline.class_labels[fold], pipeline.classes)
    if _by_area(pipeline, settings):
        path = map_of(pipeline, fold).folder / MAP
        return score_map(path, pipeline.areas[fold], pipeline.class_labels[fold], pipeline.classes)
    model, _ = pipeline.model(fold) if way == "model" else pipeline.forest(fold)
    held_out = [int(index) for index in pipeline.folds[fold].test]
    return score_samples(model, Subset(pipeline.samples[0], held_out))
