"""The steps of `maps.py` that run in a process of their own; each prints one JSON object.

python benchmarks/maps_steps.py STEP FOLDER SIZE [--area N] [--threads 2] [--plan JSON] [--out DIR]
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import rasterio
import torch
from maps_scene import DAY, LEVELS, TASK, Scene, accuracy
from numpy.typing import NDArray

from earthloom.fit import load_model
from earthloom.fit.plan import Plan
from earthloom.fit.predictor import Predictor
from earthloom.fit.trial import Wish, choose_plan
from earthloom.grid import Area
from earthloom.maps.make import MapInputs, MapSettings, write_rasters
from earthloom.maps.outputs import Classes, Output, Values, class_outputs
from earthloom.maps.sources import reach_of
from earthloom.maps.tiling import PART, Axis, layout_of, tiling_for
from earthloom.sample import Chip, Shape2d, Window
from earthloom.sample.batch import Batch, collate
from earthloom.workers import workers_at

WINDOW, OVERLAP = 256, 0.125
GROUP = 16
"""Windows that are read before the clock of the forward passes runs."""


def inputs(scene: Scene, area: int) -> MapInputs:
    """The upper left corner of a scene."""
    shape = Shape2d(area, area)
    cube = replace(scene.cube, shape=shape)
    box = scene.box[:area, :area]
    model = load_model(scene.model)
    place = Area("scene", box, None)
    return MapInputs("scene", place, cube, model, None, (DAY, DAY), [], {}, scene.model)


def settings(asked: argparse.Namespace) -> MapSettings:
    plan = Plan.from_json(json.loads(asked.plan)) if asked.plan else Plan()
    return MapSettings(WINDOW, OVERLAP, plan=plan, part=asked.part)


def windows_of(made: MapInputs) -> list[Window]:
    layout = layout_of(made.cube.shape, tiling_for(reach_of(made.model), WINDOW, OVERLAP))
    return [window for part in layout.parts() for window in layout.windows(part)]


def batches(made: MapInputs, windows: Sequence[Window], size: int) -> list[Batch]:
    """Some windows, read; those of one shape stand together."""
    chips = [Chip("", w.shape, made.cube.window(w)) for w in windows]
    alike: dict[Shape2d, list[Chip]] = {}
    for chip in chips:
        alike.setdefault(chip.shape, []).append(chip)
    return [
        collate(same[first : first + size])
        for same in alike.values()
        for first in range(0, len(same), size)
    ]


def plan(scene: Scene, asked: argparse.Namespace) -> dict[str, object]:
    """The plan that this machine is fastest with."""
    made = inputs(scene, asked.area)
    windows = windows_of(made)
    (example,) = batches(made, windows[:1], 1)
    chosen = choose_plan(made.model, Wish(compiled="no"), example, len(windows))
    return {"plan": chosen.plan.to_json(), "notes": list(chosen.notes), "windows": len(windows)}


def forward(scene: Scene, asked: argparse.Namespace) -> dict[str, object]:
    """Seconds of the bare forward passes of a map's windows, from a share of them."""
    made, how = inputs(scene, asked.area), settings(asked).plan
    windows = windows_of(made)
    some = windows[:: max(len(windows) // asked.windows, 1)]
    predictor = Predictor(made.model, how, asked.threads)
    seconds = pixels = 0.0
    warm = batches(made, some[: asked.threads], how.batch)
    _run(predictor, warm)
    rest = iter(some)
    while group := list(islice(rest, GROUP * how.batch)):
        ready = batches(made, group, how.batch)
        start = time.perf_counter()
        _run(predictor, ready)
        seconds += time.perf_counter() - start
        pixels += sum(w.shape.rows * w.shape.cols for w in group)
    total = sum(w.shape.rows * w.shape.cols for w in windows)
    return {"seconds": seconds * total / pixels, "measured": seconds, "windows": len(some)}


def _run(predictor: Predictor, ready: Sequence[Batch]) -> None:
    for pending in [predictor.begin(batch) for batch in ready]:
        pending.result()


def classes(scene: Scene, asked: argparse.Namespace) -> dict[str, object]:
    """A map of classes alone."""
    return _mapped(scene, asked, [Classes(TASK)])


def probabilities(scene: Scene, asked: argparse.Namespace) -> dict[str, object]:
    """A map of classes, and of the probability of each."""
    return _mapped(scene, asked, class_outputs(TASK))


def _mapped(
    scene: Scene, asked: argparse.Namespace, outputs: Sequence[Output]
) -> dict[str, object]:
    made = inputs(scene, asked.area)
    start = time.perf_counter()
    write_rasters(made, settings(asked), outputs, asked.out, _quiet, workers(asked))
    seconds, peak = time.perf_counter() - start, peak_gb()
    with rasterio.open(asked.out / "map.tif") as file:
        corner = file.read(1, window=((0, 1024), (0, 1024)))
    sizes = {path.name: path.stat().st_size / 1e6 for path in sorted(asked.out.glob("*.tif"))}
    right = accuracy(corner, 0, 0)
    return {"seconds": seconds, "peak_gb": peak, "accuracy": right, "mb": sizes}


def workers(asked: argparse.Namespace):
    return workers_at(asked.scheduler) if asked.scheduler else None


def seam(scene: Scene, asked: argparse.Namespace) -> dict[str, object]:
    """How much more probabilities jump where windows meet than elsewhere."""
    made = inputs(scene, asked.area)
    write_rasters(made, settings(asked), [Values(TASK.names)], asked.out, _quiet)
    shares = _read(asked.out / "value.tif")
    axis = layout_of(made.cube.shape, tiling_for(reach_of(made.model), WINDOW, OVERLAP)).rows
    borders = borders_of(axis)
    jumps = np.concatenate(
        [_jumps(shares, borders, 1)[None], _jumps(shares, borders, 2)[None]]
    ).mean(axis=0)
    return {"seam": float(jumps[0] / jumps[1]), "at": float(jumps[0]), "elsewhere": float(jumps[1])}


def borders_of(axis: Axis) -> NDArray[np.intp]:
    """The pixels before which a window begins or ends: its borders, and where a blend ends."""
    inner = {*axis.starts[1:], *axis.ends[:-1]}
    return np.array(sorted(inner), np.intp)


def _jumps(
    shares: NDArray[np.float32], borders: NDArray[np.intp], axis: int
) -> NDArray[np.float64]:
    """Mean absolute step from pixel to pixel along an axis: across borders, and elsewhere."""
    steps = np.nanmean(np.abs(np.diff(shares, axis=axis)), axis=(0, 3 - axis), dtype=np.float64)
    there = np.zeros(len(steps), np.bool_)
    there[borders - 1] = True
    return np.array([steps[there].mean(), steps[~there].mean()])


def exact(scene: Scene, asked: argparse.Namespace) -> dict[str, object]:
    """Most that an exact map differs from the model over the whole area at once, in fp32."""
    made = inputs(scene, asked.area)
    how = replace(MapSettings(WINDOW, OVERLAP), exact=True)
    start = time.perf_counter()
    write_rasters(made, how, [Values(TASK.names)], asked.out, _quiet)
    seconds = time.perf_counter() - start
    shape = made.cube.shape
    (whole,) = batches(made, [Window(0, 0, shape)], 1)
    wanted = made.model.probabilities(whole)[0].numpy()
    found = _read(asked.out / "value.tif")
    assert (np.isnan(found) == np.isnan(wanted)).all()
    far = float(np.nanmax(np.abs(found - wanted)))
    return {"exact_max_abs": far, "seconds": seconds, "levels": LEVELS}


def _read(path: Path) -> NDArray[np.float32]:
    with rasterio.open(path) as file:
        return file.read()


def _quiet(done: int, total: int, detail: str = "") -> None:
    """Nobody watches."""


STEPS: dict[str, Callable[[Scene, argparse.Namespace], dict[str, object]]] = {
    step.__name__: step for step in (plan, forward, classes, probabilities, seam, exact)
}


def peak_gb() -> float:
    """Most memory that this process has taken so far, as Linux counts it for the program itself;
    what `getrusage` says includes the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("folder", type=Path, help="of the scene")
    parser.add_argument("size", type=int, help="of the scene")
    parser.add_argument("--area", type=int, help="pixels, both ways, that are mapped")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--windows", type=int, default=400, help="for the forward passes")
    parser.add_argument("--plan", help="as JSON")
    parser.add_argument("--part", type=int, default=PART, help="pixels, both ways, of a part")
    parser.add_argument("--scheduler", help="address of a dask scheduler")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.area = asked.area or asked.size
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
    found = STEPS[asked.step](Scene(asked.folder, asked.size), asked)
    print(json.dumps({"peak_gb": peak_gb(), **found}))


if __name__ == "__main__":
    main()
