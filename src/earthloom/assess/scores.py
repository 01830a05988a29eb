"""Scores of predictions against labels, from counts alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says."""

    confusion: NDArray[np.int64]
    """(K, K) counts: rows are what was predicted, columns what is true."""

    @property
    def accuracy(self) -> float:
        """Share of all that is right."""
        return _ratio(float(np.trace(self.confusion)), float(self.confusion.sum()))

    @property
    def f1(self) -> NDArray[np.float64]:
        """(K,) F1 of each class; NaN where a class was neither predicted nor true."""
        return self._per_class(2)

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,) intersection over union of each class."""
        return self._per_class(1)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur."""
        return float(np.nanmean(self.f1))

    def _per_class(self, weight: int) -> NDArray[np.float64]:
        hit = np.diag(self.confusion).astype(np.float64)
        wrong = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - 2 * hit
        with np.errstate(invalid="ignore"):
            score: NDArray[np.float64] = weight * hit / (weight * hit + wrong)
        return score


def confusion_of(
    predicted: NDArray[np.uint8], true: NDArray[np.uint8], codes: tuple[int, ...]
) -> NDArray[np.int64]:
    """(K, K) counts of pixels where both are classes: rows predicted, columns true."""
    index = np.full(256, -1)
    index[list(codes)] = np.arange(len(codes))
    rows, cols = index[predicted.ravel()], index[true.ravel()]
    both = (rows >= 0) & (cols >= 0)
    flat = np.bincount(rows[both] * len(codes) + cols[both], minlength=len(codes) ** 2)
    return flat.reshape(len(codes), len(codes)).astype(np.int64)


def scores_of(
    predicted: NDArray[np.uint8], true: NDArray[np.uint8], codes: tuple[int, ...]
) -> Scores:
    """Scores of predicted codes against true ones, wherever both are classes."""
    return Scores(confusion_of(predicted, true, codes))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
