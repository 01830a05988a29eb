"""What the numbers or colours of mask files mean: class codes (H, W)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio import windows
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from earthloom.chips.label_images import MaskMeaning, read_colour_classes, read_mask
from earthloom.datasets.imagery import opened, place_of
from earthloom.datasets.layouts.items import codes_of
from earthloom.datasets.layouts.mask_pairs import other_size
from earthloom.datasets.layouts.tables import need, read_table
from earthloom.errors import DataError, LabelError, choices
from earthloom.project import LandClass
from earthloom.sample import Place, Shape2d, Window

_LOOKED_AT = 16
"""Masks that are looked at to see from where they count."""

_FEW_PIXELS = 512
"""Rows and columns of pixels that are looked at."""

_NO_CLASS = ("unlabeled", "unlabelled")
"""Titles of classes that are none."""


class Meaning(Protocol):
    """How the masks of an image become class codes."""

    def read(self, masks: Sequence[Path | None], part: Window | None) -> NDArray[np.uint8]:
        """Codes (H, W), 0 where there is no label."""
        ...


@dataclass(frozen=True)
class ByNumber:
    """One mask of numbers; those that the file itself calls nodata, and NaN, are no label."""

    codes: Mapping[int, int]

    def read(self, masks: Sequence[Path | None], part: Window | None) -> NDArray[np.uint8]:
        path = _one(masks)
        values, nodata = _numbers(path, part)
        found, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
        codes = np.zeros(len(found), np.uint8)
        for at, value in enumerate(found.tolist()):
            if value in self.codes:
                codes[at] = self.codes[value]
            elif value == value and value != nodata:
                raise LabelError(
                    f"the mask {path} has the value {value:g} in {counts[at]} pixels, which is of "
                    f"no class; valid are: {choices(self.codes)}; what is none may be named as "
                    "'unlabelled'"
                )
        return codes[positions].reshape(values.shape)


@dataclass(frozen=True)
class ByColour:
    """One mask of colours, in bands or in a palette."""

    meaning: MaskMeaning

    def read(self, masks: Sequence[Path | None], part: Window | None) -> NDArray[np.uint8]:
        return read_mask(_one(masks), self.meaning, window_of(part))


@dataclass(frozen=True)
class OneAClass:
    """A mask for each class, which is where that is neither 0 nor nodata.

    Where two classes meet there is no label; `rest` is the code where no mask shows anything.
    """

    codes: Sequence[int]
    rest: int

    def read(self, masks: Sequence[Path | None], part: Window | None) -> NDArray[np.uint8]:
        shown = {
            code: self._shown(mask, part)
            for code, mask in zip(self.codes, masks, strict=True)
            if mask is not None
        }
        if len({each.shape for each in shown.values()}) > 1:
            raise LabelError(f"the masks {choices(filter(None, masks))} differ in size")
        often = np.sum(list(shown.values()), axis=0)
        label = np.full(often.shape, self.rest, np.uint8)
        for code, where in shown.items():
            label[where] = code
        label[often > 1] = 0
        return label

    def _shown(self, mask: Path, part: Window | None) -> NDArray[np.bool_]:
        values, nodata = _numbers(mask, part)
        there = np.isfinite(values) & (values != 0)
        return np.asarray(there if nodata is None else there & (values != nodata))


def meaning_of_numbers(
    names: Sequence[str], values: Sequence[int], unlabelled: Sequence[int]
) -> ByNumber:
    """Masks that hold `values`, one a class; 1, 2, ... and 0 for none unless said."""
    stored = list(values) or list(range(1, len(names) + 1))
    if len(stored) != len(names):
        raise DataError(f"{len(stored)} values of masks do not fit {len(names)} classes")
    codes = dict(zip(stored, codes_of(names).values(), strict=True))
    none = {0, *unlabelled} - set(stored) if not values else set(unlabelled)
    return ByNumber(codes | dict.fromkeys(none, 0))


def expect_counted_from_one(masks: Sequence[Path | None], classes: int) -> None:
    """LabelError if some masks hold 0, and never the last class: they may count from 0."""
    files = [mask for mask in masks if mask is not None]
    at = np.unique(np.linspace(0, len(files) - 1, _LOOKED_AT).astype(int))
    held = {value for each in at for value in some_values(files[each])}
    if 0 in held and not any(value >= classes for value in held):
        raise LabelError(
            f"the masks, such as {files[0]}, hold 0 and never {classes}: do they count classes "
            f"from 0? Then say values={list(range(classes))}; if 0 is no label, say unlabelled=[0]"
        )


def some_values(mask: Path) -> set[float]:
    """Values of a mask that are not nodata; of a large one those of some pixels."""
    with opened(mask) as source:
        shape = tuple(min(side, _FEW_PIXELS) for side in source.shape)
        plane = source.read(1, out_shape=shape)
        return {value for value in np.unique(plane).tolist() if value != source.nodata}


def meaning_of_colours(
    names: Sequence[str], colours: Sequence[str], none: Sequence[str]
) -> ByColour:
    """Masks that hold `colours` (`#rrggbb`), one a class."""
    wrong = [each for each in (*colours, *none) if not re.fullmatch(r"#[0-9a-fA-F]{6}", each)]
    if wrong:
        raise DataError(f"the colour '{wrong[0]}' must be as #00ff7f")
    if len(colours) != len(names):
        raise DataError(f"{len(colours)} colours do not fit {len(names)} classes")
    codes = codes_of(names)
    known = [
        LandClass(code=codes[name], name=name, colour=colour)
        for name, colour in zip(names, colours, strict=True)
    ]
    return ByColour(MaskMeaning.by_colour(known, none))


def meaning_of_file(file: Path, none: Sequence[str]) -> tuple[tuple[str, ...], ByColour]:
    """Classes and colours of a file: JSON of titles and colours, CSV of name, r, g and b, or a
    `labelmap.txt` of lines `name:r,g,b:...`. Those called unlabelled are none."""
    if file.suffix.lower() == ".json":
        known, more = read_colour_classes(file)
        names, colours = [each.name for each in known], [each.colour for each in known]
    else:
        pairs = _labelmap(file) if file.suffix.lower() == ".txt" else _colour_table(file)
        more = tuple(colour for name, colour in pairs if name.casefold() in _NO_CLASS)
        named = [pair for pair in pairs if pair[0].casefold() not in _NO_CLASS]
        names, colours = [name for name, _ in named], [colour for _, colour in named]
    return tuple(names), meaning_of_colours(names, colours, [*more, *none])


def expect_same_place(mask: Path, place: Place | None, shape: Shape2d) -> None:
    """LabelError if a mask does not lie where its image does, or is of another size."""
    with opened(mask) as source:
        other, size = place_of(source), Shape2d(*source.shape)
    if size != shape:
        raise other_size(mask, size, shape)
    if place is None or other is None:
        return
    if place.crs != other.crs and CRS.from_user_input(place.crs) != CRS.from_user_input(other.crs):
        raise LabelError(f"the mask {mask} is in {other.crs}, but its image in {place.crs}")
    a, b, c, d, e, f = (ours - its for ours, its in zip(place.transform, other.transform))
    pixel = max(map(abs, place.transform[:2]))
    # The upper left corner and the lower right one.
    shifts = (c, f, a * shape.cols + b * shape.rows + c, d * shape.cols + e * shape.rows + f)
    if max(map(abs, shifts)) > pixel / 2:
        raise LabelError(
            f"the mask {mask} does not lie where its image does: their corners differ by "
            f"{max(map(abs, shifts)) / pixel:.3g} pixels"
        )


def _numbers(path: Path, part: Window | None) -> tuple[NDArray[np.number], float | None]:
    """The numbers (H, W) of a mask, and which of them its file calls nodata."""
    with opened(path) as source:
        plane = _plane(source, path, window_of(part))
        return plane, source.nodata


def _plane(source: DatasetReader, path: Path, window: windows.Window | None) -> NDArray[np.number]:
    """The only band; or grey that was written as red, green and blue."""
    if source.count == 1:
        return np.asarray(source.read(1, window=window))
    bands = source.read([1, 2, 3], window=window) if source.count in (3, 4) else None
    if bands is None or not (bands == bands[0]).all():
        raise LabelError(
            f"the mask {path} has {source.count} bands, but class codes are one band; "
            "are they colours? Then name 'colours' or a 'colours_file'"
        )
    return np.asarray(bands[0])


def _labelmap(file: Path) -> list[tuple[str, str]]:
    found = []
    try:
        for line in file.read_text(encoding="utf-8-sig").splitlines():
            if line.strip() and not line.startswith("#"):
                name, colour = line.split(":")[:2]
                found.append((name, _hex(colour.split(","), file)))
    except (OSError, UnicodeError, ValueError) as error:
        raise LabelError(f"the classes {file} are no lines 'name:r,g,b:': {error}") from error
    return found


def _colour_table(file: Path) -> list[tuple[str, str]]:
    rows = read_table(file)
    need(rows, ["name", "r", "g", "b"], file)
    return [
        (str(row.name).strip(), _hex([row.r, row.g, row.b], file))
        for row in rows[["name", "r", "g", "b"]].itertuples(index=False)
    ]


def _hex(parts: Sequence[object], file: Path) -> str:
    numbers = [int(str(part)) for part in parts]
    if len(numbers) != 3 or not all(0 <= each <= 255 for each in numbers):
        raise LabelError(f"{file}: the colour {choices(parts)} must be three numbers up to 255")
    return "#{:02x}{:02x}{:02x}".format(*numbers)


def _one(masks: Sequence[Path | None]) -> Path:
    (mask,) = masks
    assert mask is not None
    return mask


def window_of(part: Window | None) -> windows.Window | None:
    """A window as rasterio has it."""
    return part and windows.Window(part.col, part.row, part.shape.cols, part.shape.rows)
