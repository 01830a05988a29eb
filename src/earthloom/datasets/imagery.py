"""Image files as layers of chips: physical units, a mask, and a place where they have one."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import windows
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from earthloom.errors import DataError, choices
from earthloom.sample import Layer, LayerSpec, Place, Shape2d, Window
from earthloom.sensors import Band, Sensor, load_sensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".jp2")
"""What counts as an image where a folder is searched."""


@dataclass(frozen=True)
class Imagery:
    """Which bands image files hold, and what their numbers mean."""

    sensor: Sensor
    spec: LayerSpec
    indexes: tuple[int, ...]
    """Which band of a file each band is, from 1."""

    @staticmethod
    def of(sensor: Sensor | str, bands: Sequence[str] = (), gsd: float | None = None) -> "Imagery":
        """Files whose bands are, in this order, `bands` of a sensor; the sensor's own without.

        `gsd` in metres goes before the sensor's. DataError for an unknown band, or for bands of
        different units.
        """
        known = load_sensor(sensor) if isinstance(sensor, str) else sensor
        unknown = [name for name in bands if name not in known.by_name]
        if unknown:
            raise DataError(
                f"{known.name} has no band '{unknown[0]}'; its bands are: {choices(known.by_name)}"
            )
        chosen = [known.by_name[name] for name in bands] if bands else list(known.bands)
        units = sorted({band.unit for band in chosen})
        if len(units) > 1:
            raise DataError(f"the bands of {known.name} differ in unit: {choices(units)}")
        indexes = range(1, len(chosen) + 1) if bands else (band.index for band in chosen)
        spec = LayerSpec(
            sensor=known.name,
            gsd=chosen[0].gsd if gsd is None else gsd,
            bands=tuple(band.name for band in chosen),
            unit=chosen[0].unit,
            # When an image was taken is not known: its day is 0, and plays no part.
            dates=("static",),
            wavelengths_nm=tuple(band.wavelength_nm for band in chosen),
        )
        return Imagery(known, spec, tuple(indexes))

    @property
    def bands(self) -> list[Band]:
        """The sensor's bands, in the order of the files."""
        return [self.sensor.band(name) for name in self.spec.bands]

    def read(self, path: Path, part: Window | None = None) -> tuple[Layer, Place | None]:
        """An image file, or a window of it; DataError if it does not load, or lacks bands."""
        with opened(path) as source:
            if source.count < max(self.indexes):
                raise DataError(
                    f"the image {path} has {source.count} band(s), but {max(self.indexes)} are "
                    f"needed: {choices(self.spec.bands)} of {self.sensor.name}"
                )
            window = part and windows.Window(part.col, part.row, part.shape.cols, part.shape.rows)
            stored = source.read(self.indexes, window=window)
            valid = np.asarray(source.dataset_mask(window=window) > 0)
            place = _place(source)
        if place is not None and part is not None:
            place = place.window(part)
        return self.layer(stored, valid), place

    def layer(self, stored: NDArray[np.number], seen: NDArray[np.bool_] | None = None) -> Layer:
        """Stored numbers (C, H, W) as a layer; not seen is what `seen` (H, W) says, and NaN."""
        if stored.ndim != 3 or len(stored) != len(self.spec.bands):
            raise DataError(
                f"an image has the shape {stored.shape}, but (C, H, W) with C = "
                f"{len(self.spec.bands)} bands is expected: {choices(self.spec.bands)}"
            )
        pixels = np.stack([b.physical(one) for b, one in zip(self.bands, stored, strict=True)])
        valid = np.asarray(np.isfinite(pixels).all(axis=0))
        if seen is not None:
            valid &= seen
        pixels[:, ~valid] = np.nan
        return Layer(
            spec=replace(self.spec),
            pixels=pixels[None].astype(np.float32),
            valid=valid[None],
            days=np.zeros(1, np.int32),
        )


@contextmanager
def opened(path: Path) -> Iterator[DatasetReader]:
    """An image file; every failure while it is open is a DataError of one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as source:
                yield source
        except RasterioError as error:
            words = " ".join(str(error).split())
            raise DataError(f"the image {path} cannot be read: {words}") from error


def size_of(path: Path) -> Shape2d | None:
    """Rows and columns of an image by its header alone; None if it is no image."""
    try:
        with opened(path) as source:
            return Shape2d(*source.shape)
    except DataError:
        return None


def images_in(folder: Path, deep: bool = False) -> list[Path]:
    """The image files of a folder, sorted; DataError if it is none."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    files = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in files if path.suffix.lower() in SUFFIXES and path.is_file())


def _place(source: DatasetReader) -> Place | None:
    if source.crs is None:
        return None
    code = source.crs.to_epsg()
    crs = f"EPSG:{code}" if code else source.crs.to_wkt()
    a, b, c, d, e, f = tuple(source.transform)[:6]
    return Place(crs, (a, b, c, d, e, f), Shape2d(*source.shape))
