"""How good predicted numbers and their intervals are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from earthloom.sample.batch import Batch
from earthloom.tasks.base import Score
from earthloom.tasks.value_scale import RunningMoments

Numbers = NDArray[np.float64]
OfBatch = Callable[[Batch], Tensor | None]


@dataclass
class Errors:
    """Sums over pairs of a prediction and a truth, from which metrics of numbers are made."""

    truth: RunningMoments = field(default_factory=RunningMoments)
    total: float = 0.0
    absolute: float = 0.0
    squared: float = 0.0

    def add(self, value: Numbers, truth: Numbers, weights: Numbers | None = None) -> None:
        """Takes pairs (N,), without NaN; `weights` (N,) above 0 say how often each counts, None for
        once."""
        error = value - truth
        each = np.ones(error.shape) if weights is None else weights
        self.truth.add(truth, weights)
        self.total += float((each * error).sum())
        self.absolute += float((each * np.abs(error)).sum())
        self.squared += float((each * error**2).sum())

    def metrics(self) -> dict[str, float]:
        """`rmse`, `mae`, `bias` (prediction less truth) and `r2`, the coefficient of determination;
        NaN without pairs, and `r2` where the truth is everywhere the same."""
        count = self.truth.count
        if not count:
            return dict.fromkeys(("rmse", "mae", "bias", "r2"), math.nan)
        spread = self.truth.squares
        return {
            "rmse": math.sqrt(self.squared / count),
            "mae": self.absolute / count,
            "bias": self.total / count,
            "r2": 1 - self.squared / spread if spread > 0 else math.nan,
        }


@final
class ValueScore(Score[Tensor]):
    """Metrics of values with intervals, over all numbers whose truth is known, each as often as its
    weight says.

    `coverage` is the share of truths in their interval and `width` its mean width in the unit;
    `pinball` is the mean pinball loss (Koenker and Bassett 1978) of value and both ends, each at
    its own level, which is lowest for the true quantiles. These three are NaN without intervals.
    `answered` is the share of known truths that there is an answer for; the others count in nothing
    else.
    """

    def __init__(self, truth_of: OfBatch, weight_of: OfBatch, level: float) -> None:
        """`truth_of` gives a batch's truth (B, ...), NaN where it is not known, or None;
        `weight_of` how much each of these numbers counts, or None for 1."""
        self._truth_of, self._weight_of, self._level = truth_of, weight_of, level
        self._known = 0.0
        self._errors = Errors()
        self._bounded = self._inside = 0.0
        self._width = self._pinball = 0.0

    def update(self, answer: Tensor, batch: Batch) -> None:
        given = self._truth_of(batch)
        if given is None:
            return
        truth = given.double().cpu().numpy()
        weight = self._weight_of(batch)
        each = np.ones(truth.shape) if weight is None else weight.double().cpu().numpy()
        value, low, high = (plane.double().cpu().numpy() for plane in answer.unbind(dim=1))
        known = ~np.isnan(truth) & (each > 0)
        self._known += float(each[known].sum())
        both = known & ~np.isnan(value)
        self._errors.add(value[both], truth[both], each[both])
        both &= ~np.isnan(low)
        self._add_intervals(truth[both], value[both], low[both], high[both], each[both])

    def compute(self) -> Mapping[str, float]:
        pairs, bounded = self._errors.truth.count, self._bounded
        return self._errors.metrics() | {
            "coverage": _share(self._inside, bounded),
            "width": _share(self._width, bounded),
            "pinball": _share(self._pinball, bounded),
            "answered": _share(pairs, self._known),
        }

    def _add_intervals(
        self, truth: Numbers, value: Numbers, low: Numbers, high: Numbers, each: Numbers
    ) -> None:
        self._bounded += float(each.sum())
        self._inside += float(each[(low <= truth) & (truth <= high)].sum())
        self._width += float((each * (high - low)).sum())
        ends = (1 - self._level) / 2, (1 + self._level) / 2
        for quantile, level in ((low, ends[0]), (value, 0.5), (high, ends[1])):
            self._pinball += float((each * pinball(truth, quantile, level)).sum()) / 3


def pinball(truth: Numbers, quantile: Numbers, level: float) -> Numbers:
    """(N,) the pinball loss of a quantile at a level."""
    short = truth - quantile
    return np.maximum(level * short, (level - 1) * short)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
