"""Sums from which metrics follow: a row a test group, so that groups can be drawn again.

Every metric here is a function of sums over samples. A bootstrap over test groups then is a product
of matrices, and the sums are all that must be kept of a cell.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import DataError, choices

BINS = 10
"""Of confidence, in the expected calibration error (Guo et al. 2017)."""

Sums = NDArray[np.float64]
"""(..., S): the last axis holds what a tally sums."""

Weights = NDArray[np.floating]
"""(N,) how much each sample or pixel counts, see `Chip.weight`; 1 where there are none."""


class Tally(ABC):
    """How sums become metrics. Stateless."""

    kind: str

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of sums S."""

    @abstractmethod
    def metrics(self, sums: Sums) -> Mapping[str, NDArray[np.float64]]:
        """Metrics (...) of sums (..., S); NaN where there was nothing to measure."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Arguments, as JSON values, of the same tally."""


@final
@dataclass(frozen=True)
class ClassTally(Tally):
    """One of K classes: counts of predicted (rows) and true (columns), and bins of confidence."""

    classes: int
    kind = "classes"

    @property
    def width(self) -> int:
        return self.classes**2 + 3 * BINS

    def config(self) -> dict[str, Any]:
        return {"classes": self.classes}

    def confusion(self, sums: Sums) -> Sums:
        """(..., K, K) counts: rows predicted, columns true."""
        return sums[..., : self.classes**2].reshape(*sums.shape[:-1], self.classes, self.classes)

    def of(
        self, shares: NDArray[np.floating], true: NDArray[np.integer], each: Weights | None = None
    ) -> Sums:
        """(S,) of probabilities (N, K) and class indices (N,); N samples or pixels, which count
        `each` (N,).

        A sample whose probabilities are NaN was not seen, and is not counted: see `answered`.
        """
        seen = np.isfinite(shares).all(axis=1)
        shares, true = shares[seen], true[seen]
        chosen, sure = shares.argmax(axis=1), shares.max(axis=1, initial=0.0)
        return self.of_decided(chosen, sure, true, None if each is None else each[seen])

    def of_decided(
        self,
        chosen: NDArray[np.integer],
        sure: NDArray[np.floating],
        true: NDArray[np.integer],
        each: Weights | None = None,
    ) -> Sums:
        """(S,) of class indices chosen (N,) with a confidence (N,), and true (N,); they count
        `each` (N,)."""
        each = np.ones(len(true)) if each is None else each
        both = np.bincount(chosen * self.classes + true, each, self.classes**2)
        bins = np.clip((sure * BINS).astype(int), 0, BINS - 1)
        right = chosen == true
        parts = [np.bincount(bins, what, BINS) for what in (each, each * sure, each * right)]
        return np.concatenate([both, *parts]).astype(np.float64)

    def metrics(self, sums: Sums) -> Mapping[str, NDArray[np.float64]]:
        confusion = self.confusion(sums)
        hit = np.diagonal(confusion, axis1=-2, axis2=-1)
        chosen, true = confusion.sum(axis=-1), confusion.sum(axis=-2)
        with np.errstate(invalid="ignore", divide="ignore"):
            f1, iou = 2 * hit / (chosen + true), hit / (chosen + true - hit)
            total = true.sum(axis=-1)
            recall = hit / true
            found = {
                "accuracy": hit.sum(axis=-1) / total,
                "balanced_accuracy": _nanmean(np.where(true > 0, recall, np.nan)),
                "macro_f1": _nanmean(f1),
                "macro_iou": _nanmean(iou),
                "ece": self._calibration_error(sums, total),
            }
        if self.classes == 2:
            found |= {"f1": f1[..., 1], "iou": iou[..., 1]}
        return found

    def _calibration_error(self, sums: Sums, total: Sums) -> Sums:
        """Mean distance of confidence from accuracy over bins, weighted by their counts."""
        bins = sums[..., self.classes**2 :].reshape(*sums.shape[:-1], 3, BINS)
        gaps = np.abs(bins[..., 1, :] - bins[..., 2, :])
        error: Sums = gaps.sum(axis=-1) / total
        return error

    def constant(self, sums: Sums, index: int) -> Sums:
        """The sums (..., S) had always class `index` been predicted, with confidence 1."""
        true = self.confusion(sums).sum(axis=-2)
        confusion = np.zeros((*true.shape, self.classes))
        confusion[..., index, :] = true
        bins = np.zeros((*true.shape[:-1], 3, BINS))
        total = true.sum(axis=-1)
        bins[..., 0, -1], bins[..., 1, -1], bins[..., 2, -1] = total, total, true[..., index]
        flat = confusion.reshape(*true.shape[:-1], -1), bins.reshape(*true.shape[:-1], -1)
        return np.concatenate(flat, axis=-1)


@final
@dataclass(frozen=True)
class LabelsTally(Tally):
    """Several classes at once: for each, hits, false alarms, misses and true absences."""

    classes: int
    kind = "labels"

    @property
    def width(self) -> int:
        return 4 * self.classes

    def config(self) -> dict[str, Any]:
        return {"classes": self.classes}

    def of(
        self, shares: NDArray[np.floating], true: NDArray[np.bool_], each: Weights | None = None
    ) -> Sums:
        """(S,) of probabilities (N, K) and whether a class is there (N, K), of samples that count
        `each` (N,)."""
        seen = np.isfinite(shares).all(axis=1)
        said, true = shares[seen] >= 0.5, true[seen]
        counts = np.ones(len(true)) if each is None else each[seen]
        parts = [said & true, said & ~true, ~said & true, ~said & ~true]
        return np.concatenate([counts @ part for part in parts]).astype(np.float64)

    def metrics(self, sums: Sums) -> Mapping[str, NDArray[np.float64]]:
        hit, false, missed, absent = self._parts(sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = 2 * hit / (2 * hit + false + missed)
            total = [each.sum(axis=-1) for each in (hit, false, missed, absent)]
            micro = 2 * total[0] / (2 * total[0] + total[1] + total[2])
            accuracy = (total[0] + total[3]) / sum(total)
        return {"macro_f1": _nanmean(f1), "micro_f1": micro, "label_accuracy": accuracy}

    def constant(self, sums: Sums, present: NDArray[np.bool_]) -> Sums:
        """The sums (..., S) had the same classes (K,) always been predicted."""
        hit, false, missed, absent = self._parts(sums)
        true, untrue = hit + missed, false + absent
        parts = [true * present, untrue * present, true * ~present, untrue * ~present]
        return np.concatenate(parts, axis=-1)

    def _parts(self, sums: Sums) -> Sums:
        """(4, ..., K) hits, false alarms, misses and true absences."""
        return np.moveaxis(sums.reshape(*sums.shape[:-1], 4, self.classes), -2, 0)


@final
@dataclass(frozen=True)
class ValueTally(Tally):
    """Numbers: count, sum and sum of squares of the truth, squared and absolute error, bias."""

    kind = "values"

    @property
    def width(self) -> int:
        return 6

    def config(self) -> dict[str, Any]:
        return {}

    def of(
        self, said: NDArray[np.floating], true: NDArray[np.floating], each: Weights | None = None
    ) -> Sums:
        """(S,) of predicted and true values (N,) that count `each` (N,); where either is NaN it is
        not counted."""
        both = np.isfinite(said) & np.isfinite(true)
        said, true = said[both].astype(np.float64), true[both].astype(np.float64)
        counts = np.ones(len(true)) if each is None else each[both]
        error = said - true
        summed = (np.ones_like(true), true, true**2, error**2, np.abs(error), error)
        return np.array([(counts * what).sum() for what in summed])

    def metrics(self, sums: Sums) -> Mapping[str, NDArray[np.float64]]:
        count, total, square, squared, absolute, bias = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = square - total**2 / count
            return {
                "r2": 1 - squared / spread,
                "rmse": np.sqrt(squared / count),
                "mae": absolute / count,
                "bias": bias / count,
            }

    def constant(self, sums: Sums, value: float) -> Sums:
        """The sums (..., S) had always `value` been predicted; absolute errors are not known."""
        count, total, square = (sums[..., at] for at in range(3))
        squared = square - 2 * value * total + count * value**2
        unknown = np.full_like(count, np.nan)
        return np.stack([count, total, square, squared, unknown, count * value - total], axis=-1)


TALLIES: Mapping[str, type[Tally]] = {
    each.kind: each for each in (ClassTally, LabelsTally, ValueTally)
}


def tally_of(kind: str, config: Mapping[str, Any]) -> Tally:
    """A tally from its kind and configuration."""
    if kind not in TALLIES:
        raise DataError(f"unknown kind of sums '{kind}'; known are: {choices(TALLIES)}")
    return TALLIES[kind](**config)


def _nanmean(values: Sums) -> Sums:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Sums = np.where(known, values, 0.0).sum(axis=-1) / count
    return mean
