"""Cloud-optimised GeoTIFFs, written strip by strip."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterWindow

from earthloom.grid import crs_wkt
from earthloom.maps import CLASS_NODATA, PROBABILITY_NODATA, PROBABILITY_SCALE
from earthloom.tasks import PixelClasses


class StripWriter:
    """A GeoTIFF that grows strip by strip and becomes a COG when it is whole."""

    def __init__(self, path: Path, box: GeoBox, bands: Sequence[str], nodata: int) -> None:
        self._path = path
        self._strips = path.with_suffix(".strips.tif")
        self._file: DatasetWriter = rasterio.open(
            self._strips,
            "w",
            driver="GTiff",
            width=box.shape.x,
            height=box.shape.y,
            count=len(bands),
            dtype="uint8",
            crs=crs_wkt(box),
            transform=box.affine,
            nodata=nodata,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
            interleave="band",
            BIGTIFF="IF_SAFER",
        )
        for number, name in enumerate(bands, start=1):
            self._file.set_band_description(number, name)

    @property
    def file(self) -> DatasetWriter:
        return self._file

    def write(self, row: int, strip: NDArray[np.uint8]) -> None:
        """Writes a strip (bands, rows, W) from a row on."""
        _, rows, cols = strip.shape
        self._file.write(strip, window=RasterWindow(0, row, cols, rows))

    def finish(self, overviews: str) -> None:
        """Writes the COG, its overviews resampled by `overviews`, and removes the strips."""
        self._file.close()
        rasterio.shutil.copy(
            self._strips,
            self._path,
            driver="COG",
            compress="DEFLATE",
            predictor="NO",
            blocksize=256,
            overview_resampling=overviews,
            resampling=overviews,
            bigtiff="IF_SAFER",
        )
        self._strips.unlink()


def quantised(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities as whole 250ths; 255 where they are NaN."""
    whole: NDArray[np.uint8] = np.rint(np.nan_to_num(probabilities) / PROBABILITY_SCALE).astype(
        np.uint8
    )
    whole[np.isnan(probabilities)] = PROBABILITY_NODATA
    return whole


def colour_table(task: PixelClasses) -> dict[int, tuple[int, int, int, int]]:
    """GDAL colour table: nodata is transparent."""
    table = {code: (*rgb, 255) for code, rgb in zip(task.codes, task.colours)}
    return {CLASS_NODATA: (0, 0, 0, 0)} | table


def write_class_names(path: Path, task: PixelClasses) -> None:
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
