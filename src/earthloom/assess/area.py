"""The assessment of a map by a probability sample of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from earthloom.assess.estimate import Estimate, Interval, estimate, interval_json
from earthloom.assess.sample import Sample, rows_at, write_points
from earthloom.assess.strips import opened_onto, strips_of
from earthloom.chips.labels import read_label_table
from earthloom.errors import LabelError
from earthloom.project import LandClass
from earthloom.stages import canonical_json
from earthloom.tasks import PixelClasses
from earthloom.tasks.class_scores import Confusion, confusion_of

SAMPLE = "sample.gpkg"
ACCURACY = "accuracy.json"
REFERENCE = "reference"
"""Column of the sample that holds the true class; empty until an interpreter has filled it in."""


@dataclass(frozen=True)
class Truth:
    """What a simulated world knows of a map, everywhere."""

    scores: Confusion
    area_ha: tuple[float, ...]
    """True area of each class within the map."""


def reference_codes(
    path: Path, points: gpd.GeoDataFrame, classes: tuple[LandClass, ...]
) -> NDArray[np.uint8]:
    """The true class of each sample point, from a raster of codes or from the filled-in sample."""
    if not path.exists():
        raise LabelError(f"the reference {path} does not exist")
    if path.suffix.lower() in (".tif", ".tiff", ".vrt"):
        return _from_raster(path, points)
    return _from_sample(path, points, classes)


def write_sample(
    path: Path, sample: Sample, codes: NDArray[np.uint8] | None, task: PixelClasses
) -> None:
    """Writes the sample as a GeoPackage: map class and reference class of every point."""
    names = dict(zip(task.codes, task.names))
    table = sample.points.copy()
    table["map_class"] = [names[code] for code in table.map_code]
    table[REFERENCE] = "" if codes is None else [names.get(int(code), "") for code in codes]
    write_points(path, table)


def estimate_from(sample: Sample, reference: NDArray[np.uint8], task: PixelClasses) -> Estimate:
    """Accuracies and areas; LabelError if a point has no reference class."""
    missing = ~np.isin(reference, task.codes)
    if missing.any():
        raise LabelError(
            f"{int(missing.sum())} of {len(reference)} sample points have no reference class, the "
            f"first at row {sample.points.row.iloc[int(np.argmax(missing))]}, column "
            f"{sample.points.col.iloc[int(np.argmax(missing))]} of the map"
        )
    counts = confusion_of(sample.points.map_code.to_numpy(np.uint8), reference, task.codes)
    pixels = np.array([sample.stratum_pixels.get(code, 0) for code in task.codes])
    return estimate(counts, pixels, sample.pixel_area_ha)


def truth_of(map_path: Path, truth_path: Path, task: PixelClasses, pixel_area_ha: float) -> Truth:
    """The whole map against a raster of the truth, strip by strip."""
    total = np.zeros((len(task.codes),) * 2, np.int64)
    with rasterio.open(map_path) as mapped, opened_onto(truth_path, mapped) as truth:
        for window in strips_of(mapped):
            strip = (mapped.read(1, window=window), truth.read(1, window=window))
            total += confusion_of(*strip, task.codes)
    return Truth(Confusion(total), tuple((total.sum(axis=0) * pixel_area_ha).tolist()))


def accuracy_json(found: Estimate, task: PixelClasses, truth: Truth | None) -> dict[str, Any]:
    """All figures of an assessment as JSON values."""

    def by_class(intervals: tuple[Interval, ...]) -> dict[str, dict[str, float | None]]:
        return {n: interval_json(each) for n, each in zip(task.names, intervals)}

    figures: dict[str, Any] = {
        "classes": list(task.names),
        "sample_counts": found.counts.tolist(),
        "area_shares": found.shares.tolist(),
        "overall_accuracy": interval_json(found.overall),
        "users_accuracy": by_class(found.users),
        "producers_accuracy": by_class(found.producers),
        "area_ha": by_class(found.area_ha),
        "mapped_area_ha": dict(zip(task.names, found.mapped_ha)),
    }
    if truth is not None:
        inside = [bool(i.low <= area <= i.high) for i, area in zip(found.area_ha, truth.area_ha)]
        figures["truth"] = {
            "overall_accuracy": truth.scores.accuracy,
            "confusion": truth.scores.matrix.tolist(),
            "area_ha": dict(zip(task.names, truth.area_ha)),
            "area_within_interval": dict(zip(task.names, inside)),
        }
    return figures


def write_accuracy(path: Path, figures: dict[str, Any]) -> None:
    """Writes the figures."""
    path.write_text(canonical_json(figures), encoding="utf-8")


def read_accuracy(path: Path) -> dict[str, Any]:
    """Reads what `write_accuracy` wrote."""
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def _from_raster(path: Path, points: gpd.GeoDataFrame) -> NDArray[np.uint8]:
    try:
        with rasterio.open(path) as source:
            there = points.to_crs(source.crs).geometry
            values = [value[0] for value in source.sample(zip(there.x, there.y))]
    except RasterioError as error:
        raise LabelError(f"the reference {path} cannot be read: {error}") from error
    return np.asarray(values, np.uint8)


def _from_sample(
    path: Path, points: gpd.GeoDataFrame, classes: tuple[LandClass, ...]
) -> NDArray[np.uint8]:
    """The interpreter's classes, found again by the points' places."""
    table = read_label_table(path, REFERENCE, classes)
    return np.asarray(table.code.to_numpy()[rows_at(path, table, points)], np.uint8)
