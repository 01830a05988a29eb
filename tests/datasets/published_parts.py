"""What the fixtures of published layouts are made of."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

S2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
DRIVERS = {".tif": "GTiff", ".TIF": "GTiff", ".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP"}
SIDE = 16


def write(path: Path, values: np.ndarray, placed: bool = False, step: float = 10.0) -> None:
    """An image (C, H, W) or (H, W); `placed` in UTM zone 33N."""
    values = values[None] if values.ndim == 2 else values
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, step, step)} if placed else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver=DRIVERS[path.suffix], count=len(values), height=values.shape[1],
            width=values.shape[2], dtype=values.dtype, **where,
        ) as file:  # fmt: skip
            file.write(values)


def rng(name: str) -> np.random.Generator:
    return np.random.default_rng(sum(map(ord, name)))


def rgb(draw: np.random.Generator, side: int = SIDE) -> np.ndarray:
    return draw.integers(1, 256, (3, side, side)).astype(np.uint8)


def reflectance(draw: np.random.Generator, bands: int, side: int = SIDE) -> np.ndarray:
    return draw.integers(100, 6000, (bands, side, side)).astype(np.uint16)
