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
    def of(
        sensor: Sensor | str,
        bands: Sequence[str] = (),
        gsd: float | None = None,
        scale: float | None = None,
    ) -> "Imagery":
        """Files whose bands are, in this order, `bands` of a sensor; the sensor's own without.

        `gsd` in metres goes before the sensor's. With `scale`, the physical value is the number in
        the file times it, in place of the sensor's own scale, offset and nodata value. DataError
        for an unknown band, or for bands of different units.
        """
        known = load_sensor(sensor) if isinstance(sensor, str) else sensor
        unknown = [name for name in bands if name not in known.by_name]
        if unknown:
            raise DataError(
                f"{known.name} has no band '{unknown[0]}'; its bands are: {choices(known.by_name)}"
            )
        if scale is not None:
            known = _rescaled(known, scale)
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
            layer, place = self.from_open(source, f"the image {path}", part)
        return layer, place

    def from_open(
        self, source: DatasetReader, where: str, part: Window | None = None
    ) -> tuple[Layer, Place | None]:
        """As `read`, of an open image, which `where` calls by name."""
        window = part and windows.Window(part.col, part.row, part.shape.cols, part.shape.rows)
        if not self.fits(source):
            raise DataError(
                f"{where} has {source.count} band(s), but {max(self.indexes)} are needed: "
                f"{choices(self.spec.bands)} of {self.sensor.name}"
            )
        if source.count == 1 and max(self.indexes) == 3:
            stored = _painted(source, window)[[at - 1 for at in self.indexes]]
        else:
            stored = source.read(self.indexes, window=window)
        valid = np.asarray(source.dataset_mask(window=window) > 0)
        place = place_of(source)
        if place is not None and part is not None:
            place = place.window(part)
        return self.layer(stored, valid), place

    def fits(self, source: DatasetReader) -> bool:
        """Whether an open image has the bands, or a palette of red, green and blue."""
        return source.count >= max(self.indexes) or (
            source.count == 1 and max(self.indexes) == 3 and _has_palette(source)
        )

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
    """The image files of a folder, sorted; hidden ones are none. DataError if it is no folder."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    files = folder.rglob("*") if deep else folder.iterdir()
    return sorted(
        path
        for path in files
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(map(hidden, path.relative_to(folder).parts))
    )


def folders_in(folder: Path) -> list[Path]:
    """The folders of a folder that are not hidden, sorted."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not hidden(path.name))


def hidden(name: str) -> bool:
    """Whether a file or folder is the system's own, such as `.DS_Store`, `._a.jpg`, `__MACOSX`."""
    return name.startswith(".") or name == "__MACOSX"


def place_of(source: DatasetReader) -> Place | None:
    """Where an open image lies; None if it does not say."""
    if source.crs is None:
        return None
    code = source.crs.to_epsg()
    crs = f"EPSG:{code}" if code else source.crs.to_wkt()
    a, b, c, d, e, f = tuple(source.transform)[:6]
    return Place(crs, (a, b, c, d, e, f), Shape2d(*source.shape))


def _rescaled(sensor: Sensor, scale: float) -> Sensor:
    """The sensor with another scale for all bands; the files' own nodata value counts alone."""
    if not scale > 0:
        raise DataError(f"the scale of the files must be above 0, but is {scale:g}")
    bands = [
        replace(band, scale=scale, offset=0.0, transform="linear", nodata=None)
        for band in sensor.bands
    ]
    return replace(sensor, bands=tuple(bands))


def _has_palette(source: DatasetReader) -> bool:
    return "palette" in [each.name for each in source.colorinterp]


def _painted(source: DatasetReader, window: windows.Window | None) -> NDArray[np.uint8]:
    """Red, green and blue (3, H, W) of an image with a palette."""
    table = np.zeros((256, 3), np.uint8)
    for value, colour in source.colormap(1).items():
        table[value] = colour[:3]
    return np.moveaxis(table[source.read(1, window=window)], -1, 0)
