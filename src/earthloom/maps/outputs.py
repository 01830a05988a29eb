"""What files a map consists of, and how a prediction becomes the numbers in them.

A prediction is planes of float32 (K, H, W), NaN where nothing was seen. What K planes mean is for
the task to say; each of its files is one `Output`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError, choices
from earthloom.maps import (
    CLASS_NODATA,
    DENSITY,
    FEATURES,
    MAP,
    PROBABILITY,
    PROBABILITY_NODATA,
    PROBABILITY_SCALE,
    VALUE,
)
from earthloom.maps.cog import colour_table
from earthloom.tasks.base import Task
from earthloom.tasks.counts import CountTask
from earthloom.tasks.planes import ClassesOfPixels, Mapped, planes_of

_ROWS = 32
"""Rows that are worked on at a time, few enough for a cache."""
FEATURE_SCALE = 1 / 127
"""A stored int8 times this is one number of a feature vector of length one."""
FEATURE_NODATA = -128


Rgba = tuple[int, int, int, int]


class Output(Protocol):
    """One file of a map."""

    @property
    def file(self) -> str:
        """Its name in the map's folder."""
        ...

    @property
    def bands(self) -> tuple[str, ...]:
        """The name of each band."""
        ...

    @property
    def dtype(self) -> str:
        """Of the numbers in the file, as numpy and GDAL both name it."""
        ...

    @property
    def nodata(self) -> float:
        """The number where nothing was seen."""
        ...

    @property
    def scale(self) -> float:
        """What a stored number is multiplied by."""
        ...

    @property
    def unit(self) -> str | None:
        """Of the numbers, once scaled; None where they are names, shares or bare features. A file
        with a unit says statistics of its bands."""
        ...

    @property
    def overviews(self) -> str:
        """How GDAL makes overviews of it."""
        ...

    @property
    def colours(self) -> Mapping[int, Rgba]:
        """The colour of each number, where numbers are names; else empty."""
        ...

    def numbers(self, mean: NDArray[np.float32]) -> NDArray[Any]:
        """(K, H, W) float32, NaN where nothing was seen, to (bands, H, W) of `dtype`."""
        ...


@dataclass(frozen=True)
class Classes:
    """The class code of each pixel, uint8."""

    task: ClassesOfPixels
    threshold: float | None = None
    """With two classes: the probability from which the second one is mapped."""
    file: str = MAP
    bands: tuple[str, ...] = ("class",)
    dtype: str = "uint8"
    nodata: float = CLASS_NODATA
    scale: float = 1.0
    unit: str | None = None
    overviews: str = "MODE"

    @property
    def colours(self) -> Mapping[int, Rgba]:
        """See `Output`."""
        return colour_table(self.task)

    def numbers(self, mean: NDArray[np.float32]) -> NDArray[Any]:
        """The same as `earthloom.tasks.decide`, several times as fast for many classes."""
        codes = self.task.codes
        decided = np.empty((1, *mean.shape[1:]), np.uint8)
        for row in range(0, mean.shape[1], _ROWS):
            rows, code = mean[:, row : row + _ROWS], decided[0, row : row + _ROWS]
            if self.threshold is not None and len(codes) == 2:
                code[:] = codes[0]
                np.copyto(code, np.uint8(codes[1]), where=rows[1] >= self.threshold)
            else:
                _most_probable(rows, codes, code)
            code[np.isnan(rows[0])] = CLASS_NODATA
        return decided


def _most_probable(
    rows: NDArray[np.float32], codes: tuple[int, ...], code: NDArray[np.uint8]
) -> None:
    """Writes the code of the largest plane of (K, H, W) into (H, W), the first where some are."""
    best = rows[0].copy()
    code[:] = codes[0]
    for plane, each in zip(rows[1:], codes[1:], strict=True):
        better = plane > best
        np.fmax(best, plane, out=best)
        np.copyto(code, np.uint8(each), where=better)


@dataclass(frozen=True)
class Probabilities:
    """The probability of each class in whole 250ths, uint8."""

    bands: tuple[str, ...]
    file: str = PROBABILITY
    dtype: str = "uint8"
    nodata: float = PROBABILITY_NODATA
    scale: float = PROBABILITY_SCALE
    unit: str | None = None
    overviews: str = "AVERAGE"
    colours: Mapping[int, Rgba] = field(default_factory=dict)

    def numbers(self, mean: NDArray[np.float32]) -> NDArray[Any]:
        """See `quantised`."""
        return quantised(mean)


@dataclass(frozen=True)
class Values:
    """Numbers as they were predicted, float32: a value, or a value and the ends of its interval."""

    bands: tuple[str, ...] = ("value", "low", "high")
    file: str = VALUE
    dtype: str = "float32"
    nodata: float = np.nan
    scale: float = 1.0
    unit: str | None = None
    overviews: str = "AVERAGE"
    colours: Mapping[int, Rgba] = field(default_factory=dict)

    def numbers(self, mean: NDArray[np.float32]) -> NDArray[Any]:
        """The same numbers; ContractError if there are not as many planes as bands."""
        if len(mean) != len(self.bands):
            raise ContractError(
                f"{self.file} holds {choices(self.bands)}, but the model predicts {len(mean)} "
                "planes"
            )
        return mean


@dataclass(frozen=True)
class UnitFeatures:
    """Feature vectors as directions: of length one, in whole 127ths, int8."""

    bands: tuple[str, ...]
    file: str = FEATURES
    dtype: str = "int8"
    nodata: float = FEATURE_NODATA
    scale: float = FEATURE_SCALE
    unit: str | None = None
    overviews: str = "AVERAGE"
    colours: Mapping[int, Rgba] = field(default_factory=dict)

    def numbers(self, mean: NDArray[np.float32]) -> NDArray[Any]:
        """A vector of length zero stays zero."""
        stored = np.empty(mean.shape, np.int8)
        for row in range(0, mean.shape[1], _ROWS):
            rows = mean[:, row : row + _ROWS]
            length = np.sqrt(np.einsum("khw,khw->hw", rows, rows))
            unit = rows * (np.float32(1 / FEATURE_SCALE) / np.maximum(length, 1e-12))
            unseen = np.isnan(length)
            unit[:, unseen] = FEATURE_NODATA
            stored[:, row : row + _ROWS] = np.rint(unit)
        return stored


def quantised(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities (K, H, W) as whole 250ths; 255 where they are NaN."""
    stored = np.empty(probabilities.shape, np.uint8)
    for row in range(0, probabilities.shape[1], _ROWS):
        rows = probabilities[:, row : row + _ROWS]
        whole = np.rint(rows * np.float32(1 / PROBABILITY_SCALE))
        unseen = np.isnan(whole)
        whole[unseen] = PROBABILITY_NODATA
        stored[:, row : row + _ROWS] = whole
    return stored


_FILES = {CountTask.name: DENSITY}
"""Of tasks of numbers whose file is not `VALUE`."""


def outputs_of(task: Task[Any], threshold: float | None = None) -> tuple[Output, ...]:
    """The files of a map of a task: classes with probabilities, or numbers in their unit.

    ContractError for a task that says nothing of pixels.
    """
    if isinstance(task, ClassesOfPixels):
        return class_outputs(task, threshold)
    planes = planes_of(task)
    unit = task.unit if isinstance(task, Mapped) else None
    return (Values(planes, file=_FILES.get(task.name, VALUE), unit=unit),)


def class_outputs(task: ClassesOfPixels, threshold: float | None = None) -> tuple[Output, ...]:
    """The files of a map of classes."""
    return Classes(task, threshold), Probabilities(task.names)
