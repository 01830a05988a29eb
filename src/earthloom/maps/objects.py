"""A map of things: found window by window, made one across windows, written as vectors.

Memory holds the windows that are looked at and some rows of things, whatever the area.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from earthloom.errors import ContractError, choices
from earthloom.grid.boxes import place_of
from earthloom.maps.clip import clip_of
from earthloom.maps.equal_area import EqualArea, on_grid
from earthloom.maps.objects_files import FORMATS, check_formats, thing_writer, write_formats
from earthloom.maps.objects_find import FindWork, SavedFinder, tiling_for_things
from earthloom.maps.objects_merge import JOINS, Join, Merged, merge
from earthloom.maps.tiling import PART, layout_of
from earthloom.progress import Tick
from earthloom.sample import Shape2d
from earthloom.stages import canonical_json, job_of
from earthloom.workers import Threads, Workers

if TYPE_CHECKING:
    from earthloom.maps.make import MapInputs
    from earthloom.tasks.objects_task import ThingTask

SUMMARY = "things.json"
_WORK = "work"
_AT_ONCE = 2
"""Parts at a time: one has the detector, and one is begun or ended."""


@dataclass(frozen=True)
class ThingSettings:
    """How a map of things is made."""

    window: int = 512
    """Pixels, both ways, that the detector sees at a time, at least."""
    overlap: int | None = None
    """Pixels that windows share with the next ones, at least: things up to so large are seen whole.
    None for one and a half times the largest size of the training things."""
    threshold: float | None = None
    """Least score; None for the task's own."""
    formats: tuple[str, ...] = ("parquet",)
    """Keys of `FORMATS`."""
    batch: int = 4
    """Windows that the detector is given at a time."""
    part: int = PART
    """Pixels, both ways, that a part has about."""

    def __post_init__(self) -> None:
        check_formats(self.formats)


@dataclass(frozen=True)
class ThingsMade:
    """What was found."""

    files: tuple[str, ...]
    things: int
    by_class: Mapping[str, int]
    joined: int
    """Things that no window saw whole; larger windows or more overlap would."""
    area_m2: Mapping[str, float]
    """Of each class, on the ellipsoid; things that overlap count twice."""
    area_crs: str
    """The equal-area projection that areas were measured in."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"files": list(self.files)}


@dataclass(frozen=True)
class Vectors:
    """Where things of a map are written, and what their pixels and codes mean."""

    folder: Path
    place: EqualArea
    names: Mapping[int, str]
    """Of classes, by code."""
    formats: tuple[str, ...] = ("parquet",)
    outline: shapely.Geometry | None = None
    """In pixels of the map: things whose middle lies outside are left out."""


def make_things(
    inputs: MapInputs,
    settings: ThingSettings,
    folder: Path,
    tick: Tick,
    workers: Workers | None = None,
) -> ThingsMade:
    """Writes the things that a model finds in an area, and `things.json`, into a folder.

    Parts that an interrupted run left there are not made again; whichever were, and on whichever
    workers, the things are the same. ContractError for a model that finds no things.
    """
    task = _task_of(inputs)
    folder = folder.absolute()
    job = (job_of(folder) or "once")[:16]
    work = _work_of(inputs, task, settings, folder, job)
    area, clip, shape = inputs.area, work.clip, work.layout.shape
    vectors = Vectors(
        folder,
        EqualArea(CRS(str(area.box.crs)), Affine(*area.box.affine[:6]), (shape.rows, shape.cols)),
        dict(zip(task.codes, task.names, strict=True)),
        settings.formats,
        None if clip is None else shapely.from_wkb(clip.wkb),
    )
    made = find_things(work, vectors, JOINS[task.name], tick, workers)
    over = (folder / _WORK).rename(folder / f"{_WORK}.partial")
    shutil.rmtree(over, ignore_errors=True)
    return made


def _task_of(inputs: MapInputs) -> ThingTask:
    """The task of the model; ContractError where it finds no things, or not in such a cube."""
    from earthloom.tasks.objects_task import ThingTask

    task = inputs.model.task
    if not isinstance(task, ThingTask):
        raise ContractError(
            f"a model of the task '{task.name}' finds no things; valid: {choices(JOINS)}"
        )
    for member in inputs.model.members:
        member.encoder.check(inputs.cube.specs)
    return task


def _work_of(
    inputs: MapInputs, task: ThingTask, settings: ThingSettings, folder: Path, job: str
) -> FindWork:
    """The search as workers are told it; the model is saved first if it is not anywhere."""
    from earthloom.fit import save_model
    from earthloom.fit.model import CARD
    from earthloom.maps.sources import SavedCube, reach_of

    model, cube = inputs.model, inputs.cube
    source = inputs.model_folder or folder / _WORK / f"model.{job}"
    # The card is written last.
    if inputs.model_folder is None and not (source / CARD).exists():
        save_model(model, source)
    threshold = task.threshold if settings.threshold is None else settings.threshold
    tiling = tiling_for_things(reach_of(model), settings.window, _overlap(settings, task.sizes))
    keys = tuple(spec.key for spec in model.layers)
    shape = Shape2d(inputs.area.box.shape.y, inputs.area.box.shape.x)
    return FindWork(
        finder=SavedFinder(source.absolute(), threshold),
        pixels=SavedCube(cube.path.absolute(), cube.shape, keys),
        layout=layout_of(shape, tiling, settings.part),
        folder=folder / _WORK / f"things.{job}",
        batch=settings.batch,
        clip=clip_of(inputs.area.outline, inputs.area.box),
        moments=inputs.moments,
        place=place_of(inputs.area.box),
    )


def _overlap(settings: ThingSettings, sizes: Sequence[float]) -> int:
    """Pixels that windows share: as asked, else from the sizes of the training things."""
    if settings.overlap is not None:
        return settings.overlap
    return min(int(1.5 * max(sizes, default=0.0)), settings.window // 2)


def find_things(
    work: FindWork,
    vectors: Vectors,
    join: Join,
    tick: Tick,
    workers: Workers | None = None,
) -> ThingsMade:
    """Finds the parts that are not there yet, makes things one across windows, and writes them."""
    work.folder.mkdir(parents=True, exist_ok=True)
    parts = work.units()
    for done, _ in enumerate((workers or Threads(_AT_ONCE)).run(work.do, parts), 1):
        tick(done, len(parts), "things")
    things = merge(work.rows(), work.layout.shape, join)
    return write_things(iter(things), vectors)


def write_things(things: Iterator[Merged], vectors: Vectors) -> ThingsMade:
    """Writes things as they come, in the chosen formats, and what they sum up to."""
    base = vectors.folder / FORMATS["parquet"].file
    vectors.folder.mkdir(parents=True, exist_ok=True)
    tally = _Tally(vectors)
    with thing_writer(base, vectors.place.crs) as writer:
        for some in things:
            writer.write(*tally.columns(some))
    files = write_formats(base, vectors.formats, vectors.place.crs)
    made = tally.made(files)
    (vectors.folder / SUMMARY).write_text(canonical_json(made.to_json()), encoding="utf-8")
    return made


@dataclass
class _Tally:
    """Turns things into rows of a table, and counts them."""

    vectors: Vectors
    joined: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    areas: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))

    def columns(self, some: Merged) -> tuple[NDArray[np.object_], dict[str, pa.Array]]:
        """Geometries in the CRS, and the other columns."""
        kept = self._inside(some.shapes)
        shapes, codes = some.shapes[kept], some.codes[kept]
        areas = np.round(self.vectors.place.of_polygons(shapes), 3)
        first = int(self.counts.sum()) + 1
        self.counts += np.bincount(codes, minlength=256)
        self.areas += np.bincount(codes, weights=areas, minlength=256)
        self.joined += int(some.joined[kept].sum())
        names = [self.vectors.names[code] for code in codes.tolist()]
        columns = {
            "id": pa.array(np.arange(first, first + len(shapes))),
            "code": pa.array(codes.astype(np.int16)),
            "name": pa.array(names, pa.string()),
            "score": pa.array(np.round(some.scores[kept], 4).astype(np.float32)),
            "area_m2": pa.array(areas),
            "joined": pa.array(some.joined[kept]),
        }
        return self._drawn(shapes), columns

    def made(self, files: tuple[str, ...]) -> ThingsMade:
        """What all that came sums up to."""
        names = self.vectors.names.items()
        return ThingsMade(
            files,
            int(self.counts.sum()),
            {name: int(self.counts[code]) for code, name in names},
            self.joined,
            {name: round(float(self.areas[code]), 1) for code, name in names},
            self.vectors.place.projection,
        )

    def _inside(self, shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
        if self.vectors.outline is None or not len(shapes):
            return np.ones(len(shapes), np.bool_)
        middles = shapely.centroid(shapes)
        return np.asarray(shapely.covers(self.vectors.outline, middles))

    def _drawn(self, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
        """Multipolygons in the CRS, exteriors counter-clockwise."""
        if not len(shapes):
            return shapes
        affine = self.vectors.place.affine
        parts, owner = shapely.get_parts(shapes, return_index=True)
        polygons = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
        many = shapely.multipolygons(parts[polygons], indices=owner[polygons])
        drawn = shapely.transform(many, lambda points: on_grid(affine, points))
        oriented: NDArray[np.object_] = shapely.orient_polygons(drawn, exterior_cw=False)
        return oriented
