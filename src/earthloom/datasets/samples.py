"""Chips with their answers, from whatever source, and whether their numbers can be right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import DataError
from earthloom.sample import Chip, LayerSpec
from earthloom.sample.target import Target

_LOOKED_AT = 4
"""Chips that a check of the scale reads."""


@dataclass(frozen=True)
class ReadReport:
    """How many samples were found, and how many were left out, by reason in words."""

    found: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    """What is not as in the files within the samples that are kept, such as boxes that were cut."""
    read: tuple[str, ...] = ()
    """How files were read that could be read in several ways, in words."""

    @property
    def kept(self) -> int:
        """Samples that are there."""
        return self.found - sum(self.skipped.values())

    def sentence(self) -> str:
        """The report in one line: `10 found, 8 kept; 2 without an image; read as: 10 m a pixel`."""
        told = [*self.skipped.items(), *self.changed.items()]
        parts = [f"; {count} {reason}" for reason, count in told if count]
        how = f"; read as: {', '.join(self.read)}" if self.read else ""
        return f"{self.found} found, {self.kept} kept" + "".join(parts) + how


class Reader(Protocol):
    """A source of chips with answers; read one at a time."""

    @property
    def specs(self) -> Mapping[str, LayerSpec]: ...

    @property
    def groups(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def chip(self, index: int) -> Chip:
        """A chip; class codes of pixels are its label. Its `target` may be there or not: it is
        where the file of the pixels says the answer too, which is then read once."""
        ...

    def target(self, index: int) -> Target | None:
        """The answer that is no label of pixels, without reading pixels where that can be."""
        ...


@dataclass(frozen=True)
class Targets(Sequence[Target | None]):
    """The answers of samples, read when they are asked for."""

    reader: Reader

    def __len__(self) -> int:
        return len(self.reader)

    @overload
    def __getitem__(self, index: int) -> Target | None: ...

    @overload
    def __getitem__(self, index: slice) -> list[Target | None]: ...

    def __getitem__(self, index: int | slice) -> Target | list[Target | None] | None:
        if isinstance(index, slice):
            return [self.reader.target(at) for at in range(*index.indices(len(self)))]
        return self.reader.target(_within(index, len(self)))


@dataclass(frozen=True)
class LabelledSamples:
    """Chips of a dataset with their answers; fulfils `Samples`."""

    name: str
    task: str
    classes: tuple[str, ...]
    """Names in the order of their codes, which count from 1."""
    reader: Reader
    report: ReadReport

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.reader.specs

    @cached_property
    def groups(self) -> Sequence[str]:
        """The group of each chip; one that the dataset puts in no group is a group of its own."""
        groups = self.reader.groups
        if all(groups):
            return groups
        return [group or _alone(at) for at, group in enumerate(groups)]

    @property
    def targets(self) -> Targets:
        """The answer of each chip; None where it is the chip's label of pixels, or unknown. For
        whoever wants answers alone: here most readers read no pixels."""
        return Targets(self.reader)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Chip:
        """A chip with its answer, as label or as target, and its group."""
        at = _within(index, len(self))
        chip = self.reader.chip(at)
        target = self.reader.target(at) if chip.target is None else chip.target
        group = chip.group or self.reader.groups[at] or _alone(at)
        return replace(chip, target=target, group=group)


@dataclass(frozen=True)
class Expected:
    """Where a layer's physical values lie."""

    range: tuple[float, float]
    peak: float
    """The 99th percentile is this at least."""
    trough: float | None = None
    """The first percentile is this at most."""


def check_scale(
    samples: LabelledSamples, expected: Mapping[str, Expected], remedy: str = ""
) -> None:
    """DataError if the values of some chips do not look like their unit.

    A hundredth may lie outside the range; the 99th percentile must reach the peak. Nothing is
    rescaled: a wrong scale is the user's to put right, and `remedy` says in words by what.
    """
    if not len(samples):
        return
    at = np.unique(np.linspace(0, len(samples) - 1, _LOOKED_AT).astype(int))
    chips = [samples[int(index)] for index in at]
    for key, wanted in expected.items():
        pixels = np.concatenate([_some(chip.layers[key].pixels) for chip in chips])
        values = pixels[np.isfinite(pixels)]
        if not len(values):
            continue
        low, high = np.percentile(values, [1, 99])
        least, most = wanted.range
        unit = samples.specs[key].unit
        bright = wanted.trough is not None and low > wanted.trough
        if low < least or high > most or high < wanted.peak or bright:
            raise DataError(
                f"{samples.name}: the values of layer {key} do not look like its unit '{unit}': "
                f"1 % to 99 % of them lie from {low:.4g} to {high:.4g}, expected is "
                f"{least:g} to {most:g} with a 99th percentile of {wanted.peak:g} at least"
                + ("" if wanted.trough is None else f" and a first of {wanted.trough:g} at most")
                + _stray(values, least)
                + f"; are they scaled otherwise?{remedy and f' {remedy}'}"
            )


def _stray(values: NDArray[np.float32], least: float) -> str:
    """Words for one number below the range that many pixels hold."""
    found, counts = np.unique(values[values < least], return_counts=True)
    if not len(found) or counts.max() < len(values) / 100:
        return ""
    share = round(100 * counts.max() / len(values))
    return f"; {found[counts.argmax()]:g} alone stands in {share} %: was nothing seen there?"


def _some(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values spread over an image, at most some hundred thousand."""
    flat = pixels.ravel()
    return flat[:: max(1, len(flat) // 200_000)]


def _alone(index: int) -> str:
    """The group of a sample that is in none."""
    return f"{index:06d}"


def _within(index: int, count: int) -> int:
    at = index + count if index < 0 else index
    if not 0 <= at < count:
        raise IndexError(f"there is no sample {index}; there are {count}")
    return at
