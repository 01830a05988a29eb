"""Images with a mask each, without georeference: photographs are chips too.

    tile-1/images/a.jpg  with  tile-1/masks/a.png

A mask holds class codes, or colours, in a palette or in red, green and blue, that are those of the
classes.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import windows
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from earthloom.chips.label_report import LabelReport
from earthloom.chips.label_vocabulary import IGNORE
from earthloom.errors import DataError, LabelError, choices
from earthloom.project import LandClass
from earthloom.sample import UNLABELLED, Chip, Layer, LayerSpec, Shape2d
from earthloom.sensors import Sensor, measures_of

_NO_CLASS = ("unlabeled", "unlabelled")
"""Titles of classes that are none."""


@dataclass(frozen=True)
class MaskMeaning:
    """What the values of masks are."""

    codes: Mapping[int, int]
    """The project's code, `UNLABELLED` or `IGNORE` of each class code, or of each colour as the
    number 0xrrggbb."""
    coloured: bool

    @staticmethod
    def by_code(classes: Sequence[LandClass]) -> "MaskMeaning":
        """Masks that hold class codes, 0 for none and 255 for pixels that are not used."""
        own = {each.code: each.code for each in classes}
        return MaskMeaning(own | {UNLABELLED: UNLABELLED, IGNORE: IGNORE}, coloured=False)

    @staticmethod
    def by_colour(
        classes: Sequence[LandClass], unlabelled: Sequence[str] = (), ignore: Sequence[str] = ()
    ) -> "MaskMeaning":
        """Masks that hold the classes' colours; other colours (`#rrggbb`) may be none or unused."""
        codes = {_number(each.colour): each.code for each in classes}
        codes |= {_number(colour): UNLABELLED for colour in unlabelled}
        return MaskMeaning(codes | {_number(colour): IGNORE for colour in ignore}, coloured=True)


@dataclass(frozen=True)
class _Tile:
    image: Path
    mask: Path
    id: str
    group: str
    row: int
    col: int


@dataclass(frozen=True)
class MaskedImages:
    """Square pieces of images with their masks, read when they are asked for; a `Samples`."""

    sensor: Sensor
    spec: LayerSpec
    meaning: MaskMeaning
    shape: Shape2d
    tiles: tuple[_Tile, ...]
    report: LabelReport
    """Of images: those without a mask, and those smaller than a chip, are skipped."""

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.spec.key: self.spec}

    @property
    def groups(self) -> Sequence[str]:
        return [tile.group for tile in self.tiles]

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> Chip:
        tile = self.tiles[index]
        part = windows.Window(tile.col, tile.row, self.shape.cols, self.shape.rows)
        with _opened(tile.image, DataError) as source:
            bands = [self.sensor.band(name) for name in self.spec.bands]
            stored = source.read([band.index for band in bands], window=part)
            valid = source.dataset_mask(window=part) > 0
        pixels = np.stack([band.physical(one) for band, one in zip(bands, stored, strict=True)])
        pixels[:, ~valid] = np.nan
        layer = Layer(
            spec=self.spec,
            pixels=pixels[None].astype(np.float32),
            valid=valid[None],
            days=np.zeros(1, np.int32),
        )
        return Chip(
            id=tile.id,
            shape=self.shape,
            layers={self.spec.key: layer},
            label=read_mask(tile.mask, self.meaning, part),
            group=tile.group,
        )


def read_masked_images(
    folder: Path,
    sensor: Sensor,
    meaning: MaskMeaning,
    size: int,
    images: str = "images",
    masks: str = "masks",
) -> MaskedImages:
    """The images of a folder, in square pieces of `size` pixels, with their masks.

    In every folder below, `images/NAME.*` belongs to `masks/NAME.*`. The pieces at the right and
    lower edges overlap their neighbours, so that every pixel is in one. Those of a folder make a
    group. LabelError if there are none, or for a mask whose size is not the image's.
    """
    tiles: list[_Tile] = []
    skipped = {"mask": 0, "size": 0}
    pairs = list(_pairs(folder, images, masks))
    if not pairs:
        raise LabelError(f"no folder in {folder} has the folders '{images}' and '{masks}' in it")
    for image, mask in pairs:
        found = _tiles(folder, image, mask, size) if mask is not None else []
        skipped["mask" if mask is None else "size"] += not found
        tiles += found
    report = LabelReport(len(pairs), {reason: n for reason, n in skipped.items() if n})
    if not tiles:
        raise LabelError(f"no image in {folder} can be used: {report.sentence('images')}")
    bands = sensor.bands
    spec = LayerSpec(
        sensor=sensor.name,
        gsd=bands[0].gsd,
        bands=tuple(band.name for band in bands),
        unit=bands[0].unit,
        # When a photograph was taken is not known: its day is 0, and plays no part.
        dates=("static",),
        wavelengths_nm=tuple(band.wavelength_nm for band in bands),
        measures=measures_of(sensor, bands),
    )
    return MaskedImages(sensor, spec, meaning, Shape2d(size, size), tuple(tiles), report)


def read_mask(path: Path, meaning: MaskMeaning, part: windows.Window | None) -> NDArray[np.uint8]:
    """Class codes (H, W) of a mask, or of a window of it; LabelError names a value of no class."""
    with _opened(path, LabelError) as source:
        if not meaning.coloured and source.count > 1:
            raise LabelError(
                f"the mask {path} has {source.count} bands, but class codes are one band; "
                "are they colours?"
            )
        values = _colours(source, part) if meaning.coloured else source.read(1, window=part)
    found, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    for value, count in zip(found.tolist(), counts.tolist(), strict=True):
        if value not in meaning.codes:
            what = f"colour {_hex(value)}" if meaning.coloured else f"value {value}"
            known = map(_hex, meaning.codes) if meaning.coloured else meaning.codes
            raise LabelError(
                f"the mask {path} has the {what} in {count} pixels, which is of no class; "
                f"valid are: {choices(known)}"
            )
    codes = np.array([meaning.codes[value] for value in found.tolist()], np.uint8)
    return np.asarray(codes[positions].reshape(values.shape), np.uint8)


def read_colour_classes(path: Path) -> tuple[tuple[LandClass, ...], tuple[str, ...]]:
    """Classes of a JSON `{"classes": [{"title": ..., "color": "#rrggbb"}]}`, with codes from 1 in
    their order, and the colours of those that are called unlabelled."""
    try:
        listed = [
            (str(each["title"]), str(each["color"]))
            for each in json.loads(path.read_text(encoding="utf-8"))["classes"]
        ]
        none = tuple(colour for title, colour in listed if title.casefold() in _NO_CLASS)
        named = [each for each in listed if each[0].casefold() not in _NO_CLASS]
        classes = tuple(
            LandClass(code=code, name=title, colour=colour)
            for code, (title, colour) in enumerate(named, start=1)
        )
    except (OSError, UnicodeError, ValueError, KeyError, TypeError) as error:
        words = " ".join(str(error).split())
        raise LabelError(f"the classes {path} cannot be read: {words}") from error
    return classes, none


def _pairs(folder: Path, images: str, masks: str) -> Iterator[tuple[Path, Path | None]]:
    """Every image with its mask, or None."""
    for place in sorted(path for path in (folder, *folder.rglob("*")) if path.is_dir()):
        if (place / images).is_dir() and (place / masks).is_dir():
            named = {path.stem: path for path in sorted((place / masks).iterdir())}
            for image in sorted((place / images).iterdir()):
                yield image, named.get(image.stem)


def _tiles(folder: Path, image: Path, mask: Path, size: int) -> list[_Tile]:
    with _opened(image, DataError) as source, _opened(mask, LabelError) as other:
        rows, cols = source.shape
        if source.shape != other.shape:
            raise LabelError(
                f"the mask {mask} has {other.shape[0]} x {other.shape[1]} pixels, but its image "
                f"has {rows} x {cols}"
            )
    if min(rows, cols) < size:
        return []
    place = image.parent.parent.relative_to(folder).as_posix()
    name = f"{place}/{image.stem}".removeprefix("./")
    group = name if place == "." else place
    return [
        _Tile(image, mask, f"{name}_{row}_{col}", group, row, col)
        for row in _starts(rows, size)
        for col in _starts(cols, size)
    ]


def _starts(length: int, size: int) -> list[int]:
    """Where pieces start, the last one at the edge."""
    starts = list(range(0, length - size + 1, size))
    return starts if starts[-1] == length - size else [*starts, length - size]


@contextmanager
def _opened(path: Path, raised: type[DataError] | type[LabelError]) -> Iterator[DatasetReader]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as source:
                yield source
        except RasterioError as error:
            raise raised(f"the image {path} cannot be read: {error}") from error


def _colours(source: DatasetReader, part: windows.Window | None) -> NDArray[np.int64]:
    """Colours (H, W) as the numbers 0xrrggbb, whether of a palette, of bands or of grey."""
    if source.count >= 3:
        red, green, blue = source.read([1, 2, 3], window=part).astype(np.int64)
    else:
        grey = source.read(1, window=part)
        if "palette" in [each.name for each in source.colorinterp]:
            table = np.zeros((256, 3), np.int64)
            for value, colour in source.colormap(1).items():
                table[value] = colour[:3]
            red, green, blue = np.moveaxis(table[grey], -1, 0)
        else:
            red = green = blue = grey.astype(np.int64)
    return np.asarray((red << 16) | (green << 8) | blue, np.int64)


def _number(colour: str) -> int:
    return int(colour.removeprefix("#"), 16)


def _hex(number: int) -> str:
    return f"#{number:06x}"
