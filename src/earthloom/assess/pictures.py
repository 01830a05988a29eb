"""Rasters of an area, read at the size that a report shows them in."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from matplotlib.image import imsave
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.io import DatasetReader

from earthloom.cube import Cube
from earthloom.maps import CLASS_NODATA, PROBABILITY_NODATA, PROBABILITY_SCALE
from earthloom.project import LandClass
from earthloom.sample import LayerSpec

_VISIBLE_NM = (665.0, 560.0, 490.0)
"""Wavelengths of red, green and blue."""
_NEAR_NM = 40.0
"""How far from these a band may lie and still show the colour."""

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True)
class Raster:
    """A raster at a picture's size."""

    values: NDArray[np.generic]
    """(h, w) codes or figures, or (h, w, 4) red, green, blue and opacity, 0 to 255."""
    box: GeoBox
    """Where it lies."""


@dataclass(frozen=True)
class TrueColour:
    """The layer and bands that show an area as an eye would see it."""

    spec: LayerSpec
    bands: tuple[str, str, str]


def read_codes(path: Path, most: int) -> Raster:
    """Class codes (h, w) of a map, at most `most` pixels wide and high: what each stands for most.

    Read from the file's overviews, so a large map costs no more than a small one.
    """
    with rasterio.open(path) as source:
        shape = shape_within(source.height, source.width, most)
        codes = source.read(1, out_shape=shape, resampling=Resampling.mode)
        return Raster(codes, _box_of(source).zoom_to(shape))


def read_confidence(path: Path, most: int) -> Raster:
    """The highest of all classes' probabilities (h, w), NaN where the map says nothing."""
    with rasterio.open(path) as source:
        shape = shape_within(source.height, source.width, most)
        highest = np.zeros(shape, np.uint8)
        seen = np.zeros(shape, np.bool_)
        # Nearest pixels: the mean of neighbours of different classes would look unsure.
        for band in source.indexes:
            stored = source.read(band, out_shape=shape, resampling=Resampling.nearest)
            seen |= stored != PROBABILITY_NODATA
            np.maximum(highest, np.where(stored == PROBABILITY_NODATA, 0, stored), out=highest)
        box = _box_of(source)
    confidence = np.where(seen, highest * np.float32(PROBABILITY_SCALE), np.float32(np.nan))
    return Raster(confidence, box.zoom_to(shape))


def coloured(codes: NDArray[np.generic], classes: tuple[LandClass, ...]) -> NDArray[np.uint8]:
    """(h, w, 4) red, green, blue and opacity of class codes; what has none is transparent."""
    table = np.zeros((256, 4), np.uint8)
    for each in classes:
        table[each.code] = (*each.rgb, 255)
    table[CLASS_NODATA] = 0
    return table[codes.astype(np.uint8)]


def true_colour_of(cube: Cube) -> TrueColour | None:
    """The finest layer that has red, green and blue; None where none has."""
    for spec in sorted(cube.specs.values(), key=lambda spec: spec.gsd):
        chosen = [_nearest_band(spec, wanted) for wanted in _VISIBLE_NM]
        red, green, blue = chosen
        if red and green and blue:
            return TrueColour(spec, (red, green, blue))
    return None


def true_colour(
    cube: Cube, look: TrueColour, steps: tuple[int, ...], most: int
) -> list[NDArray[np.uint8]]:
    """Pictures (h, w, 4) of time steps, all stretched alike, so that a change is not the
    stretch's; transparent where nothing was seen."""
    images = [cube.thumbnail(look.spec.key, step, look.bands, most) for step in steps]
    values = np.concatenate([image.reshape(3, -1) for image in images], axis=1)
    if np.isnan(values).all():
        return [np.zeros((*image.shape[1:], 4), np.uint8) for image in images]
    # Band by band, which takes the blue of the air away.
    low, high = np.nanpercentile(values, (1, 98), axis=1)
    return [_stretched(image, low, high) for image in images]


def png(image: NDArray[np.uint8]) -> str:
    """A picture (h, w, 4) as a data address: PNG, for few colours with sharp edges."""
    stream = io.BytesIO()
    nameless: dict[str, Any] = {"Software": None}
    imsave(stream, image, format="png", metadata=nameless)
    return _data_address("png", stream)


def jpeg(image: NDArray[np.uint8]) -> str:
    """A picture (h, w, 4) as a data address: JPEG, for a photograph; white where transparent."""
    white = np.where(image[..., 3:] > 0, image[..., :3], 255).astype(np.uint8)
    stream = io.BytesIO()
    imsave(stream, white, format="jpeg", pil_kwargs={"quality": 88})
    return _data_address("jpeg", stream)


def _data_address(kind: str, stream: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def shape_within(rows: int, cols: int, most: int) -> tuple[int, int]:
    """Rows and columns of a picture of a raster; never more than the raster has."""
    scale = max(rows, cols) / most
    if scale <= 1:
        return rows, cols
    return max(round(rows / scale), 1), max(round(cols / scale), 1)


def thinned(values: NDArray[Kind], shape: tuple[int, ...]) -> NDArray[Kind]:
    """Every n-th pixel (h, w) of a raster (H, W), so that it has the shape of a picture."""
    rows, cols = (
        (np.arange(wanted) + 0.5) * size / wanted for size, wanted in zip(values.shape, shape)
    )
    return values[np.ix_(rows.astype(int), cols.astype(int))]


def _box_of(source: DatasetReader) -> GeoBox:
    return GeoBox((source.height, source.width), source.transform, source.crs.to_wkt())


def _nearest_band(spec: LayerSpec, wanted: float) -> str | None:
    away = {
        band: abs(wavelength - wanted)
        for band, wavelength in zip(spec.bands, spec.wavelengths_nm)
        if wavelength is not None
    }
    nearest = min(away, key=lambda band: away[band], default=None)
    return nearest if nearest is not None and away[nearest] <= _NEAR_NM else None


def _stretched(
    image: NDArray[np.float32], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Reflectance (3, h, w) as the eye wants it: cut at both ends, dark tones lifted."""
    low, high = low[:, None, None], high[:, None, None]
    share = np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1) ** (1 / 1.4)
    seen = ~np.isnan(image).any(axis=0)
    rgb = np.rint(np.nan_to_num(share) * 255).astype(np.uint8)
    opacity = np.where(seen, 255, 0).astype(np.uint8)
    return np.concatenate([rgb, opacity[None]]).transpose(1, 2, 0)
