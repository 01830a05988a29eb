"""Files of the simulated archive: written whole or not at all, with the same bytes each time."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
from numpy.typing import NDArray

from earthloom.archive.simulated_plan import SceneGrid
from earthloom.errors import StageError

_PART = ".part-"
"""Names of unfinished files start with this."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a temporary file beside `path`, and renames it when it is whole.

    StageError where the disk does not take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(_PART + path.name)
    part.unlink(missing_ok=True)
    try:
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise StageError(f"{path} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Removes what an interrupted run has left half-written."""
    for part in folder.rglob(_PART + "*"):
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON with sorted keys."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def write(part: Path) -> None:
        part.write_text(text, "utf-8")

    write_whole(path, write)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def write_cog(
    path: Path,
    values: NDArray[Any],
    grid: SceneGrid,
    *,
    nodata: float | None,
    resampling: str = "AVERAGE",
    colours: Mapping[int, str] | None = None,
    names: tuple[str, ...] = (),
    finish: Callable[[Path], None] | None = None,
) -> None:
    """A cloud-optimised GeoTIFF of (rows, cols) or (band, rows, cols) values.

    `finish` is called with the file before it gets its name.
    """
    stack = values if values.ndim == 3 else values[None]
    profile: dict[str, Any] = {
        "driver": "COG",
        "dtype": stack.dtype.name,
        "count": stack.shape[0],
        "height": stack.shape[1],
        "width": stack.shape[2],
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": nodata,
        "COMPRESS": "DEFLATE",
        "LEVEL": 1,
        "PREDICTOR": "YES",
        "BLOCKSIZE": 512,
        "OVERVIEW_RESAMPLING": resampling,
        "NUM_THREADS": 1,
    }

    def write(part: Path) -> None:
        with rasterio.open(part, "w", **profile) as file:
            if colours:
                file.write_colormap(1, {code: _rgba(colour) for code, colour in colours.items()})
            file.write(stack)
            for place, name in enumerate(names, start=1):
                file.set_band_description(place, name)
        if finish is not None:
            finish(part)

    write_whole(path, write)


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return red, green, blue, 255


def round_mantissa(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Float32 with only `bits` bits of mantissa, rounded: those below are noise and pack badly."""
    drop = np.uint32(23 - bits)
    whole = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32(1) << (drop - np.uint32(1))
    return (((whole + half) >> drop) << drop).view(np.float32)


@contextmanager
def fixed_geopackage_date(year: int) -> Iterator[None]:
    """GeoPackages name the time of their last change; within this it is the end of `year`."""
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": f"{year}-12-31T00:00:00.000Z"})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
