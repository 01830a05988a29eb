"""The verbs of the command line as functions: each takes a project and says what it made.

A verb does what the verbs before it need, and only what is missing or stale. Each returns a
mapping of JSON values: paths of results, and their main figures.
"""

import platform
import resource
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import earthloom
from earthloom.assessment import REPORT, assess_project
from earthloom.cube.export import export_cogs, export_netcdf
from earthloom.delivery import deliver
from earthloom.energy import Assumptions, EnergyUse, metered
from earthloom.errors import DataError, ProjectError, choices
from earthloom.mapping import map_of
from earthloom.maps import ITEM, MAP, PROBABILITY, VALUE
from earthloom.pipeline import Pipeline
from earthloom.progress import bar
from earthloom.project import FoldsAssessment, Project, SeriesArchive
from earthloom.publish import publish as send
from earthloom.stages import canonical_json, disk_errors, write_atomic
from earthloom.workers import workers_at

Summary = dict[str, Any]

RUN_RECORD = "run.json"
PUBLISHED = ("map", "polygons", "collection", "assess")
"""Stages that people look at: they are sent where none are named."""
EXPORTS = {"cog": export_cogs, "netcdf": export_netcdf}


def simulate(project: Project) -> Summary:
    """Makes the simulated archive of a project; ProjectError if it names another kind."""
    if project.archive.kind != "simulated":
        raise ProjectError(
            f"{project.file}: archive.kind is '{project.archive.kind}'; "
            "only 'simulated' can be made"
        )
    pipeline = Pipeline(project)
    _ = pipeline.archive
    return {"catalog": str(Path(pipeline.root) / "catalog.json")}


def search(project: Project) -> Summary:
    """Lists the scenes that show the project's area in its period."""
    pipeline = Pipeline(project)
    counts: dict[str, dict[str, int]] = {}
    for name, scenes in pipeline.scenes.items():
        sensors = [scene.sensor for scene in scenes]
        counts[name] = {sensor: sensors.count(sensor) for sensor in sorted(set(sensors))}
    return {"scenes": counts, "list": str(project.out_folder / "search" / "scenes.json")}


def cube(project: Project, scheduler: str | None = None) -> Summary:
    """Makes the analysis-ready cube of each area, on the cluster at a scheduler's address if one
    is given."""
    pipeline = Pipeline(project, workers=workers_at(scheduler))
    made = {name: str(result.folder / "cube.zarr") for name, (_, result) in pipeline.cubes.items()}
    return {"cubes": made, "failed_scenes": pipeline.failed}


def export(project: Project, folder: Path, to: str = "cog") -> Summary:
    """Writes the cube of each area as `cog` or `netcdf` into a folder of its name."""
    if to not in EXPORTS:
        raise ProjectError(f"unknown format '{to}'; valid: {choices(EXPORTS)}")
    pipeline = Pipeline(project)
    made: dict[str, list[str]] = {}
    for name, (found, _) in pipeline.cubes.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        with disk_errors(place), bar("export") as tick:
            made[name] = [str(path) for path in EXPORTS[to](found, place, tick)]
    return {"files": made, "failed_scenes": pipeline.failed}


def coverage(project: Project) -> Summary:
    """Writes where and when each area's cube is blind, as a page and as data."""
    from earthloom.assess.coverage_page import PAGE, write_coverage_page
    from earthloom.cube.blind import blind_places, to_geojson
    from earthloom.cube.coverage import coverage_of
    from earthloom.cube.coverage_store import write_coverage

    pipeline = Pipeline(project)
    made: dict[str, str] = {}
    for name, (found, result) in pipeline.cubes.items():
        folder = project.out_folder / "coverage" / name
        coverages = coverage_of(found, result.folder, pipeline.areas[name])
        places = [place for each in coverages for place in blind_places(each)]
        title, simulated = f"Coverage of {name}", project.archive.kind == "simulated"
        write_coverage(folder / "coverage.json", coverages)
        write_atomic(folder / "blind.geojson", to_geojson(places))
        write_coverage_page(coverages, folder / PAGE, title, simulated)
        made[name] = str(folder / PAGE)
    return {"pages": made, "failed_scenes": pipeline.failed}


def chips(project: Project) -> Summary:
    """Cuts cubes and labels into chips."""
    pipeline = Pipeline(project)
    samples, _ = pipeline.samples
    return {"chips": len(samples), "failed_scenes": pipeline.failed}


def fit(project: Project) -> Summary:
    """Fits the project's model to all its labels."""
    pipeline = Pipeline(project)
    _, result = pipeline.model()
    return {"model": str(result.folder), "failed_scenes": pipeline.failed}


def map(project: Project, model: Path | None = None, scheduler: str | None = None) -> Summary:
    """Maps each area, with a saved model if one is given, on the cluster at a scheduler's address
    if one is given."""
    pipeline = Pipeline(project, model_folder=model, workers=workers_at(scheduler))
    made: Summary = {"maps": _maps(pipeline)} | deliver(pipeline)
    return made | {"failed_scenes": pipeline.failed}


def export_model(
    project: Project, folder: Path, model: Path | None = None, windows: int = 32
) -> Summary:
    """Writes the fitted network as ONNX, in float32 and int8, and measures which runs fastest here.

    `windows` of the project's areas set the ranges of the int8 numbers.
    """
    from earthloom.fit.export import export_model as write_onnx
    from earthloom.fit.exported import choose_export
    from earthloom.fit.model import load_model
    from earthloom.maps.examples import example_windows

    pipeline = Pipeline(project, model_folder=model)
    fitted = load_model(model) if model is not None else pipeline.model()[0]
    each = max(windows // len(pipeline.cubes), 1)
    seen = [
        window
        for found, _ in pipeline.cubes.values()
        for window in example_windows(found, fitted.layers, project.map.window, each)
    ]
    if not seen:
        raise DataError("nothing was seen in the area: there are no windows to calibrate with")
    with disk_errors(folder):
        written = write_onnx(fitted, folder, calibration=seen)
        measured = choose_export(fitted, folder, seen[0])
    return {
        "files": [str(path) for path in written],
        "measured": {f"{m.file} in {m.runtime}": vars(m) for m in measured},
    }


def publish(project: Project, to: str, parts: Sequence[str] | None = None) -> Summary:
    """Sends finished stages, by default maps and what is made of them, to an object store."""
    out = project.out_folder
    there = [part for part in PUBLISHED if (out / part).exists()]
    with bar("publish") as tick:
        done = send(out, to, tick, parts or there or PUBLISHED[:1])
    return {"to": to, "stages": list(done.stages), "sent": done.sent, "kept": done.kept}


def assess(project: Project) -> Summary:
    """Assesses the project's maps, or its model by folds, and writes the report."""
    pipeline = Pipeline(project)
    result, figures = assess_project(pipeline)
    return _assessed(pipeline, result.folder, figures) | {"failed_scenes": pipeline.failed}


def run(project: Project, scheduler: str | None = None) -> Summary:
    """Does everything: from the archive to the maps, the assessment and the report."""
    began, clock = datetime.now(UTC), time.monotonic()
    pipeline = Pipeline(project, workers=workers_at(scheduler))
    summary: Summary = {}
    with metered(Assumptions(**project.energy.model_dump())) as meter:
        if not isinstance(project.archive, SeriesArchive):
            summary |= {"maps": _maps(pipeline)} | deliver(pipeline)
        result, figures = assess_project(pipeline)
    summary |= _assessed(pipeline, result.folder, figures)
    summary |= {"failed_scenes": pipeline.failed} | _resources(clock)
    _record(pipeline, began, summary, meter.use())
    return summary


def demo(folder: Path, size_m: int = 10_000, seed: int = 0) -> Summary:
    """Writes the demonstration project into a folder and runs it."""
    from earthloom.demo import write_demo
    from earthloom.project import load_project

    return run(load_project(write_demo(folder, size_m, seed)))


def serve(project: Project, port: int, ready: Callable[[str], None]) -> None:
    """Serves a project's maps as a web page on this machine, until it is stopped."""
    from earthloom.serve import serve_maps

    serve_maps(project, port, ready)


def doctor() -> list[dict[str, str]]:
    """Which of the machine's parts work, and what to do about those that do not."""
    from earthloom.doctor import examine

    return examine()


def _maps(pipeline: Pipeline) -> dict[str, dict[str, str]]:
    maps = {}
    for name in pipeline.areas:
        folder = map_of(pipeline, name).folder
        files = {"map": MAP, "probability": PROBABILITY}
        if pipeline.values is not None:
            files = {"value": VALUE}
        maps[name] = {key: str(folder / file) for key, file in files.items()}
        maps[name]["stac_item"] = str(folder / ITEM)
    return maps


def _assessed(pipeline: Pipeline, folder: Path, figures: dict[str, Any]) -> Summary:
    """The main figures of an assessment."""
    report = {"report": str(folder / REPORT)}
    assess = pipeline.project.assess
    if pipeline.values is not None:
        return report | _value_figures(figures, folder)
    if isinstance(assess, FoldsAssessment):
        return report | _fold_figures(figures, assess)
    if "overall_accuracy" not in figures:
        return report | {"sample_to_label": str(folder / "sample.gpkg")}
    summary: Summary = report | {"overall_accuracy": figures["overall_accuracy"]}
    if "truth" in figures:
        truth = figures["truth"]
        summary["true_overall_accuracy"] = truth["overall_accuracy"]
        summary["true_areas_within_intervals"] = all(truth["area_within_interval"].values())
    return summary


def _value_figures(figures: dict[str, Any], folder: Path) -> Summary:
    """The main figures of a map of numbers."""
    if "model" not in figures:
        return {"sample_to_label": str(folder / "sample.gpkg")}
    summary: Summary = {key: figures["model"][key] for key in ("rmse", "mae", "bias", "r2")}
    summary |= {key: figures[key] for key in ("area_mean", "area_total") if key in figures}
    if "truth" in figures:
        summary["true_mean_within_interval"] = figures["truth"]["mean_within_interval"]
    return summary


def _fold_figures(figures: dict[str, Any], assess: FoldsAssessment) -> Summary:
    model = figures["model"]
    summary: Summary = {"accuracy": model["accuracy"], "macro_f1": model["macro_f1"]}
    summary["tests_with_warnings"] = sum(bool(found) for found in figures["leaks"].values())
    names = {"change-vectors": "baseline", "forest": "forest"}
    for way in assess.baselines:
        summary[f"{names[way]}_accuracy"] = figures[way]["accuracy"]
        summary[f"{names[way]}_macro_f1"] = figures[way]["macro_f1"]
    if assess.focus is not None:
        summary |= {"f1": model["f1"], "iou": model["iou"]}
        summary |= {f"{names[way]}_f1": figures[way]["f1"] for way in assess.baselines}
    return summary


def _resources(clock: float) -> Summary:
    """Wall-clock seconds since `clock`, and the largest resident set of any of our processes."""
    kib = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "seconds": round(time.monotonic() - clock, 1),
        "peak_rss_gb": round(kib * 1024 / 1e9, 3),
    }


def _record(pipeline: Pipeline, began: datetime, summary: Summary, used: EnergyUse) -> None:
    """Writes `run.json`: the only file that knows of time and host."""
    record = {
        "began": began.isoformat(timespec="seconds"),
        "host": platform.node(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "earthloom": earthloom.__version__,
        "stages": {
            name: "built" if result.fresh else "unchanged"
            for name, result in pipeline.finished.items()
        },
        "energy": used.to_json(),
        "summary": summary,
    }
    write_atomic(pipeline.project.out_folder / RUN_RECORD, canonical_json(record))
