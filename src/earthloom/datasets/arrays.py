"""Numbers as files hold them, as layers and labels of chips: what all readers of entries share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.datasets.model import Entry, EntryLayer
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.target import Target


@dataclass(frozen=True)
class Arrays:
    """What the files of one sample hold."""

    numbers: tuple[NDArray[Any], ...]
    """For each layer of the entry (T, C, H, W), as stored."""
    days: tuple[Sequence[int], ...]
    """For each layer, days since 1970-01-01 of its dates; empty where they are not told."""
    label: NDArray[Any] | None = None
    """(H, W) classes of pixels as published."""
    place: Place | None = None
    target: Target | None = None


@dataclass(frozen=True)
class ArrayItems:
    """Samples whose files are arrays; a `Reader`."""

    entry: Entry
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    load: Callable[[int], Arrays]
    """Reads a sample; it goes to other processes, so that it must be a function of a module, or a
    method of a frozen dataclass."""
    answers: tuple[Target, ...] = ()
    """The answer of each sample, where they are known before the files are read."""

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {layer.spec.key: layer.spec for layer in self.entry.layers}

    def __len__(self) -> int:
        return len(self.ids)

    def chip(self, index: int) -> Chip:
        read, what = self.load(index), f"{self.entry.name}: {self.ids[index]}"
        layers = [
            layer_of(each, numbers, days, what)
            for each, numbers, days in zip(self.entry.layers, read.numbers, read.days, strict=True)
        ]
        shape = _base(self.entry.layers[0], layers[0])
        label = None if read.label is None else label_of(self.entry, read.label, shape, what)
        by_key = {layer.spec.key: layer for layer in layers}
        return Chip(
            self.ids[index], shape, by_key, label, self.groups[index], read.place,
            target=read.target,
        )  # fmt: skip

    def target(self, index: int) -> Target | None:
        return self.answers[index] if self.answers else self.load(index).target


def layer_of(each: EntryLayer, numbers: NDArray[Any], days: Sequence[int], what: str) -> Layer:
    """Numbers (T, C, H, W) or (C, H, W) as a layer in its unit; DataError, which begins with
    `what`, for a number of dates or bands that is not the entry's.

    Not seen is what is not finite, and what is nodata in all bands. Where `days` are not told for
    every date, they are 0. Dates that a sample of a ragged layer lacks come last, unseen.
    """
    stack = _by_date(each, np.asarray(numbers), what)
    found, wanted = len(stack), len(each.dates)
    valid = np.asarray(np.isfinite(stack).all(axis=1))
    if each.nodata is not None:
        valid &= ~(stack == each.nodata).all(axis=1)
    pixels = each.physical(stack)
    pixels[np.broadcast_to(~valid[:, None], pixels.shape)] = np.nan
    stamps = list(days) if len(days) == found else [0] * found
    if found < wanted:
        missing = [(0, wanted - found)]
        pixels = np.pad(pixels, [*missing, *[(0, 0)] * 3], constant_values=np.nan)
        valid = np.pad(valid, [*missing, *[(0, 0)] * 2], constant_values=False)
        stamps += [stamps[-1] if stamps else 0] * (wanted - found)
    return Layer(each.spec, pixels, valid, np.array(stamps, np.int32))


def label_of(entry: Entry, values: NDArray[Any], shape: Shape2d, what: str) -> NDArray[np.uint8]:
    """Class codes (H, W) of published values; LabelError for another shape than the image's, and
    DataError for a value that is not published."""
    if values.shape != tuple(shape):
        raise LabelError(f"{what} has a label of {values.shape}, its image has {tuple(shape)}")
    found, positions = np.unique(values, return_inverse=True)
    codes = np.array([entry.code(int(value)) for value in found], np.uint8)
    return codes[positions].reshape(values.shape)


def _by_date(each: EntryLayer, numbers: NDArray[Any], what: str) -> NDArray[np.float64]:
    """(T, C, H, W): the layer's own bands on the dates that there are."""
    count, bands = len(each.dates), len(each.bands)
    given = numbers.shape
    numbers = numbers[None] if numbers.ndim == 3 else numbers
    if each.dates_in_bands and numbers.ndim == 4 and numbers.shape[:2] == (1, count * bands):
        numbers = numbers.reshape(count, bands, *numbers.shape[2:])
    if each.only is not None and numbers.ndim == 4 and len(numbers) > each.only:
        numbers = numbers[each.only : each.only + 1]
    last = each.first + bands
    dates = range(count + 1) if each.ragged else (count,)
    if numbers.ndim != 4 or len(numbers) not in dates or numbers.shape[1] < last:
        raise DataError(
            f"{what} has {given} numbers for layer {each.spec.key}, but "
            f"{'at most ' if each.ragged else ''}{count} date(s) and the bands "
            f"{each.first} to {last - 1} are expected: {choices(each.bands)}"
        )
    return numbers[:, each.first : last].astype(np.float64)


def _base(each: EntryLayer, layer: Layer) -> Shape2d:
    rows, cols = layer.valid.shape[-2:]
    return Shape2d(rows * each.factor, cols * each.factor)
