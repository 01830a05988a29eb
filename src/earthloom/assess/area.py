"""The assessment of a map by a probability sample of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from earthloom.assess.estimate import Estimate, Interval, estimate
from earthloom.assess.sample import Sample
from earthloom.assess.scores import Scores, confusion_of
from earthloom.chips.labels import read_label_table
from earthloom.errors import LabelError
from earthloom.project import LandClass
from earthloom.stages import canonical_json
from earthloom.tasks import PixelClasses

SAMPLE = "sample.gpkg"
ACCURACY = "accuracy.json"
REFERENCE = "reference"
"""Column of the sample that holds the true class; empty until an interpreter has filled it in."""

_ROWS = 512


@dataclass(frozen=True)
class Truth:
    """What a simulated world knows of a map, everywhere."""

    scores: Scores
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
    # GeoPackage and GDAL would write the time of day into the file.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
    table.to_file(path, layer="sample", driver="GPKG")


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
    with (
        rasterio.open(map_path) as mapped,
        rasterio.open(truth_path) as source,
        WarpedVRT(
            source,
            crs=mapped.crs,
            transform=mapped.transform,
            width=mapped.width,
            height=mapped.height,
            resampling=Resampling.nearest,
        ) as truth,
    ):
        for row in range(0, mapped.height, _ROWS):
            rows = min(_ROWS, mapped.height - row)
            window = RasterWindow(0, row, mapped.width, rows)
            strip = (mapped.read(1, window=window), truth.read(1, window=window))
            total += confusion_of(*strip, task.codes)
    return Truth(Scores(total), tuple((total.sum(axis=0) * pixel_area_ha).tolist()))


def accuracy_json(found: Estimate, task: PixelClasses, truth: Truth | None) -> dict[str, Any]:
    """All figures of an assessment as JSON values."""

    def by_class(intervals: tuple[Interval, ...]) -> dict[str, dict[str, float | None]]:
        return {n: _interval_json(each) for n, each in zip(task.names, intervals)}

    figures: dict[str, Any] = {
        "classes": list(task.names),
        "sample_counts": found.counts.tolist(),
        "area_shares": found.shares.tolist(),
        "overall_accuracy": _interval_json(found.overall),
        "users_accuracy": by_class(found.users),
        "producers_accuracy": by_class(found.producers),
        "area_ha": by_class(found.area_ha),
        "mapped_area_ha": dict(zip(task.names, found.mapped_ha)),
    }
    if truth is not None:
        inside = [bool(i.low <= area <= i.high) for i, area in zip(found.area_ha, truth.area_ha)]
        figures["truth"] = {
            "overall_accuracy": truth.scores.accuracy,
            "confusion": truth.scores.confusion.tolist(),
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
    table = read_label_table(path, REFERENCE, classes).to_crs(points.crs)
    known = {
        (round(x, 2), round(y, 2)): code
        for x, y, code in zip(table.geometry.x, table.geometry.y, table.code)
    }
    keys = [(round(x, 2), round(y, 2)) for x, y in zip(points.geometry.x, points.geometry.y)]
    missing = [key for key in keys if key not in known]
    if missing:
        raise LabelError(
            f"the reference {path} lacks {len(missing)} of {len(keys)} sample points; it was made "
            "for another map or another design: fill in the new sample.gpkg"
        )
    return np.asarray([known[key] for key in keys], np.uint8)


def _interval_json(interval: Interval) -> dict[str, float | None]:
    return {k: None if pd.isna(v) else float(v) for k, v in asdict(interval).items()}
