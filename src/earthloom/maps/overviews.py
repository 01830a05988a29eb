"""Overviews of a raster, each half as wide and high as the one before, made piece by piece.

GDAL makes them too, but for many bands with nodata several times as slowly as the rest of a map's
writing. A pixel of an overview stands for the four pixels under it, fewer at the last row and
column, and for those of them alone that are not nodata.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from earthloom.cube.compiled import compiled

_PIECE_BYTES = 2**25
"""Bytes, about, that are halved at a time."""


def with_overviews(path: Path, resampling: str, smallest: int) -> tuple[Path, list[Path]]:
    """Makes overviews of a GeoTIFF down to one that is no larger than `smallest`, both ways.

    `resampling` is one of `HALVED`. Returns a VRT of the raster with its overviews, which GDAL
    copies into a COG, and all files that may be removed after that.
    """
    levels: list[Path] = []
    above = path
    while _size(above) > smallest:
        level = path.with_suffix(f".{len(levels) + 1}.tif")
        _halve(above, level, HALVED[resampling])
        levels.append(level)
        above = level
    joined = path.with_suffix(".vrt")
    _join(path, levels, joined)
    return joined, [joined, *levels]


Numbers = NDArray[Any]


@compiled
def mode_halved(image: Numbers, nodata: float) -> Numbers:
    """(B, H, W) whole numbers to (B, ceil(H / 2), ceil(W / 2)): the most frequent of each four, the
    first of those that are equally frequent."""
    bands, rows, cols = image.shape
    half = np.empty((bands, (rows + 1) // 2, (cols + 1) // 2), image.dtype)
    for band in range(bands):
        for row in range(half.shape[1]):
            for col in range(half.shape[2]):
                below, beside = min(2 * row + 1, rows - 1), min(2 * col + 1, cols - 1)
                a, b = image[band, 2 * row, 2 * col], image[band, 2 * row, beside]
                c, d = image[band, below, 2 * col], image[band, below, beside]
                best, most = a, 0
                for one in (a, b, c, d):
                    votes = (one == a) + (one == b) + (one == c) + (one == d)
                    if one != nodata and votes > most:
                        best, most = one, votes
                half[band, row, col] = best
    return half


@compiled
def mean_halved(image: Numbers, nodata: float) -> Numbers:
    """(B, H, W) whole numbers to (B, ceil(H / 2), ceil(W / 2)): the rounded mean of each four."""
    bands, rows, cols = image.shape
    half = np.empty((bands, (rows + 1) // 2, (cols + 1) // 2), image.dtype)
    for band in range(bands):
        for row in range(half.shape[1]):
            below = min(2 * row + 1, rows - 1)
            for col in range(half.shape[2]):
                beside = min(2 * col + 1, cols - 1)
                total, count = 0, 0
                for y in (2 * row, below):
                    for x in (2 * col, beside):
                        one = image[band, y, x]
                        if one != nodata:
                            total += int(one)
                            count += 1
                # Counted twice at the last row or column, each pixel, so the mean stays.
                half[band, row, col] = (
                    int(nodata) if count == 0 else (2 * total + count) // (2 * count)
                )
    return half


@compiled
def real_mean_halved(image: Numbers, nodata: float) -> Numbers:
    """(B, H, W) floats to (B, ceil(H / 2), ceil(W / 2)): the mean of each four; NaN counts as
    nodata whatever `nodata` says."""
    bands, rows, cols = image.shape
    half = np.empty((bands, (rows + 1) // 2, (cols + 1) // 2), image.dtype)
    for band in range(bands):
        for row in range(half.shape[1]):
            below = min(2 * row + 1, rows - 1)
            for col in range(half.shape[2]):
                beside = min(2 * col + 1, cols - 1)
                total, count = 0.0, 0
                for y in (2 * row, below):
                    for x in (2 * col, beside):
                        one = image[band, y, x]
                        if one == one and one != nodata:
                            total += one
                            count += 1
                half[band, row, col] = nodata if count == 0 else total / count
    return half


def _mean(image: Numbers, nodata: float) -> Numbers:
    return (real_mean_halved if image.dtype.kind == "f" else mean_halved)(image, nodata)


HALVED: Mapping[str, Callable[[Numbers, float], Numbers]] = {
    "MODE": mode_halved,
    "AVERAGE": _mean,
}
"""By the names that GDAL has for them."""


def _halve(path: Path, level: Path, halved: Callable[[Numbers, float], Numbers]) -> None:
    with rasterio.open(path) as source:
        rows, cols = -(-source.height // 2), -(-source.width // 2)
        # What stands for nodata where a file says of none: a number that no file holds.
        nodata = np.nan if source.nodata is None else source.nodata
        twice = source.transform * Affine.scale(2)
        profile = {**source.profile, "width": cols, "height": rows, "transform": twice}
        with rasterio.open(level, "w", **profile) as target:
            for place, window in _pieces(source):
                half = halved(source.read(window=window), nodata)
                high, wide = half.shape[1:]
                target.write(half, window=RasterWindow(place.col_off, place.row_off, wide, high))


def _pieces(source: DatasetReader) -> Iterator[tuple[RasterWindow, RasterWindow]]:
    """Where pieces lie in a level, and in the one above it; their corners lie on whole blocks."""
    pixel = sum(np.dtype(dtype).itemsize for dtype in source.dtypes)
    side = max(int((_PIECE_BYTES / pixel) ** 0.5) // 512, 1) * 512
    for row in range(0, source.height, side):
        for col in range(0, source.width, side):
            wide, high = min(side, source.width - col), min(side, source.height - row)
            yield (
                RasterWindow(col // 2, row // 2, wide, high),
                RasterWindow(col, row, wide, high),
            )


def _join(path: Path, levels: list[Path], joined: Path) -> None:
    """A VRT of a raster that says where its overviews are."""
    # GDAL would remove what an older one, of a run that was killed, refers to.
    joined.unlink(missing_ok=True)
    rasterio.shutil.copy(path, joined, driver="VRT")
    tree = ET.parse(joined)
    for band in tree.getroot().iter("VRTRasterBand"):
        for level in levels:
            overview = ET.SubElement(band, "Overview")
            name = ET.SubElement(overview, "SourceFilename", relativeToVRT="1")
            name.text = level.name
            ET.SubElement(overview, "SourceBand").text = band.get("band")
    tree.write(joined, encoding="utf-8")


def _size(path: Path) -> int:
    with rasterio.open(path) as source:
        return max(int(source.width), int(source.height))
