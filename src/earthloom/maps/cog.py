"""Cloud-optimised GeoTIFFs, written piece by piece."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterWindow

from earthloom.grid import crs_wkt
from earthloom.maps import CLASS_NODATA
from earthloom.maps.overviews import with_overviews
from earthloom.maps.statistics import Tally
from earthloom.tasks.planes import ClassesOfPixels

_GDAL = {"GDAL_CACHEMAX": 128, "GDAL_NUM_THREADS": "ALL_CPUS"}
"""MiB of blocks that are kept, whatever the machine's memory; the number of threads changes no
byte."""


BLOCK = 256
"""Pixels of a block, both ways."""
_LEVEL = 6
"""Of DEFLATE."""


class StripWriter:
    """A GeoTIFF that grows piece by piece and becomes a COG when it is whole.

    The pieces are not compressed, since they need not lie as the blocks of the file do, and a block
    that is written twice would leave a hole.
    """

    def __init__(
        self,
        path: Path,
        box: GeoBox,
        bands: Sequence[str],
        nodata: float,
        dtype: str = "uint8",
        unit: str | None = None,
    ) -> None:
        """With a unit the file says it, and statistics of each band; these take NaN as nodata."""
        self._path = path
        self._strips = path.with_suffix(".strips.tif")
        self._shape = (box.shape.y, box.shape.x)
        with rasterio.Env(**_GDAL):
            self._file: DatasetWriter = rasterio.open(
                self._strips,
                "w",
                driver="GTiff",
                width=box.shape.x,
                height=box.shape.y,
                count=len(bands),
                dtype=dtype,
                crs=crs_wkt(box),
                transform=box.affine,
                nodata=nodata,
                tiled=True,
                blockxsize=BLOCK,
                blockysize=BLOCK,
                interleave="band",
                SPARSE_OK=True,
                BIGTIFF="IF_SAFER",
            )
        for number, name in enumerate(bands, start=1):
            self._file.set_band_description(number, name)
        self._tallies = [Tally() for _ in bands] if unit is not None else []
        if unit is not None:
            self._file.units = (unit,) * len(bands)

    @property
    def file(self) -> DatasetWriter:
        return self._file

    def write(self, row: int, strip: NDArray[Any], col: int = 0) -> None:
        """Writes a strip (bands, rows, cols) from a row and a column on; what of it lies behind
        the last row and column is left out."""
        rows = min(strip.shape[1], self._shape[0] - row)
        cols = min(strip.shape[2], self._shape[1] - col)
        if rows <= 0 or cols <= 0:
            return
        for tally, band in zip(self._tallies, strip[:, :rows, :cols]):
            tally.add(band)
        with rasterio.Env(**_GDAL):
            window = RasterWindow(col, row, cols, rows)
            self._file.write(strip[:, :rows, :cols], window=window)

    def finish(self, overviews: str) -> None:
        """Writes the COG, its overviews made by `overviews` (`MODE` or `AVERAGE`), and removes what
        it was made from."""
        dtype = np.dtype(self._file.dtypes[0])
        for number, tally in enumerate(self._tallies, start=1):
            self._file.update_tags(number, **tally.tags())
        self._file.close()
        with rasterio.Env(**_GDAL):
            joined, made = with_overviews(self._strips, overviews, BLOCK)
            rasterio.shutil.copy(
                joined,
                self._path,
                driver="COG",
                compress="DEFLATE",
                predictor="YES" if dtype.kind == "f" else "NO",
                level=_LEVEL,
                num_threads="ALL_CPUS",
                blocksize=BLOCK,
                bigtiff="IF_SAFER",
            )
        for path in (self._strips, *made):
            path.unlink()


def colour_table(task: ClassesOfPixels) -> dict[int, tuple[int, int, int, int]]:
    """GDAL colour table: nodata is transparent."""
    table = {code: (*rgb, 255) for code, rgb in zip(task.codes, task.colours)}
    return {CLASS_NODATA: (0, 0, 0, 0)} | table


def write_class_names(path: Path, task: ClassesOfPixels) -> None:
    """Class names beside a COG, in the `.aux.xml` where GDAL and QGIS look for them."""
    names = dict(zip(task.codes, task.names))
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    ET.SubElement(band, "Description").text = "class"
    listed = ET.SubElement(band, "CategoryNames")
    for code in range(max(task.codes) + 1):
        default = "no data" if code == CLASS_NODATA else ""
        ET.SubElement(listed, "Category").text = names.get(code, default)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode") + "\n"
    path.with_name(path.name + ".aux.xml").write_text(text, encoding="utf-8")
