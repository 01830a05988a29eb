"""Labels that are a raster of class codes."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from earthloom.chips.label_burn import Burned
from earthloom.chips.label_dates import Period
from earthloom.chips.label_report import LabelReport
from earthloom.chips.label_vocabulary import IGNORE, Vocabulary
from earthloom.errors import LabelError
from earthloom.grid import crs_wkt
from earthloom.project import Labels as LabelSettings
from earthloom.sample import UNLABELLED


@dataclass(frozen=True)
class RasterLabels:
    """A raster of class codes."""

    path: Path
    vocabulary: Vocabulary
    grid: GeoBox | None = None
    """The grid of its pixels where the file itself has no georeference."""
    crs: str | None = None
    """Of its pixels, where the file says none."""
    report: LabelReport = field(default_factory=LabelReport)
    """Empty: pixels are not counted before they are read."""

    def during(self, period: Period | None) -> "RasterLabels":
        """The raster itself: it does not say when it is true."""
        return self

    def onto(self, box: GeoBox) -> NDArray[np.uint8]:
        """The nearest pixel's code. LabelError names a value that is no class of the project."""
        code = self.burn(box).code
        return np.where(code == IGNORE, UNLABELLED, code).astype(np.uint8)

    def burn(self, box: GeoBox) -> Burned:
        """The same, with `IGNORE` told from `UNLABELLED`; every label has the weight 1."""
        values, there = self._read(box)
        # Where the file says nothing its values mean nothing either.
        known = np.where(there, values, values[there].flat[0] if there.any() else 0)
        code = self.vocabulary.remap(known, f"the labels {self.path}")
        code = np.where(there, code, UNLABELLED).astype(np.uint8)
        classed = (code != UNLABELLED) & (code != IGNORE)
        burned = Burned(code, classed.astype(np.float32), np.zeros(code.shape, np.bool_))
        return burned.with_background(self.vocabulary.fallback)

    def _read(self, box: GeoBox) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Values (H, W) on a grid, and where the file has one that is not its nodata."""
        try:
            with (
                rasterio.open(self.path) as source,
                WarpedVRT(
                    source,
                    src_crs=crs_wkt(self.grid) if self.grid else self.crs or source.crs,
                    src_transform=self.grid.affine if self.grid else source.transform,
                    crs=crs_wkt(box),
                    transform=box.affine,
                    width=box.shape.x,
                    height=box.shape.y,
                    resampling=Resampling.nearest,
                    nodata=_fill(source.nodata, source.dtypes[0], self.vocabulary),
                ) as warped,
            ):
                values = warped.read(1)
                fill = warped.nodata
                return values, ~np.isnan(values) if np.isnan(fill) else values != fill
        except (RasterioError, ValueError) as error:
            words = " ".join(str(error).split())
            raise LabelError(f"the labels {self.path} cannot be read: {words}") from error


def read_raster(
    path: Path, settings: LabelSettings, vocabulary: Vocabulary, base: GeoBox
) -> RasterLabels:
    """Opens a raster for an area's base grid; LabelError if it does not say where it lies."""
    try:
        with rasterio.open(path) as source:
            georeferenced, shape = source.crs is not None, source.shape
    except RasterioError as error:
        raise LabelError(f"the labels {path} cannot be read: {error}") from error
    labels = RasterLabels(path, vocabulary)
    if settings.on_grid:
        check_shape(path, shape, base)
        return replace(labels, grid=base)
    if georeferenced:
        return labels
    if settings.crs is not None:
        return replace(labels, crs=settings.crs)
    raise LabelError(
        f"the labels {path} have no CRS; save them with one, or, if their pixels are those "
        "of the base grid, set 'on_grid: true' under 'labels'"
    )


def check_shape(path: Path, shape: tuple[int, int], base: GeoBox) -> None:
    """LabelError unless a raster has as many pixels as the base grid."""
    if shape != tuple(base.shape):
        raise LabelError(
            f"the labels {path} have {shape[0]} x {shape[1]} pixels, but the base grid has "
            f"{base.shape.y} x {base.shape.x}; with 'on_grid: true' they must be the same"
        )


def _fill(nodata: float | None, dtype: str, vocabulary: Vocabulary) -> float:
    """The value of pixels beyond a file: one that none of its classes has."""
    numbers = vocabulary.numbers()
    if UNLABELLED not in numbers:
        return UNLABELLED
    if nodata is not None:
        return nodata
    if np.dtype(dtype).kind == "f":
        return float("nan")
    limits = np.iinfo(dtype)
    return next(v for v in range(limits.max, 0, -1) if str(v) not in vocabulary.codes)
