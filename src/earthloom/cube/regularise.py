"""A finished cube to one whose time steps are regular and without gaps, tile by tile."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.build import COVERAGE
from earthloom.cube.periods import Period, periods
from earthloom.cube.plan import LayerPlan, Step
from earthloom.cube.series import Reach, regular, whittaker
from earthloom.cube.store import Cube, CubeWriter, write_tile
from earthloom.grid import cover
from earthloom.progress import Tick
from earthloom.project import SeriesChoice
from earthloom.sample import Shape2d, Window
from earthloom.stages import canonical_json
from earthloom.workers import Threads, Workers

PIECE_BYTES = 96 * 2**20
"""Most bytes of a tile with all its time steps."""
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class SeriesWork:
    """All that a worker needs, wherever it runs."""

    cube: Cube
    path: Path
    """Of the cube that is made."""
    targets: Mapping[str, LayerPlan]
    """The layers that become regular, by key, with the time steps that they will have."""
    choices: Mapping[str, SeriesChoice]
    """How, by sensor."""

    def do(self, window: Window) -> None:
        """Makes one tile of the base grid."""
        for key, plan in self.targets.items():
            inside = window.coarser(plan.spec.factor)
            rows = min(inside.shape.rows, plan.box.shape.y - inside.row)
            cols = min(inside.shape.cols, plan.box.shape.x - inside.col)
            part = Window(inside.row, inside.col, Shape2d(rows, cols))
            pixels, counts, days = self.cube.observed(key, part)
            images = smoothed(self.choices[plan.spec.sensor], pixels, days, plan.steps)
            for step, image in enumerate(images):
                count = _count(plan.steps[step], counts, days)
                seen = ~np.isnan(image).any(axis=0)
                write_tile(self.path, key, step, part, image, count, seen)


def regular_cube(
    cube: Cube,
    plans: Sequence[LayerPlan],
    choices: Mapping[str, SeriesChoice],
    folder: Path,
    tick: Tick,
    workers: Workers | None = None,
) -> list[LayerPlan]:
    """Writes `cube.zarr` and `coverage.json` into a folder; returns the plans of its layers.

    Layers of sensors in `choices` are interpolated or smoothed in time; others are taken over as
    they are. Counts say how often a pixel was seen in a time step: 0 where its value comes from
    its neighbours in time alone.
    """
    made = [regular_plan(plan, choices) for plan in plans]
    changed = {p.spec.key: p for p in made if p.spec.sensor in choices and not p.sensor.static}
    tile = _tile(made, list(changed.values()) or made, cube)
    path = (folder / "cube.zarr").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    writer = CubeWriter(path, made, tile)
    for plan in made:
        if plan.spec.key not in changed:
            shutil.rmtree(path / plan.spec.key)
            shutil.copytree(cube.path / plan.spec.key, path / plan.spec.key)
    work = SeriesWork(cube, path, changed, choices)
    windows = list(cover(cube.shape, tile))
    for done, _ in enumerate((workers or Threads()).run(work.do, windows), 1):
        tick(done, len(windows), "series")
    writer.finish()
    _write_coverage(cube, made, folder)
    return made


def regular_plan(plan: LayerPlan, choices: Mapping[str, SeriesChoice]) -> LayerPlan:
    """A layer with the time steps that it will have."""
    choice = choices.get(plan.spec.sensor)
    if choice is None or choice.every is None or plan.sensor.static or not plan.steps:
        return plan
    start, end = plan.steps[0].start, plan.steps[-1].end
    steps = tuple(_step(period, plan) for period in periods(start, end, choice.every))
    spec = replace(plan.spec, dates=tuple(step.label for step in steps))
    return replace(plan, spec=spec, steps=steps, reads=plan.reads or plan.spec.bands)


def smoothed(
    choice: SeriesChoice,
    pixels: NDArray[np.float32],
    days: NDArray[np.int32],
    steps: Sequence[Step],
) -> NDArray[np.float32]:
    """Pixels (S, C, H, W) of time steps from those (T, C, H, W) of days (T,), NaN where unknown."""
    valid = ~np.isnan(pixels)
    middles = [_middle(step) for step in steps]
    reach = Reach(choice.most_gap_days, choice.hold_days)
    if choice.method == "whittaker":
        return whittaker(pixels, valid, days, middles, choice.smoothing, reach=reach)
    return regular(pixels, valid, days, middles, choice.method, reach)


def _step(period: Period, plan: LayerPlan) -> Step:
    scenes = [s for step in plan.steps for s in step.scenes if period.start <= s.day <= period.end]
    first = plan.steps[0]
    return Step(period.label, period.start, period.end, tuple(scenes), first.middle, first.zone)


def _count(step: Step, counts: NDArray[np.uint8], days: NDArray[np.int32]) -> NDArray[np.uint8]:
    """How often each pixel (H, W) was seen between the first and the last day of a time step."""
    first, last = (step.start - _EPOCH).days, (step.end - _EPOCH).days
    inside = (days >= first) & (days <= last)
    total: NDArray[np.int64] = counts[inside].sum(axis=0, dtype=np.int64)
    return np.minimum(total, 255).astype(np.uint8)


def _middle(step: Step) -> int:
    return ((step.start - _EPOCH).days + (step.end - _EPOCH).days) // 2


def _tile(plans: Sequence[LayerPlan], changed: Sequence[LayerPlan], cube: Cube) -> int:
    """Base pixels of a tile, so that all time steps of one layer fit in `PIECE_BYTES`."""
    multiple = math.lcm(*(plan.spec.factor for plan in plans))
    needed = max(
        (max(len(plan.steps), len(cube.specs[plan.spec.key].dates)) * len(plan.spec.bands) * 4)
        / plan.spec.factor**2
        for plan in changed
    )
    side = math.isqrt(int(PIECE_BYTES / needed))
    return max(side // multiple, 1) * multiple


def _write_coverage(cube: Cube, plans: Sequence[LayerPlan], folder: Path) -> None:
    before = json.loads((cube.path.parent / COVERAGE).read_text(encoding="utf-8"))
    layers = {
        plan.spec.key: {step.label: [scene.id for scene in step.scenes] for step in plan.steps}
        for plan in plans
    }
    text = canonical_json(before | {"layers": layers})
    (folder / COVERAGE).write_text(text, encoding="utf-8")
