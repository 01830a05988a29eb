"""The last stage of a project that maps numbers: its assessment and the report."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from earthloom.assess.area import ACCURACY, REFERENCE, SAMPLE, write_accuracy
from earthloom.assess.difference import (
    Known,
    bands_at,
    coverage_of,
    difference_estimate,
    estimate_json,
    known_of,
    reference_values,
    scaled,
    total_unit,
)
from earthloom.assess.estimate import interval_json
from earthloom.assess.sample import Sample, SampleDesign, draw_sample, where_known, write_points
from earthloom.assess.value_report import REPORT, ValuePlace, ValueReportInputs, write_value_report
from earthloom.assess.value_scores import ValueFolds, answers_of, mean_answers
from earthloom.chips.divide import leaks_of
from earthloom.chips.labels import RasterValues, VectorValues
from earthloom.mapping import SampledMap, map_of, sampled_map
from earthloom.maps import VALUE
from earthloom.pipeline import Pipeline
from earthloom.progress import bar
from earthloom.project import FoldsAssessment, SampleAssessment
from earthloom.sample import Subset
from earthloom.sample.batch import Batch
from earthloom.stages import StageResult
from earthloom.tasks.pixel_values import PixelValueTask

Numbers = NDArray[np.float32]
Figures = dict[str, Any]


def assess_values(
    pipeline: Pipeline, task: PixelValueTask, settings: FoldsAssessment | SampleAssessment
) -> StageResult:
    """Assesses maps of numbers by folds of the labels, or one map by a sample of it."""
    if isinstance(settings, FoldsAssessment):
        return _by_folds(pipeline, task, settings)
    return _by_sample(pipeline, task, settings)


def _head(task: PixelValueTask) -> Figures:
    return {"quantity": task.quantity, "unit": task.unit, "level": task.level}


# -- folds ---------------------------------------------------------------------------------------


def _by_folds(pipeline: Pipeline, task: PixelValueTask, settings: FoldsAssessment) -> StageResult:
    maps = {name: map_of(pipeline, name) for name in pipeline.areas}
    inputs = {
        "samples": pipeline.samples[1],
        "models": {fold: pipeline.model(fold)[1].digest for fold in pipeline.folds},
        "assess": settings.as_inputs(),
        "task": task.config(),
        "maps": {name: result.digest for name, result in maps.items()},
        "failed": dict(pipeline.failed),
    }

    def write(folder: Path) -> None:
        figures = _head(task)
        shown: dict[str, Numbers] = {}
        with bar("assess") as tick:
            ways = ["model", *settings.baselines]
            for number, way in enumerate(ways, start=1):
                scores = _scores(pipeline, task, way)
                figures[way], shown[way] = scores.summary(), scores.pairs
                tick(number, len(ways), way)
        with bar("leaks") as tick:
            figures["leaks"] = leaks_of(pipeline.chip_table[0], pipeline.folds, (), tick)
        _finish(pipeline, folder, figures, shown["model"], maps)

    return pipeline.stage("assess", inputs, write)


def _scores(pipeline: Pipeline, task: PixelValueTask, way: str) -> ValueFolds:
    scores = ValueFolds.of(task)
    for fold in pipeline.folds:
        scores.add(fold, _answers(pipeline, task, way, fold), pipeline.project.seed)
    return scores


def _answers(
    pipeline: Pipeline, task: PixelValueTask, way: str, name: str
) -> Iterator[tuple[Tensor, Batch]]:
    """One way's answers to the chips that a fold holds out."""
    samples, fold = pipeline.samples[0], pipeline.folds[name]
    held_out = Subset(samples, fold.test.tolist())
    if way == "mean":
        return mean_answers(task, Subset(samples, fold.train.tolist()), held_out)
    model, _ = pipeline.model(name) if way == "model" else pipeline.forest(name)
    return answers_of(model, held_out)


# -- sample --------------------------------------------------------------------------------------


def _by_sample(pipeline: Pipeline, task: PixelValueTask, settings: SampleAssessment) -> StageResult:
    mapped = sampled_map(pipeline, settings)

    def write(folder: Path) -> None:
        figures, pairs = _sample_figures(pipeline, task, settings, mapped, folder)
        _finish(pipeline, folder, figures, pairs, {mapped.name: mapped.made})

    own = {"task": task.config(), "failed": dict(pipeline.failed)}
    return pipeline.stage("assess", {**mapped.inputs, **own}, write)


def _sample_figures(
    pipeline: Pipeline,
    task: PixelValueTask,
    settings: SampleAssessment,
    mapped: SampledMap,
    folder: Path,
) -> tuple[Figures, Numbers]:
    """Figures by a sample, which is written into the folder, and pairs (n, 2) of map and reference
    at its points."""
    project, map_path = pipeline.project, mapped.made.folder / VALUE
    design = SampleDesign(settings.points, 0, settings.apart_m, project.seed)
    labels = pipeline.training_labels(mapped.name)
    table = labels.table if labels is not None else None
    sample = draw_sample(map_path, (1,), table, design, where_known)
    bands = bands_at(map_path, sample.points)
    known = known_of(map_path, project.path(settings.truth) if settings.truth else None)
    figures = _head(task) | {"points": len(sample.points), "map_mean": known.map_mean}
    reference, pairs = None, np.zeros((0, 2), np.float32)
    if settings.reference is not None:
        path = project.path(settings.reference)
        reference = reference_values(path, sample.points, REFERENCE)
        figures |= _estimated(task, sample, bands, reference, known)
        pairs = np.stack([bands[0], reference], axis=1).astype(np.float32)
    _write_sample(folder / SAMPLE, sample, bands[0], reference)
    return figures, pairs


def _estimated(
    task: PixelValueTask,
    sample: Sample,
    bands: NDArray[np.float64],
    reference: NDArray[np.float64],
    known: Known,
) -> Figures:
    """Accuracy of the map, and mean and total of what is mapped, with their intervals."""
    found = difference_estimate(bands[0], reference, known.map_mean, known.pixels)
    if len(bands) == 3:
        found = replace(found, coverage=coverage_of(bands[1], bands[2], reference))
    hectares = known.pixels * sample.pixel_area_ha
    model = estimate_json(found)
    model["width"] = float((bands[2] - bands[1]).mean()) if len(bands) == 3 else None
    figures: Figures = {
        "model": model,
        "area_mean": interval_json(found.mean),
        "area_mean_by_sample_alone": interval_json(found.reference_only),
        "area_ha": hectares,
    }
    unit = total_unit(task.unit)
    if unit is not None:
        total = interval_json(scaled(found.mean, hectares))
        figures["area_total"] = total | {"unit": unit}
    if not np.isnan(known.true_mean):
        inside = found.mean.low <= known.true_mean <= found.mean.high
        figures["truth"] = {
            "mean": known.true_mean,
            "rmse": known.rmse,
            "mean_within_interval": bool(inside),
        }
    return figures


def _write_sample(
    path: Path,
    sample: Sample,
    mapped: NDArray[np.float64],
    reference: NDArray[np.float64] | None,
) -> None:
    """The sample as a GeoPackage: the map's number and the reference of every point."""
    table = sample.points.drop(columns="map_code")
    table["map_value"] = mapped
    table[REFERENCE] = np.full(len(table), np.nan) if reference is None else reference
    write_points(path, table)


# -- both ----------------------------------------------------------------------------------------


def _finish(
    pipeline: Pipeline,
    folder: Path,
    figures: Figures,
    pairs: Numbers,
    maps: Mapping[str, StageResult],
) -> None:
    """Writes the figures and the report."""
    write_accuracy(folder / ACCURACY, figures)
    places = [_place(pipeline, name, result.folder) for name, result in maps.items()]
    inputs = ValueReportInputs(
        project=pipeline.project,
        figures=figures,
        pairs=pairs,
        places=places,
        record=pipeline.model()[0].record,
        failed=pipeline.failed,
    )
    write_value_report(folder / REPORT, inputs)


def _place(pipeline: Pipeline, name: str, folder: Path) -> ValuePlace:
    labels = pipeline.labels.get(name)
    return ValuePlace(
        area=pipeline.areas[name],
        cube=pipeline.cubes[name][0],
        map_folder=folder,
        labels=labels if isinstance(labels, RasterValues | VectorValues) else None,
        scenes=pipeline.scenes[name],
    )
