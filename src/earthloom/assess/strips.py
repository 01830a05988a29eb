"""A map read a strip at a time, and other rasters on its grid: memory does not grow with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

_ROWS = 512


def strips_of(source: DatasetReader) -> Iterator[RasterWindow]:
    """Windows over the whole width of a raster, from its top to its bottom."""
    for row in range(0, source.height, _ROWS):
        yield RasterWindow(0, row, source.width, min(_ROWS, source.height - row))


@contextmanager
def opened_onto(path: Path, mapped: DatasetReader) -> Iterator[WarpedVRT]:
    """A raster as it is on the grid of another, nearest pixels."""
    with (
        rasterio.open(path) as source,
        WarpedVRT(
            source,
            crs=mapped.crs,
            transform=mapped.transform,
            width=mapped.width,
            height=mapped.height,
            resampling=Resampling.nearest,
        ) as found,
    ):
        yield found
