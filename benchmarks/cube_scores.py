"""How well a cube mends what is wrong with scenes, against the truth of simulated archives.

- masks: what the cube hides against what really hid the ground, with a quality band that is wrong
  on 5 % of the clear land and of the clouds; as the product says it, dilated, with a detector;
- harmonisation: Sentinel-2 against Landsat of near dates, and each against the truth seen from the
  zenith, where reflectance hangs on the directions of sun and view and on slopes;
- co-registration: what is left of errors of place of 0.7 pixels.

Masks were chosen on seed 0 (`--choose` shows how); the figures are means over other seeds.

    python benchmarks/cube_scores.py [--seeds 1,2,3] [--folder DIR] [--choose]
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling, reproject
from scipy.ndimage import distance_transform_edt

from earthloom.archive import Scene, StaticCatalog
from earthloom.archive.simulated import Faults, SimulationSpec, simulate
from earthloom.archive.simulated_index import (
    ItemFaults,
    read_faults,
    true_grid,
    truth_reflectance,
)
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import plan_layers
from earthloom.cube.inspect import inspect_scenes
from earthloom.cube.observe import Failures, read_scene, read_stack
from earthloom.cube.plan import LayerPlan
from earthloom.cube.read import Reader
from earthloom.project import load_project

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIZE_M, ITEMS = 3000, 24
SENTINEL2, LANDSAT, HEIGHTS = "sentinel-2-l2a", "landsat-oli-c2-l2", "cop-dem-glo-30"
ARCHIVES = {
    "mask": (Faults(quality_errors=0.05), ITEMS),
    "light": (Faults(brdf=True, terrain=True), ITEMS),
    "shift": (Faults(shift_px=0.7), 0),
}
"""By what is measured: its faults, and its Landsat items."""
BANDS = {
    SENTINEL2: ("B02", "B03", "B04", "B8A", "B11", "B12"),
    LANDSAT: ("blue", "green", "red", "nir08", "swir16", "swir22"),
}
"""The bands that both have."""
STEPS = ["topography", "nbar", "bandpass"]
NEAR_DAYS = 8
"""Days, at most, between two scenes that are compared."""
CLEAR_M = 60.0
"""Metres from what really hid the ground, at least, of pixels whose reflectance is compared."""
LEAST_PIXELS = 200
"""Of a pair of scenes, with fewer of which it tells nothing."""
PIXEL_M = 10.0
CLEAR, UNSEEN = 0, 255
"""Values of the true cloud masks."""

Choice = Mapping[str, Any]


def _around(metres: float) -> Choice:
    return {"dilate_m": dict.fromkeys(("cloud", "cirrus", "shadow"), metres)}


def _hiding_more(*more: str) -> Choice:
    return {"hide": ["fill", "defective", "saturated", "cloud", "cirrus", "shadow", "snow", *more]}


def _by_meaning(cirrus: float, others: float = 0.0) -> Choice:
    return {"dilate_m": {"cirrus": cirrus, "cloud": others, "shadow": others}}


DETECTOR: Choice = {"detector": "potential-clouds"}
REPORTED: Mapping[str, Choice] = {
    "quality band": {},
    "dilated 10 m": _around(10),
    "detector": DETECTOR,
    "detector, cirrus 20 m": DETECTOR | _by_meaning(20),
}
RECOMMENDED = "detector, cirrus 20 m"
"""The best of `TRIED` on seed 0; the same for both sensors."""
TRIED: Mapping[str, Choice] = {
    **REPORTED,
    **{f"dilated {metres} m": _around(metres) for metres in (20, 40, 60, 100, 150)},
    "cirrus 20 m": _by_meaning(20),
    "unclassified": _hiding_more("unclassified"),
    "detector, unclassified": DETECTOR | _hiding_more("unclassified"),
    "detector 0.3": DETECTOR | {"least_probability": 0.3},
    **{f"detector, {m} m": DETECTOR | _around(m) for m in (10, 20, 40, 60)},
    "detector, cirrus 40 m": DETECTOR | _by_meaning(40),
    "detector, cirrus 60 m": DETECTOR | _by_meaning(60),
    "detector, cirrus 20 m, 10 m": DETECTOR | _by_meaning(20, 10),
}
"""Masks that are compared on seed 0 alone."""


@dataclass(frozen=True)
class Case:
    """A project on an archive, ready to be read."""

    reader: Reader
    scenes: Sequence[Scene]
    plans: Mapping[str, LayerPlan]
    """One layer of each sensor."""
    items: Mapping[str, ItemFaults]


def archive_of(folder: Path, seed: int, name: str) -> Path:
    """The archive of a seed for one measurement, made where it is not there yet."""
    faults, landsat = ARCHIVES[name]
    spec = SimulationSpec(
        seed=seed,
        size_m=SIZE_M,
        sentinel2_items=ITEMS,
        sentinel1_items=0,
        landsat_items=landsat,
        points_per_class=0,
        polygons_per_class=0,
        faults=faults,
    )
    return simulate(folder / f"seed{seed}" / name, spec).parent


def open_case(archive: Path, sensors: Sequence[Choice], grid: Choice) -> Case:
    """What the verb `cube` would read of these sensors, scene by scene."""
    settings = {
        "name": "scores",
        "archive": {"kind": "catalog", "path": str(archive / "catalog.json")},
        "area": str(archive / "area.geojson"),
        "dates": {"start": "2023-01-01", "end": "2023-12-31"},
        "grid": dict(grid),
        "sensors": [{"every": "date", **sensor} for sensor in sensors],
        "classes": [
            {"code": 1, "name": "a", "colour": "#000000"},
            {"code": 2, "name": "b", "colour": "#ffffff"},
        ],
        "model": {"name": "ridge"},
        "assess": {"method": "sample"},
    }
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "project.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        project = load_project(file)
        catalog = StaticCatalog(archive / "catalog.json")
        (area,) = areas_of(project, catalog)
    scenes = scenes_of(project, catalog, area)
    reader = Reader(str(archive))
    found = inspect_scenes(reader, project, area.box, scenes, lambda *_: None)
    plans = plan_layers(project, area.box, scenes, found.notes)
    by_sensor = {plan.sensor.name: plan for plan in plans if not plan.sensor.static}
    return Case(reader, scenes, by_sensor, read_faults(archive).items)


def true_mask(archive: Path, item: ItemFaults, box: GeoBox) -> NDArray[np.uint8]:
    """What really lay over the ground, (H, W); UNSEEN beyond the scene."""
    assert item.cloud_truth is not None
    with (
        rasterio.open(archive / item.cloud_truth) as file,
        WarpedVRT(
            file,
            crs=str(box.crs),
            transform=box.affine,
            width=box.shape.x,
            height=box.shape.y,
            src_nodata=UNSEEN,
            nodata=UNSEEN,
        ) as warped,
    ):
        return warped.read(1)


def f1(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """F1, precision and recall of hits, false alarms and misses."""
    hits, false, missed = (int(count) for count in counts)
    return (
        2 * hits / max(2 * hits + false + missed, 1),
        hits / max(hits + false, 1),
        hits / max(hits + missed, 1),
    )


def mask_score(archive: Path, sensor: str, choice: Choice) -> tuple[float, float, float]:
    """F1, precision and recall over all pixels of all scenes of a sensor.

    Pixels are hidden where the cube has nothing, and truly hidden under cloud, thin cloud and
    shadow. What a scene does not show is left out.
    """
    band = BANDS[sensor][2]
    grid = {"resolution": 10} if sensor == SENTINEL2 else {"resolution": 30, "anchor": [15, 15]}
    case = open_case(archive, [{"name": sensor, "bands": [band], "mask": dict(choice)}], grid)
    plan, failures, counts = case.plans[sensor], Failures(), np.zeros(3, np.int64)
    for step in plan.steps:
        stack = read_stack(case.reader, plan, step, plan.box, failures)
        (scene,) = step.scenes
        truth = true_mask(archive, case.items[scene.id], plan.box)
        shown, hidden, really = truth != UNSEEN, ~stack.seen[0], truth != CLEAR
        counts += [
            np.count_nonzero(shown & each)
            for each in (hidden & really, hidden & ~really, ~hidden & really)
        ]
    assert not failures.reasons, failures.reasons
    return f1(counts)


def true_reflectance(archive: Path, item: ItemFaults, box: GeoBox) -> Floats:
    """(C, H, W) as Landsat would have measured it from the zenith, under the scene's own sun."""
    home = true_grid(archive)
    truth = truth_reflectance(archive, item.item, BANDS[LANDSAT], "oli", 90 - item.sun_elevation)
    out = np.full((len(truth), *box.shape), np.nan, np.float32)
    reproject(
        truth,
        out,
        src_transform=home.transform,
        src_crs=home.crs,
        dst_transform=box.affine,
        dst_crs=str(box.crs),
        dst_nodata=np.nan,
        resampling=Resampling.average,
    )
    return out


@dataclass(frozen=True, eq=False)
class Look:
    """A scene as it is read without any step and with all, and as it should be."""

    day: int
    before: Floats
    after: Floats
    truth: Floats
    clear: Mask
    """(H, W): seen in both, and truly clear."""


def looks_of(archive: Path, sensor: str, plain: Case, mended: Case) -> list[Look]:
    """All scenes of a sensor."""
    looks, plans = [], (plain.plans[sensor], mended.plans[sensor])
    for step in plans[0].steps:
        (scene,) = step.scenes
        before, after = (
            read_scene(case.reader, plan, scene, plan.box)
            for case, plan in zip((plain, mended), plans)
        )
        item, box = plain.items[scene.id], plans[0].box
        open_sky = true_mask(archive, item, box) == CLEAR
        clear = distance_transform_edt(open_sky) * plans[0].pixel_m > CLEAR_M
        clear &= np.isfinite(before).all(axis=0) & np.isfinite(after).all(axis=0)
        if clear.sum() >= LEAST_PIXELS:
            truth = true_reflectance(archive, item, box)
            looks.append(Look(item.day, before, after, truth, clear))
    return looks


def band_rmse(differences: Sequence[Floats]) -> Floats:
    """(C,) of differences (C, N), all pixels alike."""
    return np.sqrt(np.mean(np.concatenate(differences, axis=1) ** 2, axis=1, dtype=np.float64))


def reflectance_scores(archive: Path) -> dict[str, Floats]:
    """RMSE by band, (C,), before and after: of the difference between the sensors, of the same
    less what truly changed between the two days, and of each sensor's difference to the truth."""
    grid = {"resolution": 30, "anchor": [15, 15]}
    sensors = [{"name": sensor, "bands": list(bands)} for sensor, bands in BANDS.items()]
    heights = {"name": HEIGHTS}
    plain = open_case(archive, [*sensors, heights], grid)
    mended = open_case(archive, [*(s | {"harmonise": STEPS} for s in sensors), heights], grid)
    looks = {sensor: looks_of(archive, sensor, plain, mended) for sensor in BANDS}
    scores: dict[str, Floats] = {}
    for when in ("before", "after"):
        for sensor, own in looks.items():
            scores[f"{sensor} {when}"] = band_rmse(
                [(getattr(a, when) - a.truth)[:, a.clear] for a in own]
            )
        raw, unchanged = [], []
        for a in looks[SENTINEL2]:
            for b in looks[LANDSAT]:
                both = a.clear & b.clear
                if abs(a.day - b.day) > NEAR_DAYS or both.sum() < LEAST_PIXELS:
                    continue
                apart = getattr(a, when) - getattr(b, when)
                raw.append(apart[:, both])
                unchanged.append((apart - (a.truth - b.truth))[:, both])
        scores[f"difference {when}"] = band_rmse(raw)
        scores[f"unchanged {when}"] = band_rmse(unchanged)
        scores["pairs"] = np.array([len(raw)], np.float32)
    return scores


def shift_scores(archive: Path) -> dict[str, float]:
    """How far images lie beside each other, in pixels of 10 m, as lengths: the RMSE over scenes.

    Alignment is relative, so the mean of what is left of aligned scenes is their common place; a
    scene that was not aligned lies off by its whole error.
    """
    sensor = {"name": SENTINEL2, "bands": [*BANDS[SENTINEL2][:3], "B08"]}
    case = open_case(archive, [sensor | {"harmonise": ["align"]}], {"resolution": 10})
    plan = case.plans[SENTINEL2]
    errors, left, told, seen = [], [], [], []
    for step in plan.steps:
        (scene,) = step.scenes
        item, moved = case.items[scene.id], plan.notes[scene.id].moved
        error = np.array([item.shift_east_m, item.shift_north_m]) / PIXEL_M
        found = np.array([moved.east, moved.north]) / PIXEL_M if moved else np.zeros(2)
        errors.append(error)
        left.append(error - found)
        told.append(moved is not None)
        pixels = read_scene(case.reader, plan, scene, plan.box)
        seen.append(float(np.isfinite(pixels).all(axis=0).mean()))
    known, weight = np.array(told), np.array(seen)
    rest = np.array(left)
    middle = rest[known].mean(axis=0)
    square = ((rest - middle) ** 2).sum(axis=1)
    before = ((np.array(errors) - np.mean(errors, axis=0)) ** 2).sum(axis=1)
    for scene_, seen_, told_, off in zip(plan.steps, seen, told, np.sqrt(square)):
        print(f"    {scene_.start}  seen {seen_:4.2f}  {'' if told_ else 'not '}told  {off:.3f} px")
    return {
        "shift_px": float(np.sqrt(square.mean())),
        "shift_px_before": float(np.sqrt(before.mean())),
        "shift_px_aligned": float(np.sqrt(square[known].mean())),
        "shift_px_by_pixels": float(np.sqrt((square * weight).sum() / weight.sum())),
        "shifts_refused": float((~known).sum()),
        "refused_seen": float(weight[~known].max(initial=0)),
        "items": float(len(rest)),
    }


def choose(folder: Path) -> None:
    """Compares masks on seed 0; no figure is made of it."""
    archive = archive_of(folder, 0, "mask")
    for name, choice in TRIED.items():
        print(f"  {name:30} F1, precision, recall  {_row(mask_score(archive, SENTINEL2, choice))}")


def _row(values: Sequence[float] | Floats) -> str:
    return "  ".join(f"{float(value):.4f}" for value in values)


def seed_scores(folder: Path, seed: int) -> dict[str, float]:
    """All figures of one seed; prints its tables."""
    print(f"seed {seed}: F1, precision, recall of masks")
    found: dict[str, float] = {}
    archive = archive_of(folder, seed, "mask")
    for sensor in BANDS:
        for name, choice in REPORTED.items():
            score = mask_score(archive, sensor, choice)
            found[f"{sensor}, {name}"] = score[0]
            print(f"  {sensor:18} {name:24} {_row(score)}")
    print(f"  RMSE of reflectance, {', '.join(BANDS[LANDSAT])}")
    light = reflectance_scores(archive_of(folder, seed, "light"))
    for name, rmse in light.items():
        found[name] = float(np.sqrt(np.mean(rmse**2))) if name != "pairs" else float(rmse[0])
        print(f"  {name:28} {_row(rmse)}   all {found[name]:.4f}")
    print("  what is left of errors of place")
    found |= shift_scores(archive_of(folder, seed, "shift"))
    return found


def scores(folder: Path, seeds: Sequence[int]) -> dict[str, float]:
    """The figures, means over seeds; archives are kept in `folder`.

    `reflectance_rmse` is that of the difference between the sensors over all bands, less what the
    truth says has changed between the days; `shift_px` counts scenes that were not aligned.
    """
    each = [seed_scores(folder, seed) for seed in seeds]
    mean = {name: statistics.fmean(one[name] for one in each) for name in each[0]}
    spread = {name: statistics.pstdev([one[name] for one in each]) for name in each[0]}
    print(f"mean over seeds {list(seeds)} +- standard deviation")
    for name in mean:
        print(f"  {name:44} {mean[name]:.4f} +- {spread[name]:.4f}")
    mask = f"{SENTINEL2}, {RECOMMENDED}"
    before, after = mean["unchanged before"], mean["unchanged after"]
    truth = [(mean[f"{sensor} before"], mean[f"{sensor} after"]) for sensor in (SENTINEL2, LANDSAT)]
    return {
        "mask_f1": round(mean[mask], 4),
        "mask_f1_spread": round(spread[mask], 4),
        "mask_f1_quality_band": round(mean[f"{SENTINEL2}, quality band"], 4),
        "reflectance_rmse_before": round(before, 5),
        "reflectance_rmse_after": round(after, 5),
        "rmse_ratio": round(after / before, 3),
        "truth_rmse_ratio_sentinel2": round(truth[0][1] / truth[0][0], 3),
        "truth_rmse_ratio_landsat": round(truth[1][1] / truth[1][0], 3),
        "shift_px": round(mean["shift_px"], 3),
        "shift_px_before": round(mean["shift_px_before"], 3),
        "shift_px_aligned": round(mean["shift_px_aligned"], 3),
        "shift_px_by_pixels": round(mean["shift_px_by_pixels"], 3),
        "shifts_refused": sum(one["shifts_refused"] for one in each),
        "shifts_asked": sum(one["items"] for one in each),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--folder", type=Path, help="where archives are kept between runs")
    parser.add_argument("--choose", action="store_true", help="compare masks on seed 0 first")
    asked = parser.parse_args()
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        if asked.choose:
            choose(folder)
        found = scores(folder, seeds)
    print(f"{time.perf_counter() - start:.0f} s")
    print(json.dumps({**found, "seeds": seeds}))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
