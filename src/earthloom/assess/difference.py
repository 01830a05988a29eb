"""Mean, total and accuracy of a map of numbers from a simple random sample of its pixels."""

import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from earthloom.assess.estimate import Interval, interval_json, or_none
from earthloom.assess.sample import rows_at
from earthloom.assess.strips import opened_onto, strips_of
from earthloom.errors import LabelError

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class DifferenceEstimate:
    """What a sample says of a map of numbers, in the map's unit."""

    mean: Interval
    """Of the mapped area."""
    bias: Interval
    """Map less reference."""
    rmse: Interval
    mae: float
    r2: float
    """NaN where the reference is the same everywhere."""
    coverage: Interval | None
    """Share of references within the map's interval; None for a map without one."""
    reference_only: Interval
    """The mean by the sample's references alone, without the map's help."""


def difference_estimate(
    mapped: Numbers, reference: Numbers, map_mean: float, pixels: int
) -> DifferenceEstimate:
    """Estimates with 95 % intervals, from map and reference (n,) at points drawn with equal
    probability without replacement from `pixels`, over which the map's mean is `map_mean`.

    The mean is the difference estimator (Särndal, Swensson and Wretman 1992, section 6.3; Stehman
    2009): the map's own mean less its mean error in the sample. It holds whatever the model is
    worth, and is the more precise the better the map. Intervals are of Student's t; that of the
    RMSE is of the
    mean squared error. LabelError for fewer than two points.
    """
    if len(mapped) < 2:
        raise LabelError(f"a mean with an interval takes two sample points, not {len(mapped)}")
    error = mapped - reference
    bias = _mean(error, pixels)
    squared = _mean(error**2, pixels)
    spread = float(((reference - reference.mean()) ** 2).sum())
    return DifferenceEstimate(
        mean=Interval(map_mean - bias.value, map_mean - bias.high, map_mean - bias.low),
        bias=bias,
        rmse=Interval(*(math.sqrt(max(each, 0.0)) for each in asdict(squared).values())),
        mae=float(np.abs(error).mean()),
        r2=1 - float((error**2).sum()) / spread if spread > 0 else math.nan,
        coverage=None,
        reference_only=_mean(reference, pixels),
    )


def coverage_of(low: Numbers, high: Numbers, reference: Numbers) -> Interval:
    """Share of references within their interval, with Wilson's 95 % interval."""
    from scipy.stats import binomtest

    inside = int(((low <= reference) & (reference <= high)).sum())
    found = binomtest(inside, len(reference)).proportion_ci(method="wilson")
    return Interval(inside / len(reference), float(found.low), float(found.high))


def _mean(values: Numbers, pixels: int) -> Interval:
    """The mean over a population of `pixels`, from a simple random sample without replacement."""
    # It takes a second to import, and no other verb needs it.
    from scipy.stats import t

    count = len(values)
    variance = (1 - count / pixels) * float(values.var(ddof=1)) / count
    reach = float(t.ppf(0.975, count - 1)) * math.sqrt(max(variance, 0.0))
    mean = float(values.mean())
    return Interval(mean, mean - reach, mean + reach)


def total_unit(unit: str) -> str | None:
    """The unit of a sum over an area in hectares: `t` for `t/ha`; None where sums mean nothing."""
    for ending in ("/ha", " per ha", " ha-1", " ha⁻¹"):
        if unit.endswith(ending):
            return unit.removesuffix(ending).strip() or None
    return None


def scaled(interval: Interval, factor: float) -> Interval:
    """An interval in another unit."""
    return Interval(interval.value * factor, interval.low * factor, interval.high * factor)


def bands_at(map_path: Path, points: gpd.GeoDataFrame) -> Numbers:
    """(bands, n) what a map says at its sample points."""
    found: list[Numbers] = []
    with rasterio.open(map_path) as source:
        for row, col in zip(points.row.tolist(), points.col.tolist(), strict=True):
            pixel = source.read(window=RasterWindow(col, row, 1, 1))
            found.append(pixel[:, 0, 0].astype(np.float64))
    return np.stack(found, axis=1)


def reference_values(path: Path, points: gpd.GeoDataFrame, column: str) -> Numbers:
    """(n,) the true value at each sample point, from a raster of values or from the filled-in
    sample; LabelError if one is not known."""
    if path.suffix.lower() in (".tif", ".tiff", ".vrt"):
        values = _from_raster(path, points)
    else:
        values = _from_sample(path, points, column)
    unknown = ~np.isfinite(values)
    if unknown.any():
        at = int(np.argmax(unknown))
        raise LabelError(
            f"{int(unknown.sum())} of {len(values)} sample points have no number in the reference "
            f"{path}, the first at row {points.row.iloc[at]}, column {points.col.iloc[at]} of the "
            "map"
        )
    return values


def _from_raster(path: Path, points: gpd.GeoDataFrame) -> Numbers:
    try:
        with rasterio.open(path) as source:
            there = points.to_crs(source.crs).geometry
            found = [value[0] for value in source.sample(zip(there.x, there.y), masked=True)]
            scale, offset = source.scales[0], source.offsets[0]
    except RasterioError as error:
        raise LabelError(f"the reference {path} cannot be read: {error}") from error
    values = [math.nan if each is np.ma.masked else float(each) for each in found]
    return np.asarray(np.asarray(values) * scale + offset, np.float64)


def _from_sample(path: Path, points: gpd.GeoDataFrame, column: str) -> Numbers:
    """The interpreter's numbers, found again by the points' places."""
    table = gpd.read_file(path)
    if column not in table:
        raise LabelError(f"the reference {path} has no column '{column}'")
    values = table[column].iloc[rows_at(path, table, points)]
    return np.asarray([_number(value, path, column) for value in values])


def _number(value: object, path: Path, column: str) -> float:
    try:
        return math.nan if value in (None, "") else float(str(value))
    except ValueError as error:
        raise LabelError(
            f"the reference {path} has '{value}' in column '{column}', which is no number"
        ) from error


@dataclass(frozen=True)
class Known:
    """A map's pixels against the truth, everywhere, in the map's unit."""

    pixels: int
    """That the map says something of."""
    map_mean: float
    true_mean: float
    """NaN without a truth."""
    rmse: float


def known_of(map_path: Path, truth_path: Path | None) -> Known:
    """Means over the whole map, strip by strip, and of the truth where there is one."""
    pixels, sums = 0, np.zeros(3)
    with (
        rasterio.open(map_path) as mapped,
        nullcontext() if truth_path is None else opened_onto(truth_path, mapped) as truth,
    ):
        for window in strips_of(mapped):
            values = mapped.read(1, window=window).astype(np.float64)
            seen = ~np.isnan(values)
            pixels += int(seen.sum())
            sums[0] += values[seen].sum()
            if truth is not None:
                true = truth.read(1, window=window).astype(np.float64)[seen]
                sums[1:] += true.sum(), ((values[seen] - true) ** 2).sum()
    means = sums / max(pixels, 1)
    if truth_path is None:
        means[1:] = math.nan
    return Known(pixels, float(means[0]), float(means[1]), math.sqrt(means[2]))


def estimate_json(found: DifferenceEstimate) -> dict[str, Any]:
    """Accuracy of the map as `accuracy.json` has it, in the keys of an assessment by folds."""
    figures: dict[str, Any] = {
        "rmse": found.rmse.value,
        "mae": found.mae,
        "bias": found.bias.value,
        "r2": or_none(found.r2),
        "coverage": None if found.coverage is None else found.coverage.value,
    }
    ranges = {"rmse": found.rmse, "bias": found.bias}
    if found.coverage is not None:
        ranges["coverage"] = found.coverage
    return figures | {"intervals": {key: interval_json(each) for key, each in ranges.items()}}
