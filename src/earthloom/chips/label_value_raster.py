"""Labels that are a raster of numbers, such as a canopy height model."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform

from earthloom.chips.label_dates import Period
from earthloom.chips.label_raster import check_shape
from earthloom.chips.label_report import LabelReport
from earthloom.chips.label_values import Numbers, Valued
from earthloom.errors import LabelError
from earthloom.grid import crs_wkt
from earthloom.project import Labels as LabelSettings

_FINER = 0.75
"""Pixels narrower than this part of the grid's are averaged."""


@dataclass(frozen=True)
class RasterValues:
    """A raster whose first band holds numbers, in what its scale and offset make of them.

    Pixels finer than the grid's are averaged; else the nearest one counts. What is NaN, infinite,
    the file's nodata or ignored is not known.
    """

    path: Path
    unit: str
    numbers: Numbers = Numbers()
    grid: GeoBox | None = None
    """The grid of its pixels where the file itself has no georeference."""
    crs: str | None = None
    """Of its pixels, where the file says none."""
    report: LabelReport = field(default_factory=LabelReport)
    """Empty: pixels are not counted before they are read."""

    def during(self, period: Period | None) -> "RasterValues":
        """The raster itself: it does not say when it is true."""
        return self

    def onto(self, box: GeoBox) -> NDArray[np.float32]:
        """Numbers (H, W) on a grid, NaN where none is known; LabelError for a damaged file."""
        try:
            with rasterio.open(self.path) as source:
                stored = self._stored(source, box)
                scale, offset = source.scales[0], source.offsets[0]
        except (RasterioError, ValueError) as error:
            words = " ".join(str(error).split())
            raise LabelError(f"the labels {self.path} cannot be read: {words}") from error
        values = stored * scale + offset
        return np.where(np.isfinite(values), values, np.nan).astype(np.float32)

    def burn(self, box: GeoBox) -> Valued:
        """The same, with their unit."""
        return Valued(self.onto(box), self.unit)

    def _stored(self, source: rasterio.DatasetReader, box: GeoBox) -> NDArray[np.float64]:
        """The file's own numbers (H, W), NaN where there is none."""
        own_crs = crs_wkt(self.grid) if self.grid else self.crs or source.crs
        own_transform = self.grid.affine if self.grid else source.transform
        ignored = self.numbers.ignored
        nodata = source.nodata if source.nodata is not None else (ignored[0] if ignored else np.nan)
        finer = self.grid is None and _is_finer(source, own_crs, box)
        with WarpedVRT(
            source,
            src_crs=own_crs,
            src_transform=own_transform,
            src_nodata=nodata,
            nodata=np.nan,
            crs=crs_wkt(box),
            transform=box.affine,
            width=box.shape.x,
            height=box.shape.y,
            resampling=Resampling.average if finer else Resampling.nearest,
            # Integers have no NaN, and averages of them are none.
            working_dtype="float64",
            dtype="float64",
        ) as warped:
            values: NDArray[np.float64] = warped.read(1).astype(np.float64)
        values[np.isin(values, ignored)] = np.nan
        return values


def read_value_raster(
    path: Path, settings: LabelSettings, numbers: Numbers, unit: str, base: GeoBox
) -> RasterValues:
    """Opens a raster for an area's base grid; LabelError if it does not say where it lies."""
    try:
        with rasterio.open(path) as source:
            georeferenced, shape = source.crs is not None, source.shape
    except RasterioError as error:
        raise LabelError(f"the labels {path} cannot be read: {error}") from error
    labels = RasterValues(path, unit, numbers)
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


def _is_finer(source: rasterio.DatasetReader, own_crs: object, box: GeoBox) -> bool:
    """Whether the file's pixels are narrower than those of a grid."""
    transform, _, _ = calculate_default_transform(
        own_crs, crs_wkt(box), source.width, source.height, *source.bounds
    )
    return bool(abs(transform.a) < _FINER * abs(box.affine.a))
