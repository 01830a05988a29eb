"""Labels that are numbers: a biomass at a point, a height in a polygon."""

from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import MergeAlg
from rasterio.features import rasterize

from earthloom.chips.label_attributes import Judge
from earthloom.chips.label_dates import Period
from earthloom.chips.label_report import LabelReport
from earthloom.chips.label_vector import VectorLabels
from earthloom.errors import LabelError
from earthloom.project import Labels as LabelSettings
from earthloom.sample import UNLABELLED
from earthloom.sample.target import PixelValues


@dataclass(frozen=True)
class Numbers:
    """The label column holds numbers; fulfils `Meaning`."""

    ignored: tuple[float, ...] = ()
    """Numbers that stand for none, such as -9999."""
    fallback: int = UNLABELLED
    """There is no number of pixels that nothing labels."""

    @staticmethod
    def of(settings: LabelSettings) -> "Numbers":
        """What the project says; LabelError for a value to ignore that is no number."""
        given = settings.ignore if "ignore" in settings.model_fields_set else ()
        try:
            return Numbers(tuple(float(value) for value in given))
        except ValueError as error:
            raise LabelError(f"labels.ignore: {error}; the labels are numbers") from error

    def read(self, column: pd.Series, path: Path, judge: Judge, before: int) -> NDArray[np.float32]:
        """Numbers (N,); text and infinite numbers are errors, an empty cell is broken, see
        `Judge`."""
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        empty = column.isna().to_numpy() | (column.astype(str).str.strip() == "").to_numpy()
        wrong = ~empty & ~np.isfinite(numbers)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise LabelError(
                f"feature {before + at + 1} of the labels {path} has '{column.iloc[at]}' in column "
                f"'{column.name}', which is no number; a map of numbers (task.kind pixel-value) "
                "needs a column of numbers, and one of classes needs 'classes'"
            )
        judge.broken(empty, "value", f"has no number in column '{column.name}'")
        judge.skip(np.isin(numbers, self.ignored), "value")
        return np.where(empty, np.nan, numbers).astype(np.float32)


@dataclass(frozen=True)
class Valued:
    """Numbers of the pixels of a grid."""

    values: NDArray[np.float32]
    """(H, W), NaN where none is known."""
    unit: str

    @property
    def target(self) -> PixelValues:
        """As a chip holds them."""
        return PixelValues(self.values, self.unit)


@dataclass(frozen=True)
class VectorValues:
    """Features with a number each.

    A point gives its number to its pixel, a line to those that it touches, a polygon to those whose
    centre it holds. Where several lie on a pixel, it has their mean by weight; features of weight
    0 give nothing.
    """

    features: VectorLabels
    """Whose `code` is the number."""
    unit: str

    @property
    def report(self) -> LabelReport:
        """What became of the features that were read."""
        return self.features.report

    @property
    def table(self) -> gpd.GeoDataFrame:
        """All features, columns `geometry` and `code`: the number."""
        return self.features.table

    def to(self, box: GeoBox) -> "VectorValues":
        """The same labels in the CRS of a grid."""
        return replace(self, features=self.features.to(box))

    def during(self, period: Period | None) -> "VectorValues":
        """Those that are true on a day of a period; None is all times."""
        return replace(self, features=self.features.during(period))

    def onto(self, box: GeoBox) -> NDArray[np.float32]:
        """Numbers (H, W) on a grid, NaN where none is known."""
        return self.burn(box).values

    def burn(self, box: GeoBox) -> Valued:
        """The same, with their unit."""
        here = self.features.to(box)
        shape = (box.shape.y, box.shape.x)
        total, weight = np.zeros(shape), np.zeros(shape)
        pixel, given = here.points.labelled(box, here.period, here.buffer_on(box))
        size = total.size
        total += np.bincount(pixel, given.code * _exact(given.weight), size).reshape(shape)
        weight += np.bincount(pixel, given.weight, size).reshape(shape)
        for shapes, some, touched in here.shapes_near(box):
            amounts = some.code * _exact(some.weight), _exact(some.weight)
            for plane, amount in zip((total, weight), amounts, strict=True):
                plane += rasterize(
                    list(zip(shapes, amount.tolist(), strict=True)),
                    out_shape=shape,
                    transform=box.affine,
                    all_touched=touched,
                    merge_alg=MergeAlg.add,
                    dtype=np.float64,
                )
        known = weight > 0
        values = np.full(shape, np.nan, np.float32)
        values[known] = total[known] / weight[known]
        return Valued(values, self.unit)


def _exact(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    return weight.astype(np.float64)
