"""Builds a cube tile by tile, so that its memory does not grow with the area."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from earthloom.archive import Scene
from earthloom.cube.composite import composite
from earthloom.cube.plan import LayerPlan, Step
from earthloom.cube.read import GDAL_OPTIONS, read_band, read_clear
from earthloom.cube.store import CubeWriter
from earthloom.errors import DataError
from earthloom.grid import cover, window_box
from earthloom.progress import Tick
from earthloom.sample import Shape2d, Window
from earthloom.stages import canonical_json

TILE = 1200
"""Base pixels, both ways, that are composited at a time; a multiple of all common factors."""

COVERAGE = "coverage.json"


@dataclass
class Failures:
    """Scenes that did not load: the first reason of each."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, scene: Scene, reason: str) -> None:
        self.reasons.setdefault(scene.id, reason)


def build_cube(
    root: str, plans: Sequence[LayerPlan], shape: Shape2d, folder: Path, tick: Tick
) -> dict[str, str]:
    """Writes `cube.zarr` and `coverage.json` into a folder.

    `root` is the archive's folder, `shape` that of the base grid. A scene that does not load is
    masked and counted; returns the reason by scene.
    """
    failures = Failures()
    writer = CubeWriter(folder / "cube.zarr", plans)
    tiles = list(cover(shape, TILE))
    total, done = len(tiles) * sum(len(plan.steps) for plan in plans), 0
    with rasterio.Env(**GDAL_OPTIONS), ThreadPoolExecutor(max_workers=4) as pool:
        for tile in tiles:
            for plan in plans:
                window = _within(tile.coarser(plan.spec.factor), plan.box)
                for index, step in enumerate(plan.steps):
                    stack = _read_step(root, plan, step, window, pool, failures)
                    image, count = composite(stack, plan.method)
                    writer.write(plan, index, window, image, count)
                    done += 1
                    tick(done, total, f"{plan.spec.key} {step.label}")
    writer.finish()
    coverage = {"failed": failures.reasons, "layers": _coverage(plans)}
    (folder / COVERAGE).write_text(canonical_json(coverage), encoding="utf-8")
    return failures.reasons


def failed_scenes(cube_folder: Path) -> dict[str, str]:
    """Why scenes of a finished cube did not load, by their ids; none where there is no cube."""
    file = cube_folder / COVERAGE
    if not file.exists():
        return {}
    coverage = json.loads(file.read_text(encoding="utf-8"))
    failed: dict[str, str] = coverage["failed"]
    return failed


def _read_step(
    root: str,
    plan: LayerPlan,
    step: Step,
    window: Window,
    pool: ThreadPoolExecutor,
    failures: Failures,
) -> NDArray[np.float32]:
    """All observations of a time step: (N, C, H, W), NaN where not seen clearly."""
    box = window_box(plan.box, window)
    stack = np.full(
        (max(len(step.scenes), 1), len(plan.spec.bands), *window.shape), np.nan, np.float32
    )
    read = partial(_try_scene, root, plan, box)
    for number, (scene, result) in enumerate(zip(step.scenes, pool.map(read, step.scenes))):
        if isinstance(result, str):
            failures.add(scene, result)
        else:
            stack[number] = result
    return stack


def _try_scene(root: str, plan: LayerPlan, box: GeoBox, scene: Scene) -> NDArray[np.float32] | str:
    """A scene's bands (C, H, W), NaN where not seen clearly; or why they do not load."""
    missing = [band for band in plan.spec.bands if band not in scene.bands]
    if missing:
        return f"has no asset for {', '.join(missing)}"
    try:
        pixels = np.stack([read_band(root, scene.bands[band], box) for band in plan.spec.bands])
        unseen = np.isnan(pixels).any(axis=0)
        quality = plan.sensor.quality
        if quality is not None:
            if scene.quality is None:
                return f"has no quality band {quality.band}"
            unseen |= ~read_clear(root, scene.quality, quality, box)
    except DataError as error:
        # The result must not depend on where the archive lies.
        return str(error).replace(str(Path(root).absolute()), "").replace(f"{root}/", "")
    pixels[:, unseen] = np.nan
    return pixels


def _within(window: Window, box: GeoBox) -> Window:
    """The part of a window that lies in a grid."""
    rows = min(window.shape.rows, box.shape.y - window.row)
    cols = min(window.shape.cols, box.shape.x - window.col)
    return Window(window.row, window.col, Shape2d(rows, cols))


def _coverage(plans: Sequence[LayerPlan]) -> dict[str, dict[str, list[str]]]:
    """The scenes of every time step of every layer."""
    return {
        plan.spec.key: {step.label: [scene.id for scene in step.scenes] for step in plan.steps}
        for plan in plans
    }
