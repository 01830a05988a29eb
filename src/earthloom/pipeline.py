"""The stages of a project, each built once: search, cube, chips, fit.

Every method does what the stages before it need, and nothing that is there already.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from earthloom.archive import Scene, SceneSource, scenes_from_json, scenes_to_json
from earthloom.archive.open import archive_folder, archive_signer, open_archive
from earthloom.areas import areas_of, scenes_of
from earthloom.chips.divide import fold_of_split, table_of_index, table_of_series, with_buffer
from earthloom.chips.folds import Fold, deal_folds, leave_group_out
from earthloom.chips.index import ChipIndex, open_index
from earthloom.chips.labels import Labels, Period, ValueLabels, VectorLabels, VectorValues
from earthloom.chips.make import INDEX, Labelled, make_chips
from earthloom.chips.series import SeriesSamples, read_series
from earthloom.chips.splits import ChipTable
from earthloom.chips.store import moments_from_json, moments_to_json, open_chips
from earthloom.cube import Cube, LayerPlan, build_cube, open_cube, plan_layers
from earthloom.cube.build import failed_scenes
from earthloom.cube.inspect import (
    Inspection,
    inspect_scenes,
    inspection_from_json,
    inspection_to_json,
    needs_inspection,
)
from earthloom.cube.moments import moments_of
from earthloom.cube.notes import notes_to_json
from earthloom.cube.read import Reader
from earthloom.cube.regularise import regular_cube
from earthloom.errors import ArchiveError, DataError
from earthloom.fit import Model, load_model, save_model
from earthloom.fit.choose import fit_model
from earthloom.grid import Area, crs_wkt
from earthloom.progress import Tick, bar, say, warn
from earthloom.project import (
    FoldsAssessment,
    ForestModel,
    ModelChoice,
    Project,
    SeriesArchive,
)
from earthloom.sample import Moments, Samples, Shape2d, Subset
from earthloom.stages import StageResult, canonical_json, digest_of, file_digest, run_stage
from earthloom.targets import (
    as_class_labels,
    classes_of,
    cutting_of,
    label_path,
    labels_of,
    task_inputs,
    values_of,
)
from earthloom.tasks import PixelClasses
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.workers import Workers, workers_at

_EPOCH = date(1970, 1, 1)
WHOLE = "all"
"""Name of the model that is fitted on every sample."""


@dataclass
class Pipeline:
    """A project with the stages that were built or found so far."""

    project: Project
    model_folder: Path | None = None
    """A saved model to map with, instead of fitting one."""
    failed: dict[str, str] = field(default_factory=dict)
    """Scenes that did not load, with the reason."""
    workers: Workers = field(default_factory=workers_at)
    """What makes cubes: the cores of this machine, or a cluster."""
    finished: dict[str, StageResult] = field(default_factory=dict)
    """Stages by name, as they were built or found by this pipeline."""

    # -- archive ---------------------------------------------------------------------------------

    @cached_property
    def archive(self) -> SceneSource:
        """The project's archive; a simulated one is made first."""
        with bar("simulate") as tick:
            return open_archive(self.project, tick)

    @property
    def root(self) -> str:
        """The folder that scenes' files are relative to."""
        return str(archive_folder(self.project))

    @cached_property
    def areas(self) -> Mapping[str, Area]:
        """What is mapped, by name."""
        return {area.name: area for area in areas_of(self.project, self.archive)}

    @cached_property
    def scenes(self) -> Mapping[str, list[Scene]]:
        """The scenes of each area; an area that the archive does not show is an error."""
        listed = {
            name: scenes_to_json(scenes_of(self.project, self.archive, area))
            for name, area in self.areas.items()
        }

        inputs = {"scenes": digest_of(listed)}
        found, _ = self.json_stage("search", "scenes.json", inputs, lambda: listed)
        return {name: scenes_from_json(values) for name, values in found.items()}

    # -- cube ------------------------------------------------------------------------------------

    @cached_property
    def cubes(self) -> Mapping[str, tuple[Cube, StageResult]]:
        """The cube of each area."""
        return {name: self._cube(area) for name, area in self.areas.items()}

    def inspection(self, area: Area) -> Inspection:
        """What is known of an area's scenes before they are read whole."""
        if not any(needs_inspection(self.project, choice) for choice in self.project.sensors):
            return Inspection({}, ())

        def inspect() -> Any:
            with bar("inspect") as tick:
                reader = Reader(self.root, archive_signer(self.project))
                scenes = self.scenes[area.name]
                found = inspect_scenes(reader, self.project, area.box, scenes, tick)
            return inspection_to_json(found)

        name, inputs = f"inspect/{area.name}", self._seen_inputs(area)
        found, _ = self.json_stage(name, "inspection.json", inputs, inspect)
        return inspection_from_json(found)

    def _seen_inputs(self, area: Area) -> dict[str, Any]:
        """What decides which pixels of which scenes are read, for a manifest."""
        return {
            "scenes": digest_of(scenes_to_json(self.scenes[area.name])),
            "grid": _grid_inputs(area),
            "sensors": [choice.as_inputs() for choice in self.project.sensors],
        }

    def _cube(self, area: Area) -> tuple[Cube, StageResult]:
        scenes = self.scenes[area.name]
        inspection = self.inspection(area)
        for finding in inspection.offsets:
            warn(finding.suggestion)
        plans = plan_layers(self.project, area.box, scenes, inspection.notes)
        shape = Shape2d(area.box.shape.y, area.box.shape.x)
        inputs = self._seen_inputs(area) | {
            "notes": notes_to_json(inspection.notes),
            "layers": [digest_of(plan.spec.to_json()) for plan in plans],
            "dates": self.project.dates.as_inputs() if self.project.dates else None,
        }
        name = f"cube/{area.name}"
        # What failed may have been repaired without a change of name or size.
        failed_before = failed_scenes(self.project.out_folder / name)
        with bar("cube") as tick:
            result = self.stage(
                name,
                inputs,
                lambda folder: self._build(plans, shape, folder, tick),
                retry=bool(failed_before) and self.project.failed_scenes == "report",
            )
        self.failed |= failed_scenes(result.folder)
        cube = open_cube(result.folder / "cube.zarr", shape)
        return self._series(area, plans, cube, result)

    def _series(
        self, area: Area, plans: Sequence[LayerPlan], cube: Cube, made: StageResult
    ) -> tuple[Cube, StageResult]:
        """The cube with regular time steps, where the project asks for them."""
        chosen = {c.name: c.series for c in self.project.sensors if c.series is not None}
        if not chosen:
            return cube, made
        settings = {name: choice.as_inputs() for name, choice in chosen.items()}

        def write(folder: Path) -> None:
            with bar("series") as tick:
                regular_cube(cube, plans, chosen, folder, tick, self.workers)

        inputs = {"cube": made.digest, "series": settings}
        result = self.stage(f"series/{area.name}", inputs, write)
        return open_cube(result.folder / "cube.zarr", cube.shape), result

    def _build(self, plans: Sequence[LayerPlan], shape: Shape2d, folder: Path, tick: Tick) -> None:
        signer = archive_signer(self.project)
        failed = build_cube(self.root, plans, shape, folder, tick, self.workers, signer)
        scenes = {scene.id for plan in plans for step in plan.steps for scene in step.scenes}
        if scenes and scenes <= failed.keys():
            scene, reason = sorted(failed.items())[0]
            raise DataError(f"none of the {len(scenes)} scenes loads; the first, {scene}: {reason}")
        if not scenes:
            raise ArchiveError("no scene at all for the cube")

    def moments(self, name: str) -> tuple[Moments | None, str]:
        """The moments of an area, and a digest of them, where the model compares with them."""
        needed = self.model_folder is not None or self.project.model.name == "boosted-change"
        if not needed:
            return None, ""
        cube, cube_stage = self.cubes[name]
        found, result = self.json_stage(
            f"moments/{name}", "moments.json", {"cube": cube_stage.digest},
            lambda: moments_to_json(moments_of(cube)),
        )  # fmt: skip
        return moments_from_json(found), result.digest

    # -- chips -----------------------------------------------------------------------------------

    @cached_property
    def labels(self) -> Mapping[str, Labels | ValueLabels]:
        """The labels of each area that has some."""
        return labels_of(self.project, self.areas)

    @property
    def class_labels(self) -> Mapping[str, Labels]:
        """The labels of each area as class codes; ProjectError where they are numbers."""
        return as_class_labels(self.project, self.labels)

    @cached_property
    def samples(self) -> tuple[Samples, str]:
        """The chips, and a digest of them."""
        archive = self.project.archive
        if isinstance(archive, SeriesArchive):
            path = self.project.path(archive.path)
            series = read_series(path, self.project)
            if series.never_seen:
                warn(f"{series.never_seen} of {len(series)} series in {path} have no valid date")
            return series, file_digest(path)
        result = self._chips()
        return open_chips(result.folder), result.digest

    @cached_property
    def index(self) -> ChipIndex:
        """The index of the chips."""
        return open_index(self._chips().folder / INDEX)

    @cached_property
    def chip_table(self) -> tuple[ChipTable, tuple[str, ...]]:
        """What divisions go by, of all samples in their order, and names of its classes."""
        samples, names = self.samples[0], {c.code: c.name for c in self.project.classes}
        if isinstance(samples, SeriesSamples):
            table, codes = table_of_series(samples)
        else:
            table, codes = table_of_index(self.index)
        return table, tuple(names[code] for code in codes)

    def _chips(self) -> StageResult:
        settings, cutting = self.project.chips, cutting_of(self.project)
        labelled = [self._labelled(name, labels) for name, labels in self.labels.items()]
        inputs = {
            "cubes": {each.area.name: each.source for each in labelled},
            "labels": {name: file_digest(self.label_path(name)) for name in self.labels},
            "settings": self.project.labels.as_inputs(),
            "periods": {each.area.name: each.period for each in labelled},
            **task_inputs(self.project),
            "chips": settings.as_inputs(),
            "by_place": cutting.by_place,
            "seed": self.project.seed if settings.split else None,
        }

        def write(folder: Path) -> None:
            with bar("chips") as tick:
                count = make_chips(labelled, cutting, folder, tick)
            say(f"chips      {count} chips of {settings.size} px with labels")

        return self.stage("chips", inputs, write)

    def _labelled(self, name: str, labels: Labels | ValueLabels) -> Labelled:
        cube, result = self.cubes[name]
        first, last = ((day - _EPOCH).days for day in self.dates(name))
        return Labelled(
            area=self.areas[name],
            cube=cube,
            labels=labels,
            moments=self.moments(name)[0],
            source=result.digest,
            period=Period(first, last),
        )

    def label_path(self, area: str) -> Path:
        """The label file of an area, whether there is one or not."""
        return label_path(self.project, area)

    # -- fit -------------------------------------------------------------------------------------

    @property
    def task(self) -> PixelClasses | PixelValueTask:
        """What the project predicts."""
        values = self.values
        return self.classes if values is None else values

    @property
    def values(self) -> PixelValueTask | None:
        """The task of a project that maps numbers; None for one that maps classes."""
        return values_of(self.project)

    @property
    def classes(self) -> PixelClasses:
        """The project's classes as a task; ProjectError for a project that maps numbers."""
        return classes_of(self.project)

    @cached_property
    def folds(self) -> Mapping[str, Fold]:
        """The folds of the assessment, by name; none where it does not ask for them."""
        assess = self.project.assess
        if not isinstance(assess, FoldsAssessment):
            return {}
        if assess.by == "split":
            folds: tuple[Fold, ...] = (fold_of_split(self.index),)
        elif assess.by == "place":
            folds = leave_group_out(self.samples[0].groups)
        else:
            folds = deal_folds(self.samples[0].groups, assess.folds, self.project.seed)
        if assess.buffer_m:
            table = self.chip_table[0]
            folds = tuple(with_buffer(fold, table, assess.buffer_m) for fold in folds)
        return {fold.name: fold for fold in folds}

    def model(self, name: str = WHOLE) -> tuple[Model, StageResult]:
        """The model of a fold, or the one that is fitted on every sample."""
        return self._fit(f"fit/{name}", self.project.model, name)

    def forest(self, fold: str) -> tuple[Model, StageResult]:
        """The random forest that stands beside a fold's model."""
        return self._fit(f"baseline/forest/{fold}", ForestModel(name="forest"), fold)

    def _fit(self, stage: str, choice: ModelChoice, fold: str) -> tuple[Model, StageResult]:
        samples, digest = self.samples
        held_out: list[int] = []
        if fold != WHOLE:
            samples = Subset(samples, self.folds[fold].train.tolist())
            held_out = self.folds[fold].test.tolist()
        inputs = {
            "chips": digest,
            "held_out": digest_of(held_out),
            "model": choice.as_inputs(),
            **task_inputs(self.project),
            "seed": self.project.seed,
        }

        def write(folder: Path) -> None:
            with bar("fit") as tick:
                model = fit_model(samples, self.task, choice, self.project.seed, tick)
            save_model(model, folder)

        result = self.stage(stage, inputs, write)
        return load_model(result.folder), result

    # -- all -------------------------------------------------------------------------------------

    def dates(self, name: str) -> tuple[date, date]:
        """First and last day of the project, or of an area's scenes."""
        if self.project.dates is not None:
            return self.project.dates.start, self.project.dates.end
        days = [scene.day for scene in self.scenes[name]]
        return min(days), max(days)

    def training_labels(self, name: str) -> VectorLabels | VectorValues | None:
        """The labels of an area as features; None where they are a raster."""
        labels = self.labels[name]
        return labels if isinstance(labels, VectorLabels | VectorValues) else None

    def stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        build: Callable[[Path], None],
        retry: bool = False,
    ) -> StageResult:
        """Builds a stage, unless it is there; a stage is looked at once in a pipeline's life."""
        if name in self.finished:
            return self.finished[name]
        result = run_stage(self.project.out_folder, name, inputs, build, retry=retry)
        self.finished[name] = result
        say(f"{name:<24} {'built' if result.fresh else 'unchanged'}")
        return result

    def json_stage(
        self, name: str, file: str, inputs: Mapping[str, Any], make: Callable[[], Any]
    ) -> tuple[Any, StageResult]:
        """A stage that keeps JSON values in one file: what it holds, made now or before."""

        def write(folder: Path) -> None:
            (folder / file).write_text(canonical_json(make()), encoding="utf-8")

        result = self.stage(name, inputs, write)
        return json.loads((result.folder / file).read_text(encoding="utf-8")), result


def _grid_inputs(area: Area) -> dict[str, Any]:
    box = area.box
    return {"affine": list(box.affine)[:6], "crs": crs_wkt(box), "shape": list(box.shape)}
