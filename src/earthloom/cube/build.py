"""Builds a cube tile by tile, so that its memory does not grow with the area."""

import json
import math
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from earthloom.archive.sign import Signer, Unsigned
from earthloom.cube.composite import composite
from earthloom.cube.kernels import median_u16
from earthloom.cube.methods import Observations, find_method
from earthloom.cube.observe import Failures, Stack, read_stack
from earthloom.cube.plan import PLAIN, LayerPlan, Step
from earthloom.cube.read import GDAL_OPTIONS, Reader
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.grid import cover, window_box
from earthloom.progress import Tick
from earthloom.sample import Shape2d, Window
from earthloom.stages import canonical_json, job_of, write_atomic
from earthloom.workers import Ledger, Threads, Workers

TILE = 1536
"""Base pixels, both ways, that are composited at a time, or as near as the layers allow: a
multiple of 512, the usual block of a file, and of 2, 3 and 6."""
STACK_BYTES = 256 * 2**20
"""Most bytes that the observations of a piece of a tile take."""
CUBE, COVERAGE = "cube.zarr", "coverage.json"
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Unit:
    """A piece of work that stands alone: one time step of one layer on one tile."""

    plan: int
    step: int
    window: Window
    """On the layer's own grid."""
    name: str = ""
    """For people, and to know it by when it is done."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class CubeWork:
    """All that a worker needs, wherever it runs."""

    root: str
    """The archive's folder."""
    plans: tuple[LayerPlan, ...]
    path: Path
    """Of the cube."""
    signer: Signer = Unsigned()

    @cached_property
    def reader(self) -> Reader:
        """Keeps files open from unit to unit."""
        return Reader(self.root, self.signer)

    def units(self, shape: Shape2d) -> list[Unit]:
        """All units of a cube with a base grid of some shape. Those of one time step stand
        together, so that its files stay open."""
        tile = tile_of(self.plans)
        return [
            _unit(number, plan, step, window)
            for number, plan in enumerate(self.plans)
            for step in range(len(plan.steps))
            for window in cover(shape, tile)
        ]

    def do(self, unit: Unit) -> dict[str, str]:
        """Reads, composites and writes a unit; returns why scenes did not load."""
        failures = Failures()
        plan = self.plans[unit.plan]
        with rasterio.Env(**GDAL_OPTIONS):
            image, count = composite_window(self.reader, plan, unit, failures)
        write_tile(self.path, plan.spec.key, unit.step, unit.window, image, count)
        return failures.reasons


def composite_window(
    reader: Reader, plan: LayerPlan, unit: Unit, failures: Failures
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The image (C, H, W) of a unit and its counts (H, W), made in pieces of bounded size."""
    step, window = plan.steps[unit.step], unit.window
    bands = len(plan.spec.bands)
    image = np.empty((bands, *window.shape), np.float32)
    count = np.empty(window.shape, np.uint8)
    row_bytes = max(len(step.acquisitions), 1) * len(plan.bands) * window.shape.cols * 4
    fitting = STACK_BYTES // row_bytes
    # Whole rows of a file's blocks if possible, so that none is decoded for two pieces.
    rows = next((fitting // block * block for block in (512, 64) if fitting >= block), 64)
    for first in range(0, window.shape.rows, rows):
        last = min(first + rows, window.shape.rows)
        piece = Window(window.row + first, window.col, Shape2d(last - first, window.shape.cols))
        stack = read_stack(reader, plan, step, window_box(plan.box, piece), failures)
        image[:, first:last], count[first:last] = _reduce(plan, step, stack)
    return image, count


def _reduce(
    plan: LayerPlan, step: Step, stack: Stack
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """One image (C, H, W) of a stack, and its counts (H, W)."""
    if plan.method == "median" and stack.stored.dtype == np.uint16:
        image, count = median_u16(stack.stored, stack.seen, stack.scale, stack.offset)
    elif plan.method in PLAIN:
        image, count = composite(stack.physical(), plan.method)
    else:
        method = find_method(plan.method)
        target = ((step.start - _EPOCH).days + (step.end - _EPOCH).days) // 2
        far = _distances(stack, plan.pixel_m) if "target day" in method.needs else None
        found = Observations(stack.physical(), plan.bands, stack.days, target, far)
        image, count = method(found)
    return _with_indices(plan, image), count


def _distances(stack: Stack, pixel_m: float) -> NDArray[np.float32]:
    """(N, H, W): metres to the next pixel of the tile that the same observation did not see."""
    far = [distance_transform_edt(seen) * pixel_m for seen in stack.seen]
    return np.array(far, np.float32)


def _with_indices(plan: LayerPlan, image: NDArray[np.float32]) -> NDArray[np.float32]:
    if not plan.indices:
        return image
    from earthloom.cube.indices import compute

    return np.concatenate([image, compute(plan.indices, image, plan.composited)])


def build_cube(
    root: str,
    plans: Sequence[LayerPlan],
    shape: Shape2d,
    folder: Path,
    tick: Tick,
    workers: Workers | None = None,
    signer: Signer = Unsigned(),
) -> dict[str, str]:
    """Writes `cube.zarr` and `coverage.json` into a folder.

    `root` is the archive's folder, `shape` that of the base grid. A scene that does not load is
    masked and counted; returns the reason by scene. In the folder of a stage, what a killed build
    of the same stage has finished is kept.
    """
    made, job = folder / CUBE, job_of(folder)
    if job is not None and made.exists():
        return failed_scenes(folder)
    # Under a name of its own, a job cannot get tiles from workers that still do another's.
    path = folder.absolute() / f"{CUBE}.{(job or uuid.uuid4().hex)[:16]}"
    ledger = Ledger(path.with_name(path.name + ".units"))
    writer = CubeWriter(path, plans, tile_of(plans), begun=ledger.path.exists())
    if not ledger.path.exists():
        ledger.begin()
    work = CubeWork(root, tuple(plans), path, signer)
    reasons = _do_all(work, shape, ledger, tick, workers or Threads())
    writer.finish()
    coverage = {
        "failed": reasons,
        "superseded": _superseded(plans),
        "layers": _coverage(plans),
    }
    write_atomic(folder / COVERAGE, canonical_json(coverage))
    _put_in_place(path, made)
    return reasons


def _do_all(
    work: CubeWork, shape: Shape2d, ledger: Ledger, tick: Tick, workers: Workers
) -> dict[str, str]:
    """Does the units that are not done yet; returns why scenes did not load.

    A unit that lacks a scene is not taken as done, so that it may have better luck another time.
    """
    units = work.units(shape)
    left = [unit for unit in units if unit.name not in ledger]
    reasons: dict[str, str] = {}
    for done, (unit, failed) in enumerate(workers.run(work.do, left), len(units) - len(left) + 1):
        if not failed:
            ledger.add(unit.name)
        for scene, reason in failed.items():
            reasons[scene] = min(reason, reasons.get(scene, reason))
        plan = work.plans[unit.plan]
        tick(done, len(units), f"{plan.spec.key} {plan.steps[unit.step].label}")
    return reasons


def _put_in_place(path: Path, made: Path) -> None:
    """Gives a whole cube its name, and removes what else a build has left."""
    if made.exists():
        shutil.rmtree(made)
    path.rename(made)
    for left in made.parent.glob(made.name + ".*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def failed_scenes(cube_folder: Path) -> dict[str, str]:
    """Why scenes of a finished cube did not load, by their ids; none where there is no cube."""
    file = cube_folder / COVERAGE
    if not file.exists():
        return {}
    coverage = json.loads(file.read_text(encoding="utf-8"))
    failed: dict[str, str] = coverage["failed"]
    return failed


def tile_of(plans: Sequence[LayerPlan]) -> int:
    """Base pixels of a tile: near `TILE`, and whole pixels of every layer."""
    multiple = math.lcm(*(plan.spec.factor for plan in plans))
    return max(round(TILE / multiple), 1) * multiple


def _unit(number: int, plan: LayerPlan, step: int, window: Window) -> Unit:
    part = _within(window.coarser(plan.spec.factor), plan)
    place = f"from row {part.row} and column {part.col}"
    return Unit(number, step, part, f"{plan.spec.key} {plan.steps[step].label} {place}")


def _within(window: Window, plan: LayerPlan) -> Window:
    """The part of a window that lies in a layer's grid."""
    rows = min(window.shape.rows, plan.box.shape.y - window.row)
    cols = min(window.shape.cols, plan.box.shape.x - window.col)
    return Window(window.row, window.col, Shape2d(rows, cols))


def _superseded(plans: Sequence[LayerPlan]) -> dict[str, str]:
    """Scenes that newer processings stand in for."""
    return {
        old.id: "replaced by " + ", ".join(scene.id for scene in look.scenes)
        for plan in plans
        for step in plan.steps
        for look in step.acquisitions
        for old in look.superseded
    }


def _coverage(plans: Sequence[LayerPlan]) -> dict[str, dict[str, list[str]]]:
    """The scenes of every time step of every layer."""
    return {
        plan.spec.key: {step.label: [scene.id for scene in step.scenes] for step in plan.steps}
        for plan in plans
    }
