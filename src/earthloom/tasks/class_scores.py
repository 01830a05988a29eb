"""Scores of classes: from counts of what was told and what is true, and from probabilities.

`macro_f1` decides between models of classes: it is the mean over classes, so that a rare class
counts as much as a frequent one. Accuracy hardly notices a rare one, and the maps that people ask
for are mostly of these: change, fields, mines. Of labels `macro_ap` decides for the same reason;
and unlike F1 it does not hang on a threshold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BINS = 15
"""Bins of confidence in `ece`, as Guo et al. (2017) have them."""

_LEAST = float(np.finfo(np.float32).eps)
"""Probabilities are float32; one of 0 counts in `nll` as the least step from 1 (scikit-learn)."""


Decide = Callable[[NDArray[np.float64]], NDArray[np.int64]]


def most_probable(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) index of the highest of (N, K) probabilities; the first of equal ones."""
    told: NDArray[np.int64] = shares.argmax(axis=1)
    return told


@dataclass(frozen=True)
class Confusion:
    """What a confusion matrix says; classes that are neither told nor true are in no mean."""

    matrix: NDArray[np.float64] | NDArray[np.int64]
    """(K, K) counts: rows are what was told, columns what is true."""

    @property
    def accuracy(self) -> float:
        """Share of all that is right."""
        return ratio(float(np.trace(self.matrix)), float(self.matrix.sum()))

    @property
    def f1(self) -> NDArray[np.float64]:
        """(K,) F1 of each class; NaN where it was neither told nor true."""
        return self._per_class(2)

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,) intersection over union of each class; NaN where it was neither told nor true."""
        return self._per_class(1)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur."""
        return mean_of_known(self.f1)

    @property
    def miou(self) -> float:
        """Mean intersection over union of the classes that occur."""
        return mean_of_known(self.iou)

    @property
    def kappa(self) -> float:
        """Agreement beyond chance (Cohen 1960)."""
        return self.weighted_kappa(1.0 - np.eye(len(self.matrix)))

    @property
    def quadratic_kappa(self) -> float:
        """Agreement beyond chance, errors weighed by the square of the classes between (Cohen
        1968); the classes have an order."""
        return self.weighted_kappa(self._steps() ** 2)

    @property
    def mean_steps(self) -> float:
        """Classes between what was told and what is true, on average; the classes have an order."""
        return ratio(float((self.matrix * self._steps()).sum()), float(self.matrix.sum()))

    def weighted_kappa(self, cost: NDArray[np.float64]) -> float:
        """1 - the mean cost (K, K) over that of the same answers given by chance; NaN where chance
        makes no errors, because one class is all there is."""
        whole = float(self.matrix.sum())
        chance = np.outer(self.matrix.sum(axis=1), self.matrix.sum(axis=0))
        expected = ratio(float((cost * chance).sum()), whole)
        return 1 - ratio(float((cost * self.matrix).sum()), expected)

    def _steps(self) -> NDArray[np.float64]:
        at = np.arange(len(self.matrix), dtype=np.float64)
        return np.abs(at[:, None] - at[None, :])

    def _per_class(self, weight: int) -> NDArray[np.float64]:
        hit = np.diag(self.matrix).astype(np.float64)
        wrong = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - 2 * hit
        with np.errstate(invalid="ignore"):
            score: NDArray[np.float64] = weight * hit / (weight * hit + wrong)
        return score


def confusion_of(
    told: NDArray[np.uint8], true: NDArray[np.uint8], codes: Sequence[int]
) -> NDArray[np.int64]:
    """(K, K) counts of class codes told and true, two arrays of one shape, wherever both are among
    the K `codes`: rows told, columns true."""
    index = np.full(256, -1)
    index[list(codes)] = np.arange(len(codes))
    rows, cols = index[told.ravel()], index[true.ravel()]
    both = (rows >= 0) & (cols >= 0)
    flat = np.bincount(rows[both] * len(codes) + cols[both], minlength=len(codes) ** 2)
    return flat.reshape(len(codes), len(codes)).astype(np.int64)


@final
class ClassTally:
    """Adds up answers of one class among K, over any number of batches, in constant memory.

    `decide` gives the index of the class that is told (N,) from probabilities (N, K).
    """

    def __init__(self, names: Sequence[str], decide: Decide = most_probable) -> None:
        self._slugs, self._decide = slugs(names), decide
        count = len(names)
        self._confusion = np.zeros((count, count))
        self._nll = self._brier = self._unseen = 0.0
        self._bins = np.zeros((3, BINS))

    def add(self, shares: Tensor, truth: Tensor, counts: Tensor | None = None) -> None:
        """Probabilities (N, K), the true class indices (N,), and how much each row counts (N,).

        Rows of NaN, where nothing was seen, are counted as unseen and are in no other metric.
        """
        told = shares.detach().cpu().numpy()
        true = truth.cpu().numpy()
        each = np.ones(len(true)) if counts is None else counts.cpu().numpy().astype(np.float64)
        seen = ~np.isnan(told).any(axis=1)
        self._unseen += float(each[~seen].sum())
        if seen.any():
            self._count(told[seen].astype(np.float64), true[seen], each[seen])

    def _count(
        self, told: NDArray[np.float64], true: NDArray[np.int64], each: NDArray[np.float64]
    ) -> None:
        classes = told.shape[1]
        flat = np.bincount(self._decide(told) * classes + true, each, minlength=classes**2)
        self._confusion += flat.reshape(classes, classes)
        own = np.take_along_axis(told, true[:, None], axis=1)[:, 0]
        self._nll -= float((each * np.log(own.clip(_LEAST, 1))).sum())
        # The squared error of all classes at once: that of the true one is (1 - p) instead of p.
        squares = (told**2).sum(axis=1) - own**2 + (1 - own) ** 2
        self._brier += float((each * squares).sum())
        best, top = told.argmax(axis=1), told.max(axis=1)
        self._bins += confidence_bins(top, best == true, each)

    @property
    def confusion(self) -> Confusion:
        """Of all that was added."""
        return Confusion(self._confusion)

    def metrics(self) -> dict[str, float]:
        """By name:

        `accuracy`; `macro_f1` and `miou`, the means over the classes that occur; `kappa`;
        `nll`, the mean of -log p of the true class; `brier`, the mean over rows of the squared
        error summed over classes, 0 to 2 (Brier 1950); `ece`, the expected calibration error (Guo
        et al. 2017); `seen`, the share of what is labelled that has an answer, in which alone the
        others are measured; `f1_CLASS` and `iou_CLASS` of each class, and of two classes `f1` and
        `iou`, which are those of the second, such as change. NaN where nothing was.
        """
        found, whole = self.confusion, float(self._confusion.sum())
        metrics = {
            "accuracy": found.accuracy,
            "macro_f1": found.macro_f1,
            "miou": found.miou,
            "kappa": found.kappa,
            "nll": ratio(self._nll, whole),
            "brier": ratio(self._brier, whole),
            "ece": calibration_error(self._bins),
            "seen": ratio(whole, whole + self._unseen),
        }
        for what, values in (("f1", found.f1), ("iou", found.iou)):
            if len(values) == 2:
                metrics[what] = float(values[1])
            metrics |= {f"{what}_{s}": float(v) for s, v in zip(self._slugs, values, strict=True)}
        return metrics


def confidence_bins(
    confidence: NDArray[np.floating],
    right: NDArray[np.bool_],
    each: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(3, BINS) of N answers: how many, the sum of their confidence (N,), and how many of them are
    right (N,); `each` (N,) says how often an answer counts, None for once."""
    weight = np.ones(len(right)) if each is None else each
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    sums = [
        np.bincount(bins, what, minlength=BINS)
        for what in (weight, weight * confidence, weight * right)
    ]
    return np.stack(sums)


def calibration_error(bins: NDArray[np.float64]) -> float:
    """The mean distance of confidence from what is right, over bins of `confidence_bins`."""
    count, confidence, right = bins
    return ratio(float(np.abs(confidence - right).sum()), float(count.sum()))


def slugs(names: Sequence[str]) -> tuple[str, ...]:
    """Names as parts of the names of metrics: `no change` is `no_change`; no two are the same."""
    plain = [re.sub(r"\W+", "_", name.lower()).strip("_") for name in names]
    many: Mapping[str, int] = Counter(plain)
    return tuple(
        slug if slug and many[slug] == 1 else f"{slug}_{number}".strip("_")
        for number, slug in enumerate(plain, start=1)
    )


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Mean of what is not NaN; NaN where all is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def ratio(part: float, whole: float) -> float:
    """NaN where there is nothing to divide by."""
    return part / whole if whole else float("nan")
