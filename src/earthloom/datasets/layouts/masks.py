"""Images with a mask of class codes or colours each, in two folders."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rasterio import windows

from earthloom.chips.label_images import MaskMeaning, read_colour_classes, read_mask
from earthloom.datasets.imagery import Imagery, images_in, size_of
from earthloom.datasets.layouts.items import codes_of, size_or_reason
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, LabelError
from earthloom.project import LandClass
from earthloom.sample import Chip, LayerSpec, Shape2d, Window
from earthloom.sample.target import Target

Pair = tuple[Path, Path, Window | None]


@dataclass(frozen=True)
class MaskItems:
    """Whole images with their masks; a `Reader`."""

    imagery: Imagery
    meaning: MaskMeaning
    pairs: tuple[Pair, ...]
    """Image, mask, and the piece of them."""
    ids: tuple[str, ...]
    groups: tuple[str, ...]

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.imagery.spec.key: self.imagery.spec}

    def __len__(self) -> int:
        return len(self.pairs)

    def chip(self, index: int) -> Chip:
        image, mask, part = self.pairs[index]
        layer, place = self.imagery.read(image, part)
        shape = Shape2d(*layer.valid.shape[-2:])
        whole = size_of(mask)
        if whole is not None and part is None and whole != shape:
            raise LabelError(
                f"the mask {mask} has {whole.rows} x {whole.cols} pixels, but its image "
                f"has {shape.rows} x {shape.cols}"
            )
        window = part and windows.Window(part.col, part.row, part.shape.cols, part.shape.rows)
        label = read_mask(mask, self.meaning, window)
        layers = {layer.spec.key: layer}
        return Chip(self.ids[index], shape, layers, label, self.groups[index], place)

    def target(self, index: int) -> Target | None:
        return None


def read_masks(
    folder: Path,
    imagery: Imagery,
    images: str = "images",
    masks: str = "masks",
    split: str = "",
    size: int = 0,
    classes: Sequence[str] = (),
    values: Sequence[int] = (),
    unlabelled: Sequence[int] = (),
    colours: Sequence[str] = (),
    colours_file: str = "",
    unlabelled_colours: Sequence[str] = (),
    image_suffix: str = "",
    mask_suffix: str = "",
) -> LabelledSamples:
    """Every `images/NAME.*` with `masks/NAME.*`, in `folder/split` or any folder below.

    With `size`, square pieces of so many pixels: those at the edges overlap their neighbours, so
    that every pixel is in one. Smaller images are counted.

    Masks hold `values`, one a class (1, 2, ... unless said), and `unlabelled` where there is none;
    or `colours` (`#rrggbb`), one a class, and `unlabelled_colours`. The JSON file `colours_file`
    (`{"classes": [{"title", "color"}]}`) may tell classes and colours instead.
    `image_suffix` and `mask_suffix` are what names end with beyond NAME, such as `_sat` and
    `_mask`. Images without a mask, and broken ones, are counted. Those of a folder make a
    group, if there is more than one.
    """
    if colours_file:
        known, none = read_colour_classes(folder / colours_file)
        names = tuple(each.name for each in known)
        meaning = MaskMeaning.by_colour(known, [*none, *unlabelled_colours])
    else:
        names = tuple(classes)
        if not names:
            raise DataError(f"{folder}: masks need 'classes', or a 'colours_file'")
        meaning = (
            _coloured(names, colours, unlabelled_colours)
            if colours
            else _meaning(names, values, unlabelled)
        )
    root = folder / split
    pairs, skipped = _paired(root, (images, image_suffix), (masks, mask_suffix), size)
    report = ReadReport(len(pairs) + sum(skipped.values()), dict(skipped))
    if not pairs:
        raise DataError(f"{folder} has no image with a mask: {report.sentence()}")
    ids, groups = _named(root, pairs)
    reader = MaskItems(imagery, meaning, tuple(pairs), ids, groups)
    return LabelledSamples(folder.name, "pixel-class", names, reader, report)


def _paired(
    root: Path, images: tuple[str, str], masks: tuple[str, str], size: int
) -> tuple[list[Pair], Counter[str]]:
    """Images with their masks, in pieces, and why others are left out.

    `images` and `masks` are the names of their folders, and what the files' names end with.
    """
    skipped, pairs = Counter[str](), list[Pair]()
    for place in _places(root, images[0], masks[0]):
        named = {_stem(path, masks[1]): path for path in images_in(place / masks[0])}
        for image in images_in(place / images[0]):
            mask = named.get(_stem(image, images[1]))
            if mask is None:
                skipped["without a mask"] += 1
            elif whole := size_or_reason(image, skipped):
                pieces = _pieces(image, mask, whole, size)
                skipped[f"smaller than {size} pixels"] += not pieces
                pairs += [(image, mask, piece) for piece in pieces]
    return pairs, +skipped


def _named(root: Path, pairs: Sequence[Pair]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The id and the group of each pair."""
    names = [image.relative_to(root).with_suffix("").as_posix() for image, _, _ in pairs]
    places = [image.parent.parent.relative_to(root).as_posix() for image, _, _ in pairs]
    ids = tuple(
        f"{name}_{part.row}_{part.col}" if part else name
        for name, (_, _, part) in zip(names, pairs, strict=True)
    )
    return ids, tuple(places if len(set(places)) > 1 else names)


def _pieces(image: Path, mask: Path, whole: Shape2d, size: int) -> list[Window | None]:
    """Windows of an image; None is the whole of it."""
    if not size:
        return [None]
    other = size_of(mask)
    if other is not None and other != whole:
        raise LabelError(
            f"the mask {mask} has {other.rows} x {other.cols} pixels, but its image has "
            f"{whole.rows} x {whole.cols}"
        )
    if min(whole) < size:
        return []
    starts = [sorted({*range(0, side - size, size), side - size}) for side in whole]
    shape = Shape2d(size, size)
    return [Window(row, col, shape) for row in starts[0] for col in starts[1]]


def _coloured(names: Sequence[str], colours: Sequence[str], none: Sequence[str]) -> MaskMeaning:
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
    return MaskMeaning.by_colour(known, none)


def _meaning(names: Sequence[str], values: Sequence[int], unlabelled: Sequence[int]) -> MaskMeaning:
    stored = list(values) or list(range(1, len(names) + 1))
    if len(stored) != len(names):
        raise DataError(f"{len(stored)} values of masks do not fit {len(names)} classes")
    codes = dict(zip(stored, codes_of(names).values(), strict=True))
    none = {0, *unlabelled} - set(stored) if not values else set(unlabelled)
    return MaskMeaning(codes | dict.fromkeys(none, 0), coloured=False)


def _places(folder: Path, images: str, masks: str) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    inside = sorted(path for path in (folder, *folder.rglob("*")) if path.is_dir())
    found = [path for path in inside if (path / images).is_dir() and (path / masks).is_dir()]
    if not found:
        raise DataError(f"no folder in {folder} has the folders '{images}' and '{masks}' in it")
    return found


def _stem(path: Path, suffix: str) -> str:
    return path.stem.removesuffix(suffix)
