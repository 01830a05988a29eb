"""Image files as layers of chips: physical units, a mask, and a place where they have one."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import windows
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from earthloom.errors import DataError, choices
from earthloom.sample import Layer, LayerSpec, Place, Shape2d, Window
from earthloom.sensors import Band, Sensor, load_sensor, measures_of

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".jp2")
"""What counts as an image where a folder is searched."""

_METRES_A_DEGREE = 111_320.0
"""Of latitude."""


@dataclass(frozen=True)
class Imagery:
    """Which bands image files hold, and what their numbers mean."""

    sensor: Sensor
    spec: LayerSpec
    indexes: tuple[int, ...]
    """Which band of a file each band is, from 1, unless the file names its bands."""
    chosen: bool = True
    """Whether the bands were named, and are not just all of the sensor's."""
    scale: float | None = None
    """What the numbers in the files are multiplied by, where that was said."""

    @staticmethod
    def of(
        sensor: Sensor | str,
        bands: Sequence[str] = (),
        gsd: float | None = None,
        scale: float | None = None,
        nodata: float | None = None,
    ) -> "Imagery":
        """Files whose bands are, in this order, `bands` of a sensor; the sensor's own without.

        `gsd` in metres goes before the sensor's, which is that of the finest of the bands. With
        `scale`, the physical value is the number in the file times it, in place of the sensor's own
        scale, offset and nodata value; `nodata` is the number in the file where nothing was seen.
        DataError for an unknown band, or for bands of different units.
        """
        known = load_sensor(sensor) if isinstance(sensor, str) else sensor
        unknown = [name for name in bands if name not in known.by_name]
        if unknown:
            raise DataError(
                f"{known.name} has no band '{unknown[0]}'; its bands are: {choices(known.by_name)}"
            )
        if scale is not None:
            known = _rescaled(known, scale)
        if nodata is not None:
            known = replace(known, bands=tuple(replace(b, nodata=nodata) for b in known.bands))
        chosen = [known.by_name[name] for name in bands] if bands else list(known.bands)
        units = sorted({band.unit for band in chosen})
        if len(units) > 1:
            raise DataError(
                f"the bands of {known.name} differ in unit: {choices(units)}; name those of one as "
                f"'bands', of {choices(known.by_name)}"
            )
        own = [band.index for band in chosen]
        # Products with a file for each band have 1 everywhere.
        several = bands or len(set(own)) < len(own)
        spec = LayerSpec(
            sensor=known.name,
            gsd=min(band.gsd for band in chosen) if gsd is None else gsd,
            bands=tuple(band.name for band in chosen),
            unit=chosen[0].unit,
            # When an image was taken is not known: its day is 0, and plays no part.
            dates=("static",),
            wavelengths_nm=tuple(band.wavelength_nm for band in chosen),
            measures=measures_of(known, chosen),
        )
        indexes = tuple(range(1, len(chosen) + 1) if several else own)
        return Imagery(known, spec, indexes, bool(bands), scale)

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
        at = self.found_in(source)
        if at is None:
            raise DataError(f"{where} has {self.lack_of(source)}")
        if source.count == 1 and max(at) == 3:
            stored = _painted(source, window)[[each - 1 for each in at]]
        else:
            stored = source.read(at, window=window)
        valid = _seen(source, at, stored, window)
        place = place_of(source)
        if place is not None and part is not None:
            place = place.window(part)
        return self.layer(stored, valid), place

    def found_in(self, source: DatasetReader) -> tuple[int, ...] | None:
        """Which band of an open image each band is, from 1; None if it does not fit.

        By name, where the file names its bands as the sensor's table does; else by order. A palette
        stands for red, green and blue. Bands beyond those that were named are passed over, but no
        one knows which those are beyond all of a sensor's, unless these are counts of a camera.
        """
        if source.count == 1 and max(self.indexes) == 3 and _has_palette(source):
            return self.indexes
        if (named := self.named_in(source)) is not None:
            return named or None
        if source.count < max(self.indexes):
            return None
        camera = all(band.kind == "counts" for band in self.bands)
        return self.indexes if self.chosen or camera or not self.surplus(source) else None

    def named_in(self, source: DatasetReader) -> tuple[int, ...] | None:
        """As `found_in`, by the descriptions of the file's bands; empty if they name others, None
        if they do not name bands of the sensor."""
        names = [plain_name(each or "") for each in source.descriptions]
        ways = [[plain_name(name) for name in _names_of(band)] for band in self.bands]
        found = [next((names.index(each) for each in way if each in names), None) for way in ways]
        at = tuple(each + 1 for each in found if each is not None)
        if len(at) == len(self.bands):
            return at if len(set(at)) == len(at) else None
        known = {plain_name(name) for band in self.sensor.bands for name in _names_of(band)}
        return () if set(names) <= known else None

    def surplus(self, source: DatasetReader) -> int:
        """How many bands an open image has beyond those that are read; transparency is none."""
        clear = [each for each in source.colorinterp if each == ColorInterp.alpha]
        count: int = source.count
        return max(0, count - len(clear) - max(self.indexes))

    def lack_of(self, source: DatasetReader) -> str:
        """Why an open image does not fit, after `it has`."""
        names = list(filter(None, source.descriptions))
        called = f" ({choices(names)})" if self.named_in(source) == () else ""
        needed = f"{max(self.indexes)} are needed: {choices(self.spec.bands)} of {self.sensor.name}"
        how = "; name the files' bands, in their order, as 'bands'" if self.surplus(source) else ""
        return f"{source.count} band(s){called}, but {needed}{how}"

    def layer(self, stored: NDArray[np.number], seen: NDArray[np.bool_] | None = None) -> Layer:
        """Stored numbers (C, H, W) as a layer; not seen is what `seen` (H, W) says, and NaN."""
        if stored.ndim != 3 or len(stored) != len(self.spec.bands):
            last = stored.ndim == 3 and stored.shape[-1] == len(self.spec.bands)
            raise DataError(
                f"an image has the shape {stored.shape}, but (C, H, W) with C = "
                f"{len(self.spec.bands)} bands is expected: {choices(self.spec.bands)}"
                + ("; if it is (H, W, C), say channels_last=True" if last else "")
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


def metres_of(source: DatasetReader) -> float | None:
    """How wide a pixel of an open image is on the ground, about; None if it has no place."""
    if source.crs is None or source.transform.is_identity:
        return None
    a, _, _, d, e, _ = tuple(source.transform)[:6]
    if source.crs.is_geographic:
        return abs(e) * _METRES_A_DEGREE or None
    return float(np.hypot(a, d) * source.crs.linear_units_factor[1])


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


def _names_of(band: Band) -> list[str]:
    """What a file may call a band."""
    return [name for name in (band.name, band.common_name) if name]


def plain_name(name: str) -> str:
    """A band's name without what tools write differently: `b2` of `B02`, `Band 2` and `b2`."""
    return re.sub(r"^b(?:and)?0*(?=\d)", "b", re.sub(r"[^a-z0-9]", "", name.lower()))


def _seen(
    source: DatasetReader,
    at: Sequence[int],
    stored: NDArray[np.number],
    window: windows.Window | None,
) -> NDArray[np.bool_]:
    """(H, W) where an open image has data, as it says itself. A band that is read is no mask: tools
    call the fourth of four bands transparency, and it may be near infrared."""
    clear = {i for i, each in enumerate(source.colorinterp, 1) if each == ColorInterp.alpha}
    if clear & set(at):
        if source.nodata is None:
            return np.ones(stored.shape[1:], np.bool_)
        return np.asarray((stored != source.nodata).any(axis=0))
    return np.asarray(source.dataset_mask(window=window) > 0)


def _has_palette(source: DatasetReader) -> bool:
    return "palette" in [each.name for each in source.colorinterp]


def _painted(source: DatasetReader, window: windows.Window | None) -> NDArray[np.uint8]:
    """Red, green and blue (3, H, W) of an image with a palette."""
    table = np.zeros((256, 3), np.uint8)
    for value, colour in source.colormap(1).items():
        table[value] = colour[:3]
    return np.moveaxis(table[source.read(1, window=window)], -1, 0)
