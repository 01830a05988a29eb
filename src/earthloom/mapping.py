"""The map of each area: the stage after `Pipeline`'s."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earthloom.errors import LabelError, ProjectError, choices
from earthloom.fit import Model, load_model
from earthloom.fit.plan import Plan
from earthloom.maps.make import MapInputs, MapSettings, make_map
from earthloom.maps.planning import AUTO, stated_plan, timed_plan
from earthloom.pipeline import WHOLE, Pipeline
from earthloom.progress import bar, say
from earthloom.project import SampleAssessment
from earthloom.stages import StageResult, digest_of, file_digest
from earthloom.workers import Cluster


def map_of(pipeline: Pipeline, name: str) -> StageResult:
    """The map of an area, by a model that has not seen the area where it is held out."""
    project, area = pipeline.project, pipeline.areas[name]
    model, folder, digest = _model(pipeline, name)
    cube, cube_stage = pipeline.cubes[name]
    plan = plan_of(pipeline, name, model, digest)
    inputs = {
        "plan": plan.inputs(),
        "cube": cube_stage.digest,
        "model": digest,
        # Polygons are made of the finished map.
        "map": project.map.model_dump(mode="json", exclude={"polygons"}),
        "outline": area.outline.wkt if area.outline is not None else None,
    }
    made_of = MapInputs(
        item_id=f"{project.name}-{name}-{digest_of(inputs)[:12]}",
        area=area,
        cube=cube,
        model=model,
        moments=pipeline.moments(name)[0] if model.needs_moments else None,
        dates=pipeline.dates(name),
        scenes=[each.id for each in pipeline.scenes[name] if each.id not in pipeline.failed],
        provenance={"project": project.name, "seed": project.seed, "inputs": inputs},
        collection=project.name,
        model_folder=folder,
    )
    settings = MapSettings(project.map.window, project.map.overlap, project.map.exact, plan)
    # On one machine the map's own threads share the model.
    workers = pipeline.workers if isinstance(pipeline.workers, Cluster) else None

    def write(folder: Path) -> None:
        with bar("map") as tick:
            make_map(made_of, settings, folder, tick, workers)

    return pipeline.stage(f"map/{name}", inputs, write)


def plan_of(pipeline: Pipeline, name: str, model: Model, digest: str) -> Plan:
    """How the model is evaluated. What was timed is kept, so that a map has one plan."""
    choice = pipeline.project.map
    if choice.precision != AUTO:
        return stated_plan(model, choice)
    cube, cube_stage = pipeline.cubes[name]

    def timed() -> Any:
        moments = pipeline.moments(name)[0] if model.needs_moments else None
        chosen = timed_plan(model, cube, choice, moments)
        for note in chosen.notes:
            say(f"plan       {note}")
        return chosen.plan.to_json()

    inputs = {
        "model": digest,
        "cube": cube_stage.digest,
        "window": choice.window,
        "device": choice.device,
    }
    found, _ = pipeline.json_stage(f"plan/{name}", "plan.json", inputs, timed)
    return Plan.from_json(found)


@dataclass(frozen=True)
class SampledMap:
    """The map that an assessment by a sample is of."""

    name: str
    """Of the project's one area."""
    made: StageResult
    inputs: Mapping[str, Any]
    """What decides the sample and its references, for a manifest."""


def sampled_map(pipeline: Pipeline, settings: SampleAssessment) -> SampledMap:
    """The map of a project's one area; ProjectError if there are several, LabelError if a reference
    is not there."""
    project = pipeline.project
    if len(pipeline.areas) != 1:
        raise ProjectError(
            f"assess.method 'sample' is for one area; the project has {len(pipeline.areas)}: "
            f"{choices(pipeline.areas)}; use 'folds', or name one area"
        )
    (name,) = pipeline.areas
    made = map_of(pipeline, name)
    files = [project.path(path) for path in (settings.reference, settings.truth) if path]
    for file in files:
        if not file.exists():
            raise LabelError(f"the reference {file} does not exist")
    inputs = {
        "map": made.digest,
        "assess": settings.as_inputs(),
        "seed": project.seed,
        "reference": [file_digest(file) for file in files],
        "labels": file_digest(pipeline.label_path(name)),
    }
    return SampledMap(name, made, inputs)


def _model(pipeline: Pipeline, name: str) -> tuple[Model, Path, str]:
    """The model that maps an area, its folder and its digest."""
    if pipeline.model_folder is not None:
        folder = pipeline.model_folder
        return load_model(folder), folder, file_digest(folder)
    model, fitted = pipeline.model(name if name in pipeline.folds else WHOLE)
    return model, fitted.folder, fitted.digest
