"""Pixels of one asset on one grid, in physical units."""

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from earthloom.archive import Asset
from earthloom.errors import DataError
from earthloom.grid import crs_wkt
from earthloom.sensors import Quality

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_CACHEMAX": 256,
}
"""For `rasterio.Env`: no listing of folders, one request for neighbouring blocks, MB of cache."""


def read_band(root: str, asset: Asset, box: GeoBox) -> NDArray[np.float32]:
    """A band on a grid: (H, W) in its unit, NaN where the file has nothing.

    Measured values are averaged where the grid is coarser than the file and interpolated
    bilinearly otherwise, which on the file's own grid gives its own values.
    """
    stored = _read(root, asset, box, Resampling.bilinear, Resampling.average)
    return stored * np.float32(asset.scale) + np.float32(asset.offset)


def read_clear(root: str, asset: Asset, quality: Quality, box: GeoBox) -> NDArray[np.bool_]:
    """Where the ground was seen clearly, (H, W), by a product's own quality band.

    Classes are never interpolated: the nearest pixel counts, or the most frequent one.
    """
    stored = _read(root, asset, box, Resampling.nearest, Resampling.mode)
    there = ~np.isnan(stored)
    numbers = np.where(there, stored, 0).astype(np.int64)
    return there & ~quality.where(numbers, quality.hides)


def address(root: str, asset: Asset) -> str:
    """What GDAL opens: an address as it is, a file below the archive's folder."""
    return asset.href if "://" in asset.href else str(Path(root) / asset.href)


def native_box(root: str, asset: Asset) -> GeoBox:
    """A file's own grid; DataError if it has none or cannot be opened."""
    try:
        with rasterio.open(address(root, asset)) as source:
            if source.crs is None:
                raise DataError(f"{asset.href} has no CRS, so it does not say where it lies")
            return GeoBox.from_rio(source)
    except RasterioError as error:
        raise DataError(f"{asset.href} cannot be opened: {error}") from error


def _read(
    root: str, asset: Asset, box: GeoBox, same_or_finer: Resampling, coarser: Resampling
) -> NDArray[np.float32]:
    """Stored numbers on a grid, NaN where the file has nothing or says nodata."""
    try:
        with rasterio.open(address(root, asset)) as source:
            if source.crs is None:
                raise DataError(f"{asset.href} has no CRS, so it does not say where it lies")
            nodata = asset.nodata if asset.nodata is not None else source.nodata
            shrinks = _pixel_ratio(source, box) > 1.5
            with WarpedVRT(
                source,
                crs=crs_wkt(box),
                transform=box.affine,
                width=box.shape.x,
                height=box.shape.y,
                resampling=coarser if shrinks else same_or_finer,
                src_nodata=nodata,
                nodata=np.nan,
                dtype="float32",
                add_alpha=False,
            ) as warped:
                pixels: NDArray[np.float32] = warped.read(asset.index)
    except RasterioError as error:
        raise DataError(f"{asset.href} cannot be read: {error}") from error
    pixels[~np.isfinite(pixels)] = np.nan
    return pixels


def _pixel_ratio(source: DatasetReader, box: GeoBox) -> float:
    """How many pixels of a file one pixel of the grid is wide."""
    if box.crs == source.crs:
        return float(abs(box.affine.a) / abs(source.transform.a))
    metres_per_unit = 111_320.0 if source.crs.is_geographic else 1.0
    box_metres = abs(box.affine.a) * (
        111_320.0 if box.crs is not None and box.crs.geographic else 1.0
    )
    return float(box_metres / (abs(source.transform.a) * metres_per_unit))
