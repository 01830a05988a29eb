"""Labels onto a grid: points, lines, polygons or a raster become class codes of pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT

from earthloom.errors import LabelError, choices
from earthloom.grid import crs_wkt
from earthloom.project import Labels as LabelSettings
from earthloom.project import LandClass
from earthloom.sample import UNLABELLED


class Labels(Protocol):
    """Where classes are known."""

    def onto(self, box: GeoBox) -> NDArray[np.uint8]:
        """Class codes (H, W) on a grid, `UNLABELLED` where there is no label."""
        ...


@dataclass(frozen=True)
class VectorLabels:
    """Features with a class each, in one CRS."""

    table: gpd.GeoDataFrame
    """Columns `geometry` and `code`."""

    def to(self, box: GeoBox) -> "VectorLabels":
        """The same labels in the CRS of a grid."""
        return VectorLabels(self.table.to_crs(crs_wkt(box)))

    def onto(self, box: GeoBox) -> NDArray[np.uint8]:
        """A point labels its pixel, a polygon the pixels whose centre it holds.

        A pixel that two features call differently is not labelled.
        """
        near = self.table.iloc[self.table.sindex.query(shapely.box(*box.boundingbox.bbox))]
        shape = (box.shape.y, box.shape.x)
        if near.empty:
            return np.zeros(shape, np.uint8)
        pairs = list(zip(near.geometry, near.code))
        burned = [
            rasterize(order, out_shape=shape, transform=box.affine, fill=UNLABELLED, dtype="uint8")
            for order in (pairs, pairs[::-1])
        ]
        agreed: NDArray[np.uint8] = np.where(burned[0] == burned[1], burned[0], UNLABELLED)
        return agreed.astype(np.uint8)


@dataclass(frozen=True)
class RasterLabels:
    """A raster of class codes."""

    path: Path
    codes: frozenset[int]
    grid: GeoBox | None = None
    """The grid of its pixels where the file itself has no georeference."""

    def onto(self, box: GeoBox) -> NDArray[np.uint8]:
        """The nearest pixel's code. LabelError names a value that is no class of the project."""
        try:
            with (
                rasterio.open(self.path) as source,
                WarpedVRT(
                    source,
                    src_crs=crs_wkt(self.grid) if self.grid else source.crs,
                    src_transform=self.grid.affine if self.grid else source.transform,
                    crs=crs_wkt(box),
                    transform=box.affine,
                    width=box.shape.x,
                    height=box.shape.y,
                    resampling=Resampling.nearest,
                    nodata=UNLABELLED,
                ) as warped,
            ):
                codes = warped.read(1)
        except RasterioError as error:
            raise LabelError(f"the labels {self.path} cannot be read: {error}") from error
        unknown = sorted(set(np.unique(codes).tolist()) - self.codes - {UNLABELLED})
        if unknown:
            raise LabelError(
                f"the labels {self.path} hold the value {unknown[0]}, which is no class of the "
                f"project; classes are: {choices(sorted(self.codes))}, and 0 for none"
            )
        return np.asarray(codes, np.uint8)


def read_labels(
    path: Path, settings: LabelSettings, classes: tuple[LandClass, ...], base: GeoBox
) -> Labels:
    """Opens a label file of either kind for an area's base grid; LabelError says what is wrong."""
    if not path.exists():
        raise LabelError(f"the label file {path} does not exist")
    if path.suffix.lower() in (".tif", ".tiff", ".vrt", ".img"):
        return _raster(path, settings.on_grid, classes, base)
    return VectorLabels(read_label_table(path, settings.column, classes))


def _raster(
    path: Path, on_grid: bool, classes: tuple[LandClass, ...], base: GeoBox
) -> RasterLabels:
    codes = frozenset(each.code for each in classes)
    try:
        with rasterio.open(path) as source:
            georeferenced, shape = source.crs is not None, source.shape
    except RasterioError as error:
        raise LabelError(f"the labels {path} cannot be read: {error}") from error
    if georeferenced and not on_grid:
        return RasterLabels(path, codes)
    if not on_grid:
        raise LabelError(
            f"the labels {path} have no CRS; save them with one, or, if their pixels are those "
            "of the base grid, set 'on_grid: true' under 'labels'"
        )
    if shape != tuple(base.shape):
        raise LabelError(
            f"the labels {path} have {shape[0]} x {shape[1]} pixels, but the base grid has "
            f"{base.shape.y} x {base.shape.x}; with 'on_grid: true' they must be the same"
        )
    return RasterLabels(path, codes, base)


def read_label_table(path: Path, column: str, classes: tuple[LandClass, ...]) -> gpd.GeoDataFrame:
    """All layers of a vector file as one table of `geometry` and `code`."""
    try:
        layers = [
            gpd.read_file(path, layer=name)
            for name, geometry in pyogrio.list_layers(path)
            if geometry is not None
        ]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise LabelError(f"the labels {path} cannot be read as vector data: {error}") from error
    if not any(len(layer) for layer in layers):
        raise LabelError(f"the labels {path} hold no features")
    coded = [_coded(layer, path, column, classes) for layer in layers if len(layer)]
    crs = coded[0].crs
    return gpd.GeoDataFrame(pd.concat([table.to_crs(crs) for table in coded], ignore_index=True))


def _coded(
    layer: gpd.GeoDataFrame, path: Path, column: str, classes: tuple[LandClass, ...]
) -> gpd.GeoDataFrame:
    if layer.crs is None:
        raise LabelError(f"the labels {path} have no CRS; save them with one, such as EPSG:4326")
    if column not in layer.columns:
        raise LabelError(
            f"the labels {path} have no column '{column}'; "
            f"they have: {choices(c for c in layer.columns if c != 'geometry')}"
        )
    codes = _codes(layer[column], path, classes)
    bounds = layer.geometry.bounds.to_numpy()
    empty = layer.geometry.isna() | layer.geometry.is_empty | ~np.isfinite(bounds).all(axis=1)
    if empty.any():
        raise LabelError(
            f"feature {int(np.argmax(empty)) + 1} of the labels {path} has no geometry, or NaN "
            f"in it; {int(empty.sum())} of {len(layer)} features are so"
        )
    geometry = layer.geometry.make_valid()
    return gpd.GeoDataFrame({"code": codes}, geometry=geometry, crs=layer.crs)


def _codes(given: pd.Series, path: Path, classes: tuple[LandClass, ...]) -> list[int]:
    """Codes of classes that are given by name or by code."""
    known: dict[str, int] = {each.name: each.code for each in classes}
    known |= {str(each.code): each.code for each in classes}
    listed = choices(f"{each.code} {each.name}" for each in classes)
    codes = []
    for number, value in enumerate(given, start=1):
        if pd.isna(value):
            raise LabelError(
                f"feature {number} of the labels {path} has no class (NaN) in column "
                f"'{given.name}'; classes are: {listed}"
            )
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        if text not in known:
            raise LabelError(
                f"unknown class '{value}' in feature {number} of the labels {path}; "
                f"classes are: {listed}"
            )
        codes.append(known[text])
    return codes
