"""Images with another image of the same grid each: a second date, or numbers of pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from earthloom.datasets.imagery import Imagery, opened, place_of
from earthloom.datasets.layouts.mask_files import (
    Meaning,
    expect_counted_from_one,
    expect_same_place,
    meaning_of_colours,
    meaning_of_numbers,
    some_values,
    window_of,
)
from earthloom.datasets.layouts.mask_pairs import Named, find_pairs
from earthloom.datasets.layouts.pair_items import PairItems
from earthloom.datasets.layouts.tables import NO_NUMBERS
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, LabelError
from earthloom.sample import Chip, LayerSpec, Place, Shape2d
from earthloom.sample.target import PixelValues, Target

_LACK = "without a second date or a mask"
_DATES = ("1", "2")


@dataclass(frozen=True)
class ChangeItems(PairItems):
    """Two images of a place with a mask of what changed; of a pair the masks are the second image,
    and the mask."""

    meaning: Meaning

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.imagery.spec.key: replace(self.imagery.spec, dates=_DATES)}

    def chip(self, index: int) -> Chip:
        pair = self.pairs[index]
        after, mask = pair.masks
        assert after is not None
        assert mask is not None
        first, place = self.read_image(pair)
        second, _ = self.imagery.read(after, pair.part)
        (spec,) = self.specs.values()
        layer = replace(
            first,
            spec=spec,
            pixels=np.concatenate([first.pixels, second.pixels]),
            valid=np.concatenate([first.valid, second.valid]),
            days=np.zeros(2, np.int32),
        )
        label = self.meaning.read((mask,), pair.part)
        shape = Shape2d(*layer.valid.shape[-2:])
        return Chip(pair.id, shape, {spec.key: layer}, label, pair.group, place)


@dataclass(frozen=True)
class ValueItems(PairItems):
    """Images with a number for each pixel; of a pair the mask is the file of numbers."""

    unit: str

    def chip(self, index: int) -> Chip:
        pair = self.pairs[index]
        layer, place = self.imagery.read(pair.image, pair.part)
        shape = Shape2d(*layer.valid.shape[-2:])
        return Chip(pair.id, shape, {layer.spec.key: layer}, group=pair.group, place=place)

    def target(self, index: int) -> Target | None:
        """The numbers, NaN where the file has no data; LabelError for what stands for none."""
        pair = self.pairs[index]
        (file,) = pair.masks
        assert file is not None
        expect_same_place(file, *_grid(pair.image))
        window = window_of(pair.part)
        with opened(file) as source:
            values = source.read(1, window=window).astype(np.float32)
            seen = source.dataset_mask(window=window) > 0
        none = [each for each in NO_NUMBERS if (values[seen] == each).any()]
        if none:
            raise LabelError(
                f"the file {file} holds {none[0]:g}, which stands for no number, but does not call "
                "it nodata; write that into the file (gdal_edit -a_nodata)"
            )
        return PixelValues(np.where(seen, values, np.float32(np.nan)), self.unit)


def read_change(
    folder: Path,
    imagery: Imagery,
    before: str = "A",
    after: str = "B",
    masks: str = "label",
    split: str = "",
    size: int = 0,
    classes: Sequence[str] = ("no change", "change"),
    values: Sequence[int] = (),
    unlabelled: Sequence[int] = (),
    colours: Sequence[str] = (),
    unlabelled_colours: Sequence[str] = (),
) -> LabelledSamples:
    """Two images and a mask of one name in three folders; as `read_masks` else.

    Two classes are 0 and 255, or 0 and 1, whichever the first masks hold, unless `values` or
    `colours` are said.
    """
    meaning: Meaning
    kinds = [Named(after), Named(masks)]
    pairs, skipped = find_pairs(folder, imagery, Named(before), kinds, split, size)
    whole = [pair for pair in pairs if None not in pair.masks]
    skipped[_LACK] += len(pairs) - len(whole)
    if not whole:
        raise DataError(f"{folder} has no image with a second date and a mask")
    read: tuple[str, ...] = ()
    if colours:
        meaning = meaning_of_colours(classes, colours, unlabelled_colours)
    else:
        if not values and len(classes) == 2:
            values = _two_values([pair.masks[1] for pair in whole])
            read = (f"masks of {values[0]} '{classes[0]}' and {values[1]} '{classes[1]}'",)
        meaning = meaning_of_numbers(classes, values, unlabelled)
        if not values and 0 not in unlabelled:
            expect_counted_from_one([pair.masks[1] for pair in whole], len(classes))
    report = ReadReport(len(whole) + sum(skipped.values()), dict(+skipped), read=read)
    return LabelledSamples(
        folder.name, "change", tuple(classes), ChangeItems(imagery, tuple(whole), meaning), report
    )


def read_pixel_values(
    folder: Path,
    imagery: Imagery,
    unit: str,
    images: str = "images",
    values: str = "values",
    split: str = "",
    size: int = 0,
    image_prefix: str = "",
    image_suffix: str = "",
    value_prefix: str = "",
    value_suffix: str = "",
) -> LabelledSamples:
    """Every `images/NAME.*` with the numbers `values/NAME.*`, in `unit`; as `read_masks` else.

    What the file calls nodata, and NaN, are not known.
    """
    kind = Named(values, value_prefix, value_suffix)
    pairs, skipped = find_pairs(
        folder, imagery, Named(images, image_prefix, image_suffix), [kind], split, size
    )
    report = ReadReport(len(pairs) + sum(skipped.values()), dict(skipped))
    reader = ValueItems(imagery, tuple(pairs), unit)
    return LabelledSamples(folder.name, "pixel-value", (), reader, report)


def _grid(image: Path) -> tuple[Place | None, Shape2d]:
    with opened(image) as source:
        return place_of(source), Shape2d(*source.shape)


def _two_values(masks: Sequence[Path | None]) -> tuple[int, int]:
    """What masks hold for no change and for change: the first number beside 0, 255 if there is
    none, tells."""
    for mask in masks:
        held = some_values(mask) - {0} if mask is not None else set()
        if held:
            return (0, 1) if held == {1} else (0, 255)
    return (0, 255)
