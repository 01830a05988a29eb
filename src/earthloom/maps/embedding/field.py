"""A field on disk: where it lies, what it was made of, and windows of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow
from shapely.geometry.base import BaseGeometry

from earthloom.errors import ContractError, DataError
from earthloom.maps import ITEM
from earthloom.maps.outputs import FEATURE_NODATA
from earthloom.sample import Shape2d, Window

EMBEDDING = "embedding.tif"
MADE_OF = "earthloom:embedding"
"""The property of an Item that tells what features a field holds."""

_ROWS, _COLS = 256, 512
"""Of the windows that a field is read by: whole blocks of its COG, 32 MB as float32."""


@dataclass(frozen=True)
class Field:
    """A field; it is opened anew for each window, so that threads may share it."""

    path: Path
    """The COG."""
    item_id: str
    box: GeoBox
    dimensions: int
    made_of: str
    """Digest of encoder and projection; only fields that share it can be compared."""
    outline: BaseGeometry
    """In EPSG:4326."""
    dates: tuple[date, date]
    """First and last day of the observations."""

    @property
    def shape(self) -> Shape2d:
        """Rows and columns."""
        return Shape2d(self.box.shape.y, self.box.shape.x)

    def read(self, window: Window) -> NDArray[np.int8]:
        """(D, H, W) of a window, as stored; nodata where it reaches over the edges."""
        rows, cols = window.shape
        top, left = max(window.row, 0), max(window.col, 0)
        bottom = min(window.row + rows, self.shape.rows)
        right = min(window.col + cols, self.shape.cols)
        stored = np.full((self.dimensions, rows, cols), FEATURE_NODATA, np.int8)
        if bottom > top and right > left:
            here = slice(top - window.row, bottom - window.row)
            there = slice(left - window.col, right - window.col)
            inside = RasterWindow(left, top, right - left, bottom - top)
            with rasterio.open(self.path) as source:
                stored[:, here, there] = source.read(window=inside)
        return stored

    def windows(self) -> Iterator[Window]:
        """Windows that cover the field once, row by row, none reaching over its edges."""
        rows, cols = self.shape
        for row in range(0, rows, _ROWS):
            for col in range(0, cols, _COLS):
                yield Window(row, col, Shape2d(min(_ROWS, rows - row), min(_COLS, cols - col)))

    def check_comparable(self, other: "Field") -> None:
        """ContractError unless both hold the same features on the same pixels."""
        if self.made_of != other.made_of:
            raise ContractError(
                f"fields {self.item_id} and {other.item_id} come from different encoders or "
                "projections; write both with one encoder and one projection"
            )
        if self.box != other.box:
            raise ContractError(
                f"fields {self.item_id} and {other.item_id} lie on different grids: "
                f"{self.box.crs} {tuple(self.box.affine)[:6]} {tuple(self.shape)} and "
                f"{other.box.crs} {tuple(other.box.affine)[:6]} {tuple(other.shape)}"
            )


def open_field(folder: Path) -> Field:
    """The field of a folder; DataError where there is none."""
    path = folder / EMBEDDING
    try:
        item: dict[str, Any] = json.loads((folder / ITEM).read_text(encoding="utf-8"))
        said = item["properties"]
        with rasterio.open(path) as source:
            shape = (source.height, source.width)
            box = GeoBox(shape, source.transform, source.crs.to_wkt())
            dimensions = source.count
        start, end = (
            datetime.fromisoformat(said[f"{which}_datetime"]).date() for which in ("start", "end")
        )
        outline = shapely.geometry.shape(item["geometry"])
        return Field(path, str(item["id"]), box, dimensions, said[MADE_OF], outline, (start, end))
    except (OSError, ValueError, KeyError, rasterio.RasterioIOError) as error:
        raise DataError(f"no embedding field can be read from {folder}: {error!r}") from error


def own_folder(folder: Path) -> Path:
    """A folder, made if it is not there, for what is computed on fields; DataError for that of a
    field, whose Item would be lost."""
    if (folder / EMBEDDING).exists():
        raise DataError(f"{folder} holds an embedding field; give a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def directions(stored: NDArray[np.int8]) -> NDArray[np.float32]:
    """(D, ...) float32 of length one of stored numbers (D, ...); NaN where there is no data, and
    where all numbers are 0, which is no direction."""
    numbers = stored.astype(np.float32)
    length = np.sqrt(np.einsum("d...,d...->...", numbers, numbers))
    length[(stored[0] == FEATURE_NODATA) | (length == 0)] = np.nan
    numbers /= length
    return numbers


def stored_directions(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Unit vectors (N, D) as a field stores them; NaN becomes nodata."""
    whole = np.rint(vectors * 127)
    return np.where(np.isnan(whole), FEATURE_NODATA, whole).astype(np.int8)
