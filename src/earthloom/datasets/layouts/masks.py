"""Images with a mask of class codes or colours each, or with a mask of each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earthloom.datasets.imagery import Imagery
from earthloom.datasets.layouts.items import codes_of
from earthloom.datasets.layouts.mask_files import (
    ByNumber,
    Meaning,
    OneAClass,
    expect_counted_from_one,
    meaning_of_colours,
    meaning_of_file,
    meaning_of_numbers,
)
from earthloom.datasets.layouts.mask_pairs import Named, find_pairs
from earthloom.datasets.layouts.pair_items import PairItems
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, choices
from earthloom.sample import Chip, Shape2d


@dataclass(frozen=True)
class MaskItems(PairItems):
    """Whole images, or pieces of them, with their masks."""

    meaning: Meaning

    def chip(self, index: int) -> Chip:
        pair = self.pairs[index]
        layer, place = self.read_image(pair)
        shape = Shape2d(*layer.valid.shape[-2:])
        label = self.meaning.read(pair.masks, pair.part)
        return Chip(pair.id, shape, {layer.spec.key: layer}, label, pair.group, place)


def read_masks(
    folder: Path,
    imagery: Imagery,
    images: str = "images",
    masks: str | Sequence[str] = "masks",
    split: str = "",
    size: int = 0,
    classes: Sequence[str] = (),
    values: Sequence[int] = (),
    unlabelled: Sequence[int] = (),
    colours: Sequence[str] = (),
    colours_file: str = "",
    unlabelled_colours: Sequence[str] = (),
    image_prefix: str = "",
    image_suffix: str = "",
    mask_prefix: str = "",
    mask_suffix: str | Sequence[str] = "",
    rest: str = "",
) -> LabelledSamples:
    """Every `images/NAME.*` with `masks/NAME.*`, in the folder or any folder below.

    `split` is a folder above `images` and `masks`, or one in each of them, or a list of names
    `SPLIT.txt`. With `size`, square pieces of so many pixels: those at the edges overlap their
    neighbours, so that every pixel is in one. Smaller images are counted.

    Masks hold `values`, one a class (1, 2, ... unless said), and `unlabelled` where there is none;
    so are NaN, and what the file itself calls nodata. Or they hold `colours` (`#rrggbb`), one a
    class, and `unlabelled_colours`; a `colours_file` may tell classes and colours instead, see
    `meaning_of_file`. Where each class has a mask of its own, `masks` are their folders, or
    `mask_suffix` their endings, in the order of `classes`; `rest` is the class of pixels that are
    in none of them, and those in two have no label.

    The prefixes and suffixes are what names have beyond NAME, such as `_sat` and `_mask`. Images
    without a mask, and broken ones, are counted. Those of a folder make a group, if there is more
    than one.
    """
    kinds = _kinds(masks, mask_prefix, mask_suffix)
    meaning: Meaning
    if colours_file:
        names, meaning = meaning_of_file(folder / colours_file, unlabelled_colours)
    elif not classes:
        raise DataError(f"{folder}: masks need 'classes', or a 'colours_file'")
    else:
        names = tuple(classes)
        meaning = _meaning(names, values, unlabelled, colours, unlabelled_colours, len(kinds), rest)
    pairs, skipped = find_pairs(
        folder, imagery, Named(images, image_prefix, image_suffix), kinds, split, size
    )
    if isinstance(meaning, ByNumber) and not values and 0 not in unlabelled:
        expect_counted_from_one([pair.masks[0] for pair in pairs], len(names))
    alone = (f"'{names[0]}' and no label beside it: nothing to tell it from",)
    read = alone if len(names) == 1 else ()
    report = ReadReport(len(pairs) + sum(skipped.values()), dict(skipped), read=read)
    return LabelledSamples(
        folder.name, "pixel-class", names, MaskItems(imagery, tuple(pairs), meaning), report
    )


def _kinds(masks: str | Sequence[str], prefix: str, suffix: str | Sequence[str]) -> list[Named]:
    """The kinds of mask files: one, or one a class."""
    folders = [masks] if isinstance(masks, str) else list(masks)
    endings = [suffix] if isinstance(suffix, str) else list(suffix)
    if min(len(folders), len(endings)) != 1:
        raise DataError("masks of each class differ in 'masks' or in 'mask_suffix', not in both")
    return [Named(folder, prefix, ending) for folder in folders for ending in endings]


def _meaning(
    names: tuple[str, ...],
    values: Sequence[int],
    unlabelled: Sequence[int],
    colours: Sequence[str],
    unlabelled_colours: Sequence[str],
    kinds: int,
    rest: str,
) -> Meaning:
    if kinds == 1 and not rest:
        if colours:
            return meaning_of_colours(names, colours, unlabelled_colours)
        return meaning_of_numbers(names, values, unlabelled)
    codes = codes_of(names)
    if rest and rest not in codes:
        raise DataError(f"the 'rest' is '{rest}', but the classes are: {choices(names)}")
    shown = [code for name, code in codes.items() if name != rest]
    if len(shown) != kinds:
        raise DataError(
            f"{kinds} masks an image do not fit the {len(shown)} classes that have one: "
            f"{choices(name for name in names if name != rest)}"
        )
    return OneAClass(tuple(shown), codes.get(rest, 0))
