"""One area's map: predicted part by part, put together, written."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from earthloom.cube import Cube
from earthloom.errors import DataError
from earthloom.fit import Model, save_model
from earthloom.fit.model import CARD
from earthloom.fit.plan import Plan
from earthloom.grid import Area
from earthloom.grid.boxes import place_of
from earthloom.maps import FEATURES, ITEM, MAP
from earthloom.maps.clip import clip_of
from earthloom.maps.cog import StripWriter, write_class_names
from earthloom.maps.item import write_item
from earthloom.maps.outputs import Output, UnitFeatures, Values, outputs_of
from earthloom.maps.parts import Finish
from earthloom.maps.sources import Asked, SavedCube, SavedModel, reach_of
from earthloom.maps.statistics import statistics_of
from earthloom.maps.stitch import stitch
from earthloom.maps.style import write_styles, write_value_style
from earthloom.maps.tiling import PART, layout_of, tiling_for
from earthloom.maps.work import MapWork
from earthloom.progress import Tick
from earthloom.sample import Moments, Shape2d
from earthloom.stages import job_of
from earthloom.tasks.base import Task
from earthloom.tasks.planes import ClassesOfPixels
from earthloom.workers import Threads, Workers

WORK = "work"
"""Folder of what is not finished, beside the map until it is whole."""
AT_ONCE = 2
"""Parts that this machine works on at a time: one has the model, and one is begun or ended."""
PART_BYTES = 256 * 2**20
"""Most bytes that a finished part takes, or that a strip of its pixels takes while it is read."""
_STRIP = 512
"""Rows of pixels that are in memory at a time: those of a window, and those that come next."""


@dataclass(frozen=True)
class MapInputs:
    """What a map is made of."""

    item_id: str
    """Of the STAC Item; no two maps share it."""
    area: Area
    cube: Cube
    model: Model
    moments: Moments | None
    """Of the area, where the model compares with it."""
    dates: tuple[date, date]
    """First and last day of the observations."""
    scenes: Sequence[str]
    provenance: Mapping[str, Any]
    """Digests of inputs, versions and seed, for the Item."""
    collection: str | None = None
    """Id of the STAC Collection of all the project's maps."""
    model_folder: Path | None = None
    """Where the model is saved; without it, it is saved beside the map while that is made."""


@dataclass(frozen=True)
class MapSettings:
    """How a map is made."""

    window: int
    """Pixels, both ways, that the model sees at a time."""
    overlap: float
    """Share of a window that the next one covers too, where the model looks beyond its pixel."""
    exact: bool = False
    """Whether the map is to be what the model would say of the whole area at once."""
    plan: Plan = Plan()
    """How the model is evaluated."""
    part: int = PART
    """Pixels, both ways, that a part has about."""


def make_map(
    inputs: MapInputs,
    settings: MapSettings,
    folder: Path,
    tick: Tick,
    workers: Workers | None = None,
) -> None:
    """Writes the COGs of a map and `item.json` into a folder: `map.tif` and `probability.tif` for
    classes, `value.tif` or `density.tif` for numbers.

    A pixel outside the area, or that no layer ever saw, is nodata in all. Parts that an
    interrupted run left in the folder are not made again; whichever were, and on whichever workers,
    the bytes are the same.
    """
    model, area = inputs.model, inputs.area
    for member in model.members:
        member.encoder.check(inputs.cube.specs)
    task = model.task
    outputs = outputs_of(task, model.threshold)
    asked: Asked = "probabilities" if isinstance(task, ClassesOfPixels) else "values"
    write_rasters(inputs, settings, outputs, folder, tick, workers, asked)
    _write_legend(folder, task, outputs)
    write_item(
        folder / ITEM,
        inputs.item_id,
        area.box,
        area.outline,
        inputs.dates,
        task,
        inputs.provenance,
        inputs.scenes,
        collection=inputs.collection,
    )


def _write_legend(folder: Path, task: Task[Any], outputs: Sequence[Output]) -> None:
    """Writes what GIS programs need to show a map: names and colours of classes, or a ramp."""
    if isinstance(task, ClassesOfPixels):
        write_class_names(folder / MAP, task)
        write_styles(folder, task)
        return
    for output in outputs:
        path = folder / output.file
        with rasterio.open(path) as file:
            statistics = statistics_of(file, 1)
        write_value_style(path, statistics, output.unit or "")


def make_features(
    inputs: MapInputs,
    settings: MapSettings,
    folder: Path,
    tick: Tick,
    *,
    stored: str = "int8",
    workers: Workers | None = None,
) -> None:
    """Writes `features.tif`: what the model's encoder makes of each pixel, for search and for other
    models.

    `stored` is `int8`, directions alone at a quarter of the size, or `float32`.
    """
    names = tuple(f"f{n}" for n in range(inputs.model.members[0].encoder.channels))
    made: dict[str, Output] = {
        "int8": UnitFeatures(names),
        "float32": Values(names, file=FEATURES),
    }
    if stored not in made:
        raise DataError(f"features are stored as int8 or float32, not as '{stored}'")
    outputs = (made[stored],)
    write_rasters(inputs, settings, outputs, folder, tick, workers, asked="features")


def write_rasters(
    inputs: MapInputs,
    settings: MapSettings,
    outputs: Sequence[Output],
    folder: Path,
    tick: Tick,
    workers: Workers | None = None,
    asked: Asked = "probabilities",
) -> None:
    """Writes the files of a map and no more: each of the outputs a COG."""
    area, cube = inputs.area, inputs.cube
    folder = folder.absolute()
    # A worker that was left behind by another job cannot put its parts among these.
    job = (job_of(folder) or "once")[:16]
    source = SavedModel(_saved(inputs, folder / WORK / f"model.{job}"), asked, settings.plan)
    keys = tuple(spec.key for spec in inputs.model.layers)
    pixels = SavedCube(cube.path.absolute(), cube.shape, keys)
    shape = Shape2d(area.box.shape.y, area.box.shape.x)
    tiling = tiling_for(reach_of(inputs.model), settings.window, settings.overlap, settings.exact)
    work = MapWork(
        model=source,
        pixels=pixels,
        layout=layout_of(shape, tiling, part_for(cube, outputs, settings.part)),
        finish=Finish(tuple(outputs), clip_of(area.outline, area.box)),
        folder=folder / WORK / f"{asked}.{job}",
        batch=settings.plan.batch,
        moments=inputs.moments,
        place=place_of(area.box),
    )
    do_work(work, area, folder, tick, workers)
    # Under another name first: what a straggler still writes has no place to go to.
    over = (folder / WORK).rename(folder / f"{WORK}.partial")
    shutil.rmtree(over, ignore_errors=True)


def do_work(
    work: MapWork, area: Area, folder: Path, tick: Tick, workers: Workers | None = None
) -> None:
    """Makes the parts that are not there yet, and of all of them the files in a folder."""
    work.folder.mkdir(parents=True, exist_ok=True)
    parts = work.units()
    for done, _ in enumerate((workers or Threads(AT_ONCE)).run(work.do, parts), 1):
        tick(done, len(parts), area.name)
    outputs = work.finish.outputs
    writers = [_writer(folder, output, area.box) for output in outputs]
    stitch(
        parts,
        work.path_of,
        work.model.open().planes,
        work.finish,
        lambda number, row, col, numbers: writers[number].write(row, numbers, col),
    )
    for writer, output in zip(writers, outputs, strict=True):
        writer.finish(output.overviews)


def part_for(cube: Cube, outputs: Sequence[Output], part: int) -> int:
    """Pixels, both ways, of a part: fewer where a pixel takes many bytes."""
    read = sum(
        len(spec.dates) * len(spec.bands) * 4 / spec.factor**2 for spec in cube.specs.values()
    )
    made = sum(len(output.bands) * np.dtype(output.dtype).itemsize for output in outputs)
    return max(min(part, int(PART_BYTES / (_STRIP * read)), math.isqrt(PART_BYTES // made)), 1)


def read_summary(path: Path) -> dict[int, int]:
    """Pixels of each value of a map, nodata included."""
    with rasterio.open(path) as source:
        totals = np.zeros(256, np.int64)
        for _, window in source.block_windows(1):
            totals += np.bincount(source.read(1, window=window).ravel(), minlength=256)
    return {int(code): int(totals[code]) for code in np.flatnonzero(totals)}


def _saved(inputs: MapInputs, folder: Path) -> Path:
    """The folder of the model, saved if it is not anywhere."""
    if inputs.model_folder is not None:
        return inputs.model_folder.absolute()
    # The card is written last.
    if not (folder / CARD).exists():
        save_model(inputs.model, folder)
    return folder


def _writer(folder: Path, output: Output, box: GeoBox) -> StripWriter:
    writer = StripWriter(
        folder / output.file, box, output.bands, output.nodata, output.dtype, output.unit
    )
    if output.colours:
        writer.file.write_colormap(1, output.colours)
    if output.scale != 1:
        writer.file.scales = (output.scale,) * len(output.bands)
    return writer
