"""Samples of samples: read once, joined, cut into pieces, with few of their labels."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import lcm

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError
from earthloom.sample import (
    IGNORE,
    UNLABELLED,
    Chip,
    LayerSpec,
    Samples,
    Shape2d,
    Window,
)
from earthloom.sample.chip import Moments
from earthloom.sample.fitted import cut_chip
from earthloom.sample.target import PixelValues

HELD_BYTES = 500_000_000
"""Memory for chips that were read once."""


@dataclass
class Held:
    """The same samples, those read last kept in memory."""

    samples: Samples
    most: int = HELD_BYTES
    _chips: OrderedDict[int, Chip] = field(default_factory=OrderedDict, repr=False)
    _bytes: int = 0

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.samples.specs

    @property
    def groups(self) -> Sequence[str]:
        return self.samples.groups

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Chip:
        if index in self._chips:
            self._chips.move_to_end(index)
            return self._chips[index]
        chip = self.samples[index]
        self._chips[index] = chip
        self._bytes += _bytes(chip)
        while self._bytes > self.most and len(self._chips) > 1:
            _, oldest = self._chips.popitem(last=False)
            self._bytes -= _bytes(oldest)
        return chip


@dataclass(frozen=True)
class Joined:
    """Several samples of the same layers, one after the other; names say which they are of."""

    parts: Mapping[str, Samples]

    def __post_init__(self) -> None:
        first, *others = (part.specs for part in self.parts.values())
        for other in others:
            for key, spec in first.items():
                if key not in other:
                    raise ContractError(f"the splits differ: layer {key} is not in all of them")
                spec.check(other[key])

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return next(iter(self.parts.values())).specs

    @cached_property
    def groups(self) -> Sequence[str]:
        return [group for part in self.parts.values() for group in part.groups]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts.values())

    def __getitem__(self, index: int) -> Chip:
        at = index
        for name, part in self.parts.items():
            if at < len(part):
                chip = part[at]
                return replace(chip, id=f"{name}/{chip.id}")
            at -= len(part)
        raise IndexError(f"there is no sample {index}; there are {len(self)}")


@dataclass(frozen=True)
class Piece:
    """A window of a sample."""

    index: int
    window: Window
    new: tuple[int, int]
    """First row and column, in the window, of pixels that no earlier piece has."""


@dataclass(frozen=True)
class Pieces:
    """Square windows of images; every pixel's label is in exactly one of them.

    Windows at the edges overlap their neighbours; the labels there are `IGNORE` in the later one.
    """

    samples: Samples
    pieces: tuple[Piece, ...]

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.samples.specs

    @cached_property
    def groups(self) -> Sequence[str]:
        groups = self.samples.groups
        return [groups[piece.index] for piece in self.pieces]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Chip:
        piece = self.pieces[index]
        return cut(self.samples[piece.index], piece)


def cut_into_pieces(samples: Samples, size: int) -> Pieces:
    """All images in squares of `size` pixels; ContractError for one that is smaller."""
    step = lcm(*(spec.factor for spec in samples.specs.values()))
    side = max(step, size // step * step)
    pieces: list[Piece] = []
    for index in range(len(samples)):
        chip = samples[index]
        if min(chip.shape) < side:
            raise ContractError(
                f"chip {chip.id} has {chip.shape.rows} x {chip.shape.cols} pixels, too few for "
                f"pieces of {side}; choose a smaller 'size', or none"
            )
        rows, cols = (_starts(length // step * step, side) for length in chip.shape)
        pieces += [
            Piece(index, Window(row, col, Shape2d(side, side)), (row_new - row, col_new - col))
            for row, row_new in rows
            for col, col_new in cols
        ]
    return Pieces(samples, tuple(pieces))


def cut(chip: Chip, piece: Piece) -> Chip:
    """A window of a chip, with the part of its label that is new."""
    if chip.target is not None and not isinstance(chip.target, PixelValues):
        raise ContractError(
            f"chip {chip.id} has an answer of the whole image, which cannot be cut into pieces; "
            "leave 'size' out"
        )
    part = cut_chip(chip, piece.window)
    old = np.ones(part.shape, np.bool_)
    old[piece.new[0] :, piece.new[1] :] = False
    label, target = part.label, part.target
    if label is not None:
        label = np.where(old, np.uint8(IGNORE), label)
    if isinstance(target, PixelValues):
        target = replace(target, values=np.where(old, np.float32(np.nan), target.values))
    name = f"{chip.id}_{piece.window.row}_{piece.window.col}"
    return replace(part, id=name, label=label, target=target)


def draw_evenly(groups: Sequence[str], most: int) -> NDArray[np.intp]:
    """(most,) numbers of samples, in order: every group keeps its share, and one sample at least
    where there are no more groups than `most`. Always the same ones."""
    names = np.asarray(groups, dtype=np.str_)
    shuffled = np.random.default_rng(0).permutation(len(names))
    place = np.empty(len(names))
    for name in np.unique(names):
        own = shuffled[names[shuffled] == name]
        place[own] = np.arange(len(own)) / len(own)
    return np.sort(shuffled[np.argsort(place[shuffled], kind="stable")[:most]])


@dataclass(frozen=True)
class WithMoments:
    """Images with the moments of all their pixels, for encoders that compare with the place."""

    samples: Samples

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.samples.specs

    @property
    def groups(self) -> Sequence[str]:
        return self.samples.groups

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Chip:
        chip = self.samples[index]
        return chip if chip.moments is not None else replace(chip, moments=moments_of(chip))


def moments_of(chip: Chip) -> Moments:
    """Moments over the pixels of a chip that every layer saw on every date."""
    variables, seen = [], np.ones(chip.shape, np.bool_)
    for layer in chip.layers.values():
        factor = layer.spec.factor
        rows, cols = (length // factor * factor for length in chip.shape)
        image = layer.pixels.reshape(-1, *layer.pixels.shape[-2:])
        full = image.repeat(factor, axis=1).repeat(factor, axis=2)[:, :rows, :cols]
        variables.append(full)
        valid = layer.valid.all(axis=0).repeat(factor, axis=0).repeat(factor, axis=1)
        seen &= valid[:rows, :cols]
    values = np.concatenate([each[:, seen] for each in variables]).astype(np.float64)
    if values.shape[1] < 2:
        width = len(values)
        return Moments(np.zeros(width, np.float32), np.eye(width, dtype=np.float32))
    return Moments(values.mean(axis=1).astype(np.float32), np.cov(values).astype(np.float32))


@dataclass(frozen=True)
class FewLabels:
    """Samples whose pixels are unlabelled, but for a few."""

    samples: Samples
    kept: Mapping[int, NDArray[np.int64]]
    """Flat positions of the pixels of each sample that keep their label."""
    order: tuple[int, ...]
    """Those samples, by number."""

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.samples.specs

    @cached_property
    def groups(self) -> Sequence[str]:
        groups = self.samples.groups
        return [groups[index] for index in self.order]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Chip:
        number = self.order[index]
        chip = self.samples[number]
        assert chip.label is not None
        label = np.full(chip.label.size, UNLABELLED, np.uint8)
        label[self.kept[number]] = chip.label.ravel()[self.kept[number]]
        return replace(chip, label=label.reshape(chip.label.shape))


def _starts(length: int, side: int) -> list[tuple[int, int]]:
    """First pixel of each piece along one side, and the first that is new in it."""
    starts = list(range(0, length - side + 1, side))
    found = [(start, start) for start in starts]
    if starts[-1] + side < length:
        found.append((length - side, starts[-1] + side))
    return found


def _bytes(chip: Chip) -> int:
    return sum(layer.pixels.nbytes + layer.valid.nbytes for layer in chip.layers.values())
