"""Pixels of one asset on one grid, as they are stored or in physical units."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

import earthloom.sensors as sensors
from earthloom.archive import Asset
from earthloom.archive.checksum import verify
from earthloom.archive.formats import open_source
from earthloom.archive.http import without_queries
from earthloom.archive.sign import Signer, Unsigned
from earthloom.errors import DataError
from earthloom.grid import crs_wkt

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_CACHEMAX": 128,
    "GRIB_NORMALIZE_UNITS": "NO",
}
"""For `rasterio.Env`: no listing of folders, one request for neighbouring blocks, MB of cache, and
kelvin stay kelvin."""

_OPEN_FILES = 96
"""Files that a thread keeps open; to open one costs more than to read a block of it."""
_RETRIES = 2
_FIRST_WAIT = 0.5
"""Seconds before an address is tried again; twice as long each time."""
_ALIGNED = 1e-3
"""Part of a pixel by which grids may differ and yet count as one."""

_TOLERANCE = 0.01
"""Pixels by which GDAL may be off where a pixel comes from, so that windows fit each other."""


_Key = tuple[str, int | None, bool]
"""Of an open file: its href, an overview of it, and whether it holds measured values."""


@dataclass(frozen=True)
class Stored:
    """What a file holds on a grid."""

    values: NDArray[Any]
    """(H, W): the file's own numbers and dtype where the grid is the file's, else floats."""
    nodata: float | None
    """The number that stands for nothing; NaN for floats. None where every pixel is there."""

    @property
    def there(self) -> NDArray[np.bool_]:
        """(H, W): where the file has something."""
        return is_there(self.values, self.nodata)


@dataclass(frozen=True)
class Source:
    """An open file with what is asked of it again and again."""

    file: DatasetReader | WarpedVRT
    masked: bool
    """Whether a mask or an alpha band, not a number, says what is not there."""

    compared: dict[str, bool] = field(default_factory=dict, compare=False)
    """By a CRS's text, whether it is the file's: to compare two is slow."""

    @cached_property
    def transform(self) -> Affine:
        """From pixels to the file's CRS."""
        found: Affine = self.file.transform
        return found

    @cached_property
    def inverse(self) -> Affine:
        """From the file's CRS to pixels."""
        found: Affine = ~self.transform
        return found

    def same_crs(self, box: GeoBox) -> bool:
        """Whether the file lies in a grid's CRS."""
        name = str(box.crs)
        if name not in self.compared:
            self.compared[name] = bool(box.crs == self.file.crs)
        return self.compared[name]


class Reader:
    """Reads assets below a root; keeps files open, for each thread its own."""

    def __init__(self, root: str, signer: Signer = Unsigned()) -> None:
        self.root, self.signer = root, signer
        self._verified: set[str] = set()
        self._local = threading.local()

    def __reduce__(self) -> tuple[type["Reader"], tuple[str, Signer]]:
        """Open files stay where they are; another process opens its own."""
        return Reader, (self.root, self.signer)

    def stored(
        self, asset: Asset, box: GeoBox, continuous: bool, out: NDArray[Any] | None = None
    ) -> Stored:
        """An asset's numbers on a grid; DataError, after retries, if they do not load.

        Where the grid is the file's own, its numbers are handed on as they are. Measured values
        (`continuous`) are averaged where the grid is coarser and interpolated bilinearly
        otherwise; of classes the most frequent, or the nearest, counts. `out` (H, W) is filled
        and handed back where nothing is resampled and its dtype is the file's.
        """
        for attempt in range(_RETRIES + 1):
            try:
                return self._stored(asset, box, continuous, out)
            except RasterioError as error:
                self._forget(asset)
                if attempt == _RETRIES:
                    raise DataError(
                        f"{asset.href} cannot be read: {without_queries(str(error))}"
                    ) from error
                if "://" in asset.href:
                    time.sleep(_FIRST_WAIT * 2**attempt)
        raise AssertionError("a loop that returns or raises")

    def physical(self, asset: Asset, box: GeoBox, continuous: bool = True) -> NDArray[np.float32]:
        """A band on a grid: (H, W) in its unit, NaN where the file has nothing."""
        return to_physical(self.stored(asset, box, continuous), asset)

    def is_own_grid(self, asset: Asset, box: GeoBox) -> bool:
        """Whether an asset's pixels lie on those of a grid, so that none is resampled."""
        source = self._source(asset, None)
        return not source.masked and _direct_window(source, box) is not None

    def dtype(self, asset: Asset) -> str:
        """Of an asset's stored numbers, such as `uint16`."""
        return str(self._source(asset, None).file.dtypes[asset.index - 1])

    def _stored(
        self, asset: Asset, box: GeoBox, continuous: bool, out: NDArray[Any] | None
    ) -> Stored:
        source = self._source(asset, None, continuous)
        nodata = asset.nodata if asset.nodata is not None else source.file.nodata
        if not source.masked:
            direct = _direct_window(source, box)
            if direct is not None:
                return _read_direct(source.file, asset.index, direct, box, nodata, out)
            if not continuous:
                larger = _larger_pixels(source, box)
                if larger is not None:
                    return _read_repeated(source.file, asset.index, *larger, box, nodata)
        return self._warped(asset, source, box, nodata, continuous)

    def _warped(
        self, asset: Asset, source: Source, box: GeoBox, nodata: float | None, continuous: bool
    ) -> Stored:
        """Resampled in one go, from an overview where the grid is much coarser."""
        ratio = _pixel_ratio(source.file, box)
        levels = source.file.overviews(asset.index)
        fitting = [level for level, factor in enumerate(levels) if factor <= ratio * 1.01]
        if fitting:
            ratio /= levels[fitting[-1]]
            source = self._source(asset, fitting[-1], continuous)
        methods = (
            (Resampling.bilinear, Resampling.average)
            if continuous
            else (Resampling.nearest, Resampling.mode)
        )
        with WarpedVRT(
            source.file,
            crs=crs_wkt(box),
            transform=box.affine,
            width=box.shape.x,
            height=box.shape.y,
            resampling=methods[ratio > 1.5],
            tolerance=_TOLERANCE,
            src_nodata=None if source.masked else nodata,
            nodata=None if source.masked else np.nan,
            dtype=None if source.masked else _wide_enough(source.file, asset.index),
            add_alpha=source.masked and source.file.colorinterp[-1].name != "alpha",
        ) as warped:
            pixels = warped.read(asset.index)
            if pixels.dtype.kind != "f":
                pixels = pixels.astype(_wide_enough(source.file, asset.index))
            if source.masked:
                pixels[warped.read(warped.count) == 0] = np.nan
        pixels[~np.isfinite(pixels)] = np.nan
        return Stored(pixels, np.nan)

    def _source(self, asset: Asset, overview: int | None, continuous: bool = True) -> Source:
        held = self._held()
        key = (asset.href, overview, continuous)
        if key in held:
            held.move_to_end(key)
            return held[key]
        place = address(self.root, asset)
        self._verify(asset, place)
        file = open_source(place, overview, continuous, self.signer)
        if not 1 <= asset.index <= file.count:
            raise DataError(f"{asset.href} has {file.count} bands and no band {asset.index}")
        flags = file.mask_flag_enums[asset.index - 1]
        held[key] = Source(file, MaskFlags.per_dataset in flags or MaskFlags.alpha in flags)
        if len(held) > _OPEN_FILES:
            _, oldest = held.popitem(last=False)
            oldest.file.close()
        return held[key]

    def _verify(self, asset: Asset, place: str) -> None:
        """Holds a file on this machine against its checksum, once, if its archive tells one."""
        if asset.checksum is None or "://" in place or asset.href in self._verified:
            return
        verify(Path(place.partition("#")[0]), asset.checksum)
        self._verified.add(asset.href)

    def _held(self) -> OrderedDict[_Key, Source]:
        if not hasattr(self._local, "held"):
            self._local.held = OrderedDict()
        held: OrderedDict[_Key, Source] = self._local.held
        return held

    def _forget(self, asset: Asset) -> None:
        """A file that failed is opened anew."""
        held = self._held()
        for key in [key for key in held if key[0] == asset.href]:
            held.pop(key).file.close()


def _wide_enough(file: DatasetReader, index: int) -> str:
    """A type that holds a band's numbers and NaN: flags may use all of 32 bits."""
    return "float64" if file.dtypes[index - 1] in ("int32", "uint32", "float64") else "float32"


def is_there(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Where stored numbers are not nodata; same shape."""
    if values.dtype.kind == "f":
        there = np.isfinite(values)
        if nodata is not None and not np.isnan(nodata):
            there &= values != nodata
        return np.asarray(there, np.bool_)
    if nodata is None:
        return np.ones(values.shape, np.bool_)
    return np.asarray(values != nodata, np.bool_)


def to_physical(stored: Stored, asset: Asset) -> NDArray[np.float32]:
    """Stored numbers in the band's unit, NaN where there is nothing."""
    if asset.transform == "linear":
        physical = stored.values * np.float32(asset.scale) + np.float32(asset.offset)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            physical = sensors.to_physical(
                stored.values, asset.scale, asset.offset, asset.transform, asset.constants
            )
    physical = physical.astype(np.float32, copy=False)
    physical[~stored.there | ~np.isfinite(physical)] = np.nan
    return physical


def address(root: str, asset: Asset) -> str:
    """What GDAL opens: an address as it is, a file below the archive's folder."""
    return asset.href if "://" in asset.href else str(Path(root) / asset.href)


def native_box(root: str, asset: Asset, signer: Signer = Unsigned()) -> GeoBox:
    """A file's own grid; DataError if it has none or cannot be opened."""
    try:
        with open_source(address(root, asset), signer=signer) as source:
            return GeoBox.from_rio(source)
    except RasterioError as error:
        reason = without_queries(str(error))
        raise DataError(f"{asset.href} cannot be opened: {reason}") from error


def _direct_window(source: Source, box: GeoBox) -> tuple[int, int] | None:
    """Row and column of a grid's corner in a file on whose pixels it lies; else None."""
    ours, theirs = box.affine, source.transform
    if ours.b or ours.d or theirs.b or theirs.d:
        return None
    extent = max(box.shape)
    drift = max(abs(ours.a - theirs.a), abs(ours.e - theirs.e)) / abs(theirs.a) * extent
    if drift > _ALIGNED or not source.same_crs(box):
        return None
    col, row = source.inverse * (ours.c, ours.f)
    if max(abs(col - round(col)), abs(row - round(row))) > _ALIGNED:
        return None
    return round(row), round(col)


def _larger_pixels(source: Source, box: GeoBox) -> tuple[int, int, int] | None:
    """Row, column (in the grid's pixels) and how many of them a file's pixel is wide, where
    whole pixels of the grid make up one of the file's; else None."""
    factor = round(source.transform.a / box.affine.a)
    if factor < 2:
        return None
    finer = source.transform * Affine.scale(1 / factor)
    ours = box.affine
    if ours.b or ours.d or finer.b or finer.d or not source.same_crs(box):
        return None
    drift = max(abs(ours.a - finer.a), abs(ours.e - finer.e)) / abs(ours.a) * max(box.shape)
    col, row = ~finer * (ours.c, ours.f)
    off = max(drift, abs(col - round(col)), abs(row - round(row)))
    return (round(row), round(col), factor) if off <= _ALIGNED else None


def _read_direct(
    file: DatasetReader,
    index: int,
    corner: tuple[int, int],
    box: GeoBox,
    nodata: float | None,
    out: NDArray[Any] | None = None,
) -> Stored:
    """A window of a file, which may reach over its edges."""
    row, col = corner
    rows, cols = box.shape
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + rows, file.height), min(col + cols, file.width)
    whole = (top, left, bottom, right) == (row, col, row + rows, col + cols)
    if whole:
        fits = out is not None and out.dtype == file.dtypes[index - 1]
        window = RasterWindow(col, row, cols, rows)
        return Stored(file.read(index, window=window, out=out if fits else None), nodata)
    values, nothing = _empty((rows, cols), np.dtype(file.dtypes[index - 1]), nodata)
    if bottom > top and right > left:
        part = file.read(index, window=RasterWindow(left, top, right - left, bottom - top))
        inside = values[top - row : bottom - row, left - col : right - col]
        inside[:] = np.where(is_there(part, nodata), part, nothing)
    return Stored(values, nothing)


def _read_repeated(
    file: DatasetReader,
    index: int,
    row: int,
    col: int,
    factor: int,
    box: GeoBox,
    nodata: float | None,
) -> Stored:
    """A window of a file with larger pixels, each repeated: the nearest pixel."""
    rows, cols = box.shape
    first_row, first_col = row // factor, col // factor
    last_row, last_col = -(-(row + rows) // factor), -(-(col + cols) // factor)
    shape = (last_row - first_row, last_col - first_col)
    coarse = GeoBox(
        shape,
        file.transform * file.transform.translation(first_col, first_row),
        box.crs,
    )
    stored = _read_direct(file, index, (first_row, first_col), coarse, nodata)
    fine = stored.values.repeat(factor, axis=0).repeat(factor, axis=1)
    up, left = row - first_row * factor, col - first_col * factor
    return Stored(np.ascontiguousarray(fine[up : up + rows, left : left + cols]), stored.nodata)


def _empty(
    shape: tuple[int, int], dtype: np.dtype[Any], nodata: float | None
) -> tuple[NDArray[Any], float]:
    """An image of nothing, and the number that says so: in float32 where the file has none."""
    if dtype.kind == "f" or nodata is None:
        return np.full(shape, np.nan, np.float32), np.nan
    return np.full(shape, nodata, dtype), nodata


def _pixel_ratio(source: DatasetReader, box: GeoBox) -> float:
    """How many pixels of a file one pixel of the grid is wide."""
    if box.crs == source.crs:
        return float(abs(box.affine.a) / abs(source.transform.a))
    metres_per_unit = 111_320.0 if source.crs.is_geographic else 1.0
    box_metres = abs(box.affine.a) * (
        111_320.0 if box.crs is not None and box.crs.geographic else 1.0
    )
    return float(box_metres / (abs(source.transform.a) * metres_per_unit))
